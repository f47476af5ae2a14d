"""Deletes expired rows, of every table that declares `expires` in its `info`.

`expires` is a timedelta: a row stays for that long after its `expires_at`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flask import current_app
from sqlalchemy import Connection, Table, delete, select
from sqlalchemy.exc import SQLAlchemyError

from app.data.base import Base, db
from app.data.connections import short_lock_waits
from app.data.types import utcnow

PRUNE_EVERY = timedelta(seconds=1)  # in each process
PRUNE_SOME = 100  # rows of each table, besides two for each row added since
PRUNE_MOST = 1000  # rows of each table: one request waits for all of it
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class _Progress:
    pruned_at: datetime = _NEVER
    added: int = 0


def prune_some() -> None:
    """Delete some expired rows, if this process has not just done so.

    Call it after the commit of a request that adds an expiring row. It deletes
    more rows than were added, so the tables stay bounded. It runs in a transaction
    of its own, waits for no lock for long, and logs a failure instead of raising:
    the caller's answer is true either way. Within a transaction it does nothing,
    because a thread that holds a connection must not wait for a second one.
    """
    progress: _Progress = current_app.extensions.setdefault("expiry", _Progress())
    progress.added += 1
    now = utcnow()
    if abs(now - progress.pruned_at) < PRUNE_EVERY or (db.session.registry.has() and db.session().in_transaction()):
        return
    most = min(PRUNE_SOME + 2 * progress.added, PRUNE_MOST)
    progress.pruned_at, progress.added = now, 0
    try:
        with db.engine.connect() as connection, short_lock_waits(connection):
            for table in expiring_tables():
                _delete_expired(connection, table, now, most)
            connection.commit()
    except SQLAlchemyError as error:
        current_app.logger.warning("Expired rows could not be deleted: %s", type(error).__name__)


def expired_batches(sizes: Iterator[int]) -> Iterator[int]:
    """Delete every row that has expired by now; yields the number of rows after each transaction.

    Several processes may do so at once: each takes different rows, and none waits.

    Args:
        sizes: the most rows of each transaction in turn, without an end.
    """
    now = utcnow()  # fixed, or there would be no end where rows expire all the time
    for table in expiring_tables():
        since = None
        for most in sizes:
            with db.engine.begin() as connection:
                times = _delete_expired(connection, table, now, most, since)
            if times:
                yield len(times)
                since = times[-1]
            elif since is None:
                break
            else:
                since = None  # from the beginning once more, because somebody may have locked a row


def expiring_tables() -> list[Table]:
    return [table for table in Base.metadata.sorted_tables if "expires" in table.info]


def _delete_expired(
    connection: Connection, table: Table, now: datetime, most: int, since: datetime | None = None
) -> Sequence[datetime]:
    """Delete the rows that expired first; returns when each of them expired.

    Args:
        connection: whose transaction it belongs to.
        table: declares `expires`, and has an index on `expires_at`.
        now: the time that decides what has expired.
        most: rows.
        since: skips rows that expired before. PostgreSQL reads past deleted rows
            until a vacuum, so a start at the first row each time slows down.
    """
    [key], expires_at = table.primary_key, table.c.expires_at
    expired = expires_at < now - table.info["expires"]
    rows = connection.execute(
        select(key, expires_at)
        .where(expired if since is None else expired & (expires_at >= since))
        .order_by(expires_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:  # SQLite locks no row: one may have been renewed since it was read
        connection.execute(delete(table).where(key.in_([row[0] for row in rows]), expired))
    return [row[1] for row in rows]
