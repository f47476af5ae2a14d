"""Failed logins, counted per account and address in the database: one count for every worker and machine."""

import hashlib
import ipaddress
import math
from datetime import timedelta
from functools import cache
from typing import Any, cast

from flask import current_app
from sqlalchemy import Insert, Table, bindparam, case, delete, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from app.auth.models import FailedLogin
from app.data.base import db
from app.data.types import UTCDateTime, utcnow
from app.web.errors import ApiError, Code

IPV6_NETWORK = 64  # bits: what one subscriber has (RFC 6177); with single addresses nobody would ever be stopped
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # all of IPv4, as IPv6 networks write it (RFC 6052)


def attempt_key(who: str, address: str | None) -> str:
    """What an attempt is counted under.  A hash, so that the table tells nobody who was tried from where.

    Args:
        who: the account, or a name that nobody has.
        address: where the attempt comes from.
    """
    return hashlib.sha256(f"{who}\0{_network(address)}".encode()).hexdigest()


def _network(address: str | None) -> str:
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return ""  # all that is no address counts as one
    if isinstance(parsed, ipaddress.IPv6Address):
        embedded = ipaddress.IPv4Address(parsed.packed[-4:]) if parsed in NAT64 else parsed.ipv4_mapped
        return str(embedded or ipaddress.ip_network((parsed, IPV6_NETWORK), strict=False))
    return str(parsed)


_table = cast("Table", FailedLogin.__table__)
_failed = _table.c
_COUNT = select(_failed.attempts, _failed.expires_at).where(_failed.key == bindparam("counted"))


@cache
def _reservation(dialect: str, *, returns: bool) -> Insert:
    """One statement that counts, begins anew where the time is over, and stops one above the limit.

    Args:
        dialect: each has its own words for that.
        returns: whether it can give the row back; SQLite can from 3.35.
    """
    over = _failed.expires_at <= bindparam("now", type_=UTCDateTime)
    stopped = _failed.attempts > bindparam("limit")
    changes: dict[str, Any] = {
        # In this order: MariaDB sets one after the other, and the first must see the old end.
        "attempts": case((over, 1), (stopped, _failed.attempts), else_=_failed.attempts + 1),
        "expires_at": case((over, bindparam("until", type_=UTCDateTime)), else_=_failed.expires_at),
    }
    if dialect in ("mysql", "mariadb"):
        return mysql.insert(_table).on_duplicate_key_update(list(changes.items()))
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    counting = insert(_table).on_conflict_do_update(index_elements=["key"], set_=changes)
    return counting.returning(_failed.attempts, _failed.expires_at) if returns else counting


def reserve_attempt(key: str) -> None:
    """Take one of the attempts that are left, before anything is tried: parallel guesses cannot pass.

    In a transaction of its own, which stands whatever becomes of the request.

    Raises:
        ApiError: 429 `too_many_attempts`, with the seconds until the count begins anew.
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
    """Undo a reservation: nothing was tried, because we were not able to.  One that was the first leaves no row."""
    limit = current_app.config["LOGIN_ATTEMPTS"]
    within = case((_failed.attempts > limit, limit), else_=_failed.attempts)
    with db.engine.begin() as connection:
        if not connection.execute(delete(_table).where(_failed.key == key, _failed.attempts <= 1)).rowcount:
            connection.execute(update(_table).where(_failed.key == key).values(attempts=within - 1))


_FORGET = delete(_table).where(_failed.key == bindparam("forgotten"))


def forget_failures(key: str) -> None:
    """Clear the count: the password was right, whatever becomes of the login."""
    with db.engine.begin() as connection:
        connection.execute(_FORGET, {"forgotten": key})
