"""Password hashing: the only file that knows argon2."""

import secrets
import unicodedata
from contextlib import AbstractContextManager
from typing import NamedTuple, cast

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from flask import Flask, current_app

from app.users.gate import Gate, cores

SPARE_THREADS = 1 / 8  # of a worker, and 3 at least: what logins that hash or wait leave to all other requests


class _Passwords(NamedTuple):
    hasher: PasswordHasher
    dummy: str
    gate: Gate


def init_app(app: Flask) -> None:
    """Make the hasher of the configured cost (Argon2id, RFC 9106)."""
    hasher = PasswordHasher(
        memory_cost=app.config["ARGON2_MEMORY_COST"],
        time_cost=app.config["ARGON2_TIME_COST"],
        parallelism=app.config["ARGON2_PARALLELISM"],
    )
    # What is verified where there is no user: made with the parameters in force, so that it costs the same.
    dummy = hasher.hash(secrets.token_hex())
    slots = max(1, cores() // app.config["WEB_CONCURRENCY"])
    threads = app.config["THREADS"]
    queue = max(1, threads - slots - max(3, int(threads * SPARE_THREADS)))
    app.extensions["passwords"] = _Passwords(hasher, dummy, Gate(slots, queue))


def _passwords() -> _Passwords:
    return cast("_Passwords", current_app.extensions["passwords"])


def normalize_password(password: str) -> str:
    """NFKC, so that every keyboard's way of writing a character is the same password (NIST SP 800-63B-4)."""
    return unicodedata.normalize("NFKC", password)


def hashing_slot() -> AbstractContextManager[None]:
    """A place in the queue for the hashes of the block.

    Raises:
        ApiError: 503 `overloaded`, where too many wait already.
    """
    return _passwords().gate.slot()


def hash_password(password: str) -> str:
    """The hash to store of a password, with its salt and parameters in it.

    Raises:
        ApiError: 503 `overloaded`, where too many are hashed already.
    """
    hasher, _dummy, gate = _passwords()
    return gate.run(hasher.hash, normalize_password(password))


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is the one of the hash.  No hash costs the same work and is never right.

    Raises:
        ApiError: 503 `overloaded`, where too many are hashed already.
    """
    hasher, dummy, gate = _passwords()
    try:
        gate.run(hasher.verify, password_hash or dummy, normalize_password(password))
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than those in force."""
    return _passwords().hasher.check_needs_rehash(password_hash)
