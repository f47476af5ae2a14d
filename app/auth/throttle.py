"""Failed logins, counted per account and address in the database: one count for every worker and machine."""

import hashlib
import ipaddress
import math
from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import Insert, case, delete, literal, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from app.auth.models import FailedLogin
from app.auth.pruning import remove_expired
from app.database import UTCDateTime, utcnow
from app.errors import ApiError, Code
from app.extensions import db

IPV6_NETWORK = 64  # bits: what one subscriber has (RFC 6177); with single addresses nobody would ever be stopped
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # all of IPv4, as IPv6 networks write it (RFC 6052)
PRUNE_A_FEW = 2  # rows that a new counter takes away: more than it adds


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


def reserve_attempt(key: str) -> None:
    """Take one of the attempts that are left, before anything is tried: parallel guesses cannot pass.

    In a transaction of its own, which stands whatever becomes of the request.

    Raises:
        ApiError: 429 `too_many_attempts`, with the seconds until the count begins anew.
    """
    limit, now = current_app.config["LOGIN_ATTEMPTS"], utcnow()
    with db.engine.begin() as connection:
        connection.execute(_reservation(connection.dialect.name, key, limit, now))
        row = connection.execute(
            select(FailedLogin.attempts, FailedLogin.expires_at).where(FailedLogin.key == key)
        ).one()
        if row.attempts == 1:
            remove_expired(connection.execute, FailedLogin.key, FailedLogin.expires_at, now, PRUNE_A_FEW)
    if row.attempts > limit:
        seconds = max(1, math.ceil((row.expires_at - utcnow()).total_seconds()))
        raise ApiError(Code.too_many_attempts, headers={"Retry-After": str(seconds)})


def _reservation(dialect: str, key: str, limit: int, now: datetime) -> Insert:
    """One statement that counts, begins anew where the time is over, and stops one above the limit."""
    until = now + timedelta(seconds=current_app.config["LOGIN_WINDOW"])
    over = FailedLogin.expires_at <= now
    stopped = FailedLogin.attempts > limit
    changes: dict[str, Any] = {
        # In this order: MariaDB sets one after the other, and the first must see the old end.
        "attempts": case((over, 1), (stopped, FailedLogin.attempts), else_=FailedLogin.attempts + 1),
        "expires_at": case((over, literal(until, UTCDateTime())), else_=FailedLogin.expires_at),
    }
    first = {"key": key, "attempts": 1, "expires_at": until}
    if dialect in ("mysql", "mariadb"):
        return mysql.insert(FailedLogin).values(first).on_duplicate_key_update(list(changes.items()))
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(FailedLogin).values(first).on_conflict_do_update(index_elements=["key"], set_=changes)


def give_back_attempt(key: str) -> None:
    """Undo a reservation: nothing was tried, because we were not able to."""
    limit = current_app.config["LOGIN_ATTEMPTS"]
    within = case((FailedLogin.attempts > limit, limit), else_=FailedLogin.attempts)
    with db.engine.begin() as connection:
        connection.execute(
            update(FailedLogin).where(FailedLogin.key == key, FailedLogin.attempts > 0).values(attempts=within - 1)
        )


def forget_failures(key: str) -> None:
    """Clear the count: the password was right, whatever becomes of the login."""
    with db.engine.begin() as connection:
        connection.execute(delete(FailedLogin).where(FailedLogin.key == key))
