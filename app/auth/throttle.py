"""Counts failed logins per account and network, in the database."""

import hashlib
import ipaddress
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from logging import WARNING
from typing import Any, cast

from flask import current_app
from sqlalchemy import Insert, Table, bindparam, case, delete, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from app.auth.models import FailedLogin
from app.data.base import db
from app.data.types import UTCDateTime, utcnow
from app.web.errors import ApiError, Code
from app.web.logs import log_event

IPV6_NETWORK = 64  # bits: one subscriber's network (RFC 6177), which has too many addresses to count each
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # IPv4 addresses written as IPv6 (RFC 6052)


def attempt_key(who: str, address: str | None) -> str:
    """The key of the counter.

    It is a hash, so that the table does not reveal accounts and addresses.

    Args:
        who: the account, or an unknown user name.
        address: the client's IP address.
    """
    return hashlib.sha256(f"{who}\0{_network(address)}".encode()).hexdigest()


def _network(address: str | None) -> str:
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return ""  # all invalid addresses share one counter
    if isinstance(parsed, ipaddress.IPv6Address):
        embedded = ipaddress.IPv4Address(parsed.packed[-4:]) if parsed in NAT64 else parsed.ipv4_mapped
        return str(embedded or ipaddress.ip_network((parsed, IPV6_NETWORK), strict=False))
    return str(parsed)


_table = cast("Table", FailedLogin.__table__)
_failed = _table.c
_COUNT = select(_failed.attempts, _failed.expires_at).where(_failed.key == bindparam("counted"))


@cache
def _reservation(dialect: str, *, returns: bool) -> Insert:
    """The statement that counts an attempt.

    It restarts an expired count, and stops at one above the limit.

    Args:
        dialect: the name of the SQL dialect.
        returns: whether the database supports RETURNING; SQLite does since 3.35.
    """
    over = _failed.expires_at <= bindparam("now", type_=UTCDateTime)
    stopped = _failed.attempts > bindparam("limit")
    changes: dict[str, Any] = {
        # In this order: MariaDB assigns one after the other, and `attempts` needs the old `expires_at`.
        "attempts": case((over, 1), (stopped, _failed.attempts), else_=_failed.attempts + 1),
        "expires_at": case((over, bindparam("until", type_=UTCDateTime)), else_=_failed.expires_at),
    }
    if dialect in ("mysql", "mariadb"):
        return mysql.insert(_table).on_duplicate_key_update(list(changes.items()))
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    counting = insert(_table).on_conflict_do_update(index_elements=["key"], set_=changes)
    return counting.returning(_failed.attempts, _failed.expires_at) if returns else counting


@contextmanager
def counted_attempt(key: str, user_id: int | None) -> Iterator[None]:
    """Count the password check of the block as an attempt.

    A server-side failure does not count.

    Args:
        key: the result of `attempt_key`.
        user_id: for the log; None for an unknown user.

    Raises:
        ApiError: 429 `too_many_attempts`; 503 `overloaded` from the block.
    """
    try:
        reserve_attempt(key)
    except ApiError:
        log_event("authn_login_lock", level=WARNING, user_id=user_id)
        raise
    try:
        yield
    except ApiError:
        give_back_attempt(key)
        raise


def reserve_attempt(key: str) -> None:
    """Count an attempt before the password is checked.

    This counts parallel guesses too.  Commits in a transaction of its own.

    Raises:
        ApiError: 429 `too_many_attempts`, with `Retry-After` in seconds.
    """
    limit, now = current_app.config["LOGIN_ATTEMPTS"], utcnow()
    until = now + timedelta(seconds=current_app.config["LOGIN_WINDOW"])
    values = {"key": key, "attempts": 1, "expires_at": until, "now": now, "limit": limit, "until": until}
    with db.engine.begin() as connection:
        dialect = connection.dialect
        counted = connection.execute(_reservation(dialect.name, returns=dialect.insert_returning), values)
        if not counted.returns_rows:
            counted = connection.execute(_COUNT, {"counted": key})
        attempts, expires_at = counted.one()
    if attempts > limit:
        seconds = max(1, math.ceil((expires_at - utcnow()).total_seconds()))
        raise ApiError(Code.too_many_attempts, headers={"Retry-After": str(seconds)})


def give_back_attempt(key: str) -> None:
    """Undo a reservation after a server-side failure.

    Deletes the row if it was the only attempt.
    """
    limit = current_app.config["LOGIN_ATTEMPTS"]
    within = case((_failed.attempts > limit, limit), else_=_failed.attempts)
    with db.engine.begin() as connection:
        if not connection.execute(delete(_table).where(_failed.key == key, _failed.attempts <= 1)).rowcount:
            connection.execute(update(_table).where(_failed.key == key).values(attempts=within - 1))


_FORGET = delete(_table).where(_failed.key == bindparam("forgotten"))


def forget_failures(key: str) -> None:
    """Delete the counter after a correct password, in its own transaction."""
    with db.engine.begin() as connection:
        connection.execute(_FORGET, {"forgotten": key})
