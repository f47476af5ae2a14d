"""Delete expired rows of every table that declares when they expire.

    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, info={"kept_for": timedelta(0)})

`kept_for` is how long a row is kept after it has expired, or the setting that says so in seconds (0: for ever).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flask import current_app
from sqlalchemy import Column, Connection, delete, select
from sqlalchemy.exc import SQLAlchemyError

from app.data.base import Base, db
from app.data.connections import short_lock_waits
from app.data.types import utcnow

PRUNE_EVERY = timedelta(seconds=1)  # in each process
PRUNE_SOME = 100  # rows of each table, plus two for each row added since
PRUNE_MOST = 1000  # rows of each table, because one request waits for it
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class _Progress:
    pruned_at: datetime = _NEVER
    added: int = 0


def prune_some() -> None:
    """Delete some expired rows, at most once per second in each process.

    Call it after the commit of a request that adds an expiring row. It deletes
    more rows than were added, so the tables stay bounded. It runs in a separate
    transaction, waits only briefly for a lock, and logs a failure instead of
    raising, because the caller has already committed. Within a transaction it does
    nothing, because a thread that holds a connection must not wait for a second one.
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
            for expires_at in expiry_columns():
                _delete_expired(connection, expires_at, now, most)
            connection.commit()
    except SQLAlchemyError as error:
        current_app.logger.warning("Expired rows could not be deleted: %s", type(error).__name__)


def expired_batches(sizes: Iterator[int]) -> Iterator[int]:
    """Delete every row that has expired by now.

    Yields the number of deleted rows after each transaction.  Several processes may do so at once: each
    deletes different rows, and none waits.

    Args:
        sizes: the maximum number of rows of each transaction, without an end.
    """
    now = utcnow()  # fixed, so that the loop ends although more rows expire
    for expires_at in expiry_columns():
        since = None
        for most in sizes:
            with db.engine.begin() as connection:
                times = _delete_expired(connection, expires_at, now, most, since)
            if times:
                yield len(times)
                since = times[-1]
            elif since is None:
                break
            else:
                since = None  # start again, because another transaction may have locked a row


def expiry_columns() -> list[Column[datetime]]:
    """The columns that say when the rows of a table expire."""
    return [column for table in Base.metadata.sorted_tables for column in table.c if "kept_for" in column.info]


def _kept_for(expires_at: Column[datetime]) -> timedelta | None:
    """How long an expired row is kept; None is for ever."""
    kept_for: timedelta | str = expires_at.info["kept_for"]
    if isinstance(kept_for, timedelta):
        return kept_for
    seconds: int = current_app.config[kept_for]
    return timedelta(seconds=seconds) if seconds else None


def _delete_expired(
    connection: Connection, expires_at: Column[datetime], now: datetime, most: int, since: datetime | None = None
) -> Sequence[datetime]:
    """Delete the rows that expired first.  Returns the expiry time of each.

    Args:
        connection: a connection; the caller commits.
        expires_at: the expiry column, which has an index.
        now: the current time.
        most: the maximum number of rows.
        since: skip rows that expired before this time. PostgreSQL reads past deleted rows
            until a vacuum, so starting at the first row each time would become slow.
    """
    kept_for = _kept_for(expires_at)
    if kept_for is None:
        return []
    [key] = expires_at.table.primary_key
    expired = expires_at < now - kept_for
    rows = connection.execute(
        select(key, expires_at)
        .where(expired if since is None else expired & (expires_at >= since))
        .order_by(expires_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:  # SQLite has no row locks, so a row may have been renewed since it was read
        connection.execute(delete(expires_at.table).where(key.in_([row[0] for row in rows]), expired))
    return [row[1] for row in rows]
