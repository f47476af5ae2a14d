"""Password hashing: the only file that knows argon2."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple, cast

from argon2 import PasswordHasher, extract_parameters, low_level
from argon2.exceptions import InvalidHashError, VerificationError
from flask import Flask, current_app, has_request_context, request
from sqlalchemy import ColumnElement, SQLColumnExpression, and_, select
from sqlalchemy.exc import SQLAlchemyError

from app.data.statements import read
from app.data.text import TextTooLongError, normalized
from app.users.foreign_hashes import (
    fault_of,
    imported_argon2,
    is_foreign,
    parameters_of,
    verify_foreign,
    work_of,
)
from app.users.gate import Gate, cores
from app.users.hash_costs import Cost, Dearest, cost_of_work
from app.users.models import User
from app.web.networks import network_of

MIN_PASSWORD_LENGTH = 8  # characters: the smallest value of the setting PASSWORD_MIN_LENGTH
PASSWORD_LENGTH = 128  # characters, after NFKC; the cost of a hash does not grow with it
SEARCHED = 100_000  # accounts in which a process looks for hashes with other parameters, at its first login
MOST_KINDS = 8  # of such parameters
SPARE_THREADS = 1 / 8  # share of a worker's threads that logins leave to other requests; at least 3


class _Passwords(NamedTuple):
    hasher: PasswordHasher
    dearest: Dearest
    gate: Gate


def init_app(app: Flask) -> None:
    """Set up the hasher with the configured cost (Argon2id, RFC 9106)."""
    hasher = PasswordHasher(
        memory_cost=app.config["ARGON2_MEMORY_COST"],
        time_cost=app.config["ARGON2_TIME_COST"],
        parallelism=app.config["ARGON2_PARALLELISM"],
    )
    dearest = Dearest(Cost(hasher.memory_cost, hasher.time_cost, hasher.parallelism))
    slots = max(1, cores() // app.config["WEB_CONCURRENCY"])
    threads = app.config["THREADS"]
    queue = max(1, threads - slots - max(3, int(threads * SPARE_THREADS)))
    app.extensions["passwords"] = _Passwords(hasher, dearest, Gate(slots, queue))


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
    hasher, _dearest, gate = _passwords()
    return gate.run(_network(), hasher.hash, normalize_password(password))


def verify_password(password_hash: str | None, password: str, *, is_usable: bool = True) -> bool:
    """Whether the password matches the hash.

    Every refusal costs the same: as much as the dearest hash that is configured or stored.

    Args:
        password_hash: None for an unknown user.
        password: of any length.  One that is too long does not match.
        is_usable: whether a match is accepted.  False for an inactive user, whose right password costs as a wrong one.

    Raises:
        ApiError: 503 `overloaded`, where too many are hashed already.
    """
    hasher, dearest, gate = _passwords()
    if dearest.is_search_due():
        _meet_stored_hashes(dearest)
    if password_hash and (fault := is_foreign(password_hash) and fault_of(password_hash)):
        current_app.logger.error("A stored hash cannot be verified. %s", fault)
        password_hash = None
    cost = cost_of(password_hash)
    if cost:
        dearest.meet(cost)
    is_correct = False
    try:
        normal = normalize_password(password)
    except TextTooLongError:
        cost = None
    else:
        if password_hash is not None:
            is_correct = gate.run(_network(), _matches, hasher, password_hash, password, normal)
    if not (is_correct and is_usable) and (left := dearest.beyond(cost)):
        gate.run(_network(), _spend, left)
    return is_correct


def _matches(hasher: PasswordHasher, password_hash: str, typed: str, normal: str) -> bool:
    """Whether the password matches the hash, which may be of another application.

    An imported Argon2 hash may come from another installation of this project, which hashes the normal form.
    """
    if not is_foreign(password_hash):
        return _verify(hasher, password_hash, normal)
    argon2 = imported_argon2(password_hash)
    if argon2 is None:
        return verify_foreign(password_hash, typed)
    return any(_verify(hasher, argon2, spelling) for spelling in {typed, normal})


def _verify(hasher: PasswordHasher, password_hash: str, password: str) -> bool:
    try:
        return hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def _spend(cost: Cost) -> None:
    """Hash something of that cost."""
    low_level.hash_secret_raw(
        secret=b"nothing", salt=bytes(16), hash_len=32, type=low_level.Type.ID,
        time_cost=cost.passes, memory_cost=cost.memory, parallelism=cost.lanes,
    )  # fmt: skip


def cost_of(password_hash: str | None) -> Cost | None:
    """The cost of a hash.  None for one that nothing can match."""
    if not password_hash:
        return None
    if (work := work_of(password_hash)) is not None:
        return cost_of_work(work)
    try:
        found = extract_parameters(imported_argon2(password_hash) or password_hash)
    except InvalidHashError:
        return None
    return Cost(found.memory_cost, found.time_cost, found.parallelism)


def is_outdated(password_hash: str) -> bool:
    """Whether the hash is foreign, or has other parameters."""
    return is_foreign(password_hash) or _passwords().hasher.check_needs_rehash(password_hash)


def outdated_hashes(column: SQLColumnExpression[str], prefixes: Iterable[str] = ()) -> ColumnElement[bool]:
    """Whether a stored hash has neither the current parameters nor these."""
    return and_(*(~column.startswith(prefix, autoescape=True) for prefix in (_current_prefix(), *prefixes)))


def _current_prefix() -> str:
    """The beginning of a new hash, up to its salt: `$argon2id$v=19$m=19456,t=2,p=1$`."""
    hasher = _passwords().hasher
    parameters = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2{hasher.type.name.lower()}$v={low_level.ARGON2_VERSION}${parameters}$"


def _meet_stored_hashes(dearest: Dearest) -> None:
    """Find other parameters among the oldest accounts, which use them longest.

    Reads at most SEARCHED rows for each kind of parameters.  Hashes of other accounts are met when somebody tries to
    log in there.
    """
    oldest = select(User.password_hash).order_by(User.id).limit(SEARCHED).subquery().c.password_hash
    met: list[str] = []
    try:
        while len(met) < MOST_KINDS:
            others = read(select(oldest).where(outdated_hashes(oldest, met)).limit(1))
            if not others:
                return
            found: str = others[0].password_hash
            cost = cost_of(found)
            if cost:
                dearest.meet(cost)
            met.append(parameters_of(found) if cost else found)
    except SQLAlchemyError as error:
        current_app.logger.warning("The costs of the stored hashes could not be read: %s", type(error).__name__)
