"""Password hashing: the only file that knows argon2."""

import secrets
from contextlib import AbstractContextManager
from typing import NamedTuple, cast

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from flask import Flask, current_app, has_request_context, request

from app.data.text import TextTooLongError, normalized
from app.users.gate import Gate, cores
from app.web.networks import network_of

MIN_PASSWORD_LENGTH = 8  # characters: the smallest value of the setting PASSWORD_MIN_LENGTH
PASSWORD_LENGTH = 128  # characters, after NFKC; the cost of a hash does not grow with it
SPARE_THREADS = 1 / 8  # share of a worker's threads that logins leave to other requests; at least 3


class _Passwords(NamedTuple):
    hasher: PasswordHasher
    dummy: str
    gate: Gate


def init_app(app: Flask) -> None:
    """Set up the hasher with the configured cost (Argon2id, RFC 9106)."""
    hasher = PasswordHasher(
        memory_cost=app.config["ARGON2_MEMORY_COST"],
        time_cost=app.config["ARGON2_TIME_COST"],
        parallelism=app.config["ARGON2_PARALLELISM"],
    )
    # Verified if the user is unknown.  It has the current parameters, so that it costs the same.
    dummy = hasher.hash(secrets.token_hex())
    slots = max(1, cores() // app.config["WEB_CONCURRENCY"])
    threads = app.config["THREADS"]
    queue = max(1, threads - slots - max(3, int(threads * SPARE_THREADS)))
    app.extensions["passwords"] = _Passwords(hasher, dummy, Gate(slots, queue))


def _passwords() -> _Passwords:
    return cast("_Passwords", current_app.extensions["passwords"])


def _network() -> str:
    """The client's network.  Commands have none."""
    return network_of(request.remote_addr) if has_request_context() else ""


def normalize_password(password: str) -> str:
    """The password in NFKC (NIST SP 800-63B-4).

    Every keyboard's way of writing a character gives the same password.

    Raises:
        TextTooLongError: the text is too long to be a password.
    """
    return normalized(password, "NFKC", PASSWORD_LENGTH)


def hashing_slot() -> AbstractContextManager[None]:
    """Reserve a slot for all hashes of the block.

    Raises:
        ApiError: 503 `overloaded`, where too many wait already.
    """
    return _passwords().gate.slot(_network())


def hash_password(password: str) -> str:
    """Hash a password.  The result contains the salt and the parameters.

    Raises:
        ApiError: 503 `overloaded`, where too many are hashed already.
    """
    hasher, _dummy, gate = _passwords()
    return gate.run(_network(), hasher.hash, normalize_password(password))


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password matches the hash.

    Without a hash, or with a password that is too long, the answer is no, at the same cost.

    Raises:
        ApiError: 503 `overloaded`, where too many are hashed already.
    """
    hasher, dummy, gate = _passwords()
    try:
        password = normalize_password(password)
    except TextTooLongError:
        password_hash, password = None, ""
    try:
        gate.run(_network(), hasher.verify, password_hash or dummy, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether the hash has other parameters than the current ones."""
    return _passwords().hasher.check_needs_rehash(password_hash)
