"""Tables that only grow are removed from, a few rows at a time, by those who add to them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import delete, inspect, select
from sqlalchemy.orm import InstrumentedAttribute

from app.auth.models import FailedLogin, RevokedToken, Session
from app.data.base import db
from app.data.types import utcnow
from app.idempotency.models import IdempotencyKey

# A revoked token that is forgotten while it lives is valid again. So one machine whose clock is ahead must not be
# able to forget what another has revoked: its row outlives the token by more than clocks are ever wrong.
CLOCKS_ERR = timedelta(days=1)
PRUNE_EVERY = timedelta(seconds=1)  # in each process, and so no login or refresh pays for more than its share
PRUNE_SOME = 100  # rows of each table: more than the logins of that time add

# By table, how far a prune has come. PostgreSQL walks past all that was removed until a vacuum has cleared it away: one
# that began with the first row each time would become slower and slower.
Reached = dict[str, Any]


def prune_in_passing() -> None:
    """Remove some expired rows, where none were removed just now."""
    extensions, now = current_app.extensions, utcnow()
    last: datetime | None = extensions.get("pruned_at")
    if last is None or abs(now - last) >= PRUNE_EVERY:
        extensions["pruned_at"] = now
        prune(PRUNE_SOME)


def prune(most: int, reached: Reached | None = None, *, now: datetime | None = None) -> int:
    """Remove at most so many expired rows of each table; the number of those removed.

    Two that prune at once take different rows, and neither waits.

    Args:
        most: rows.
        reached: where the last time ended; none, to begin with the first row that there is.
        now: what has not expired by then stays.
    """
    now = now or utcnow()
    cut = now - timedelta(seconds=current_app.config["JWT_LEEWAY"])
    cuts = {
        Session.expires_at: cut,
        RevokedToken.expires_at: cut - CLOCKS_ERR,
        FailedLogin.expires_at: now,
        IdempotencyKey.expires_at: now,
    }
    return sum(remove_expired(db.session.execute, column, its_cut, most, reached) for column, its_cut in cuts.items())


def remove_expired(
    execute: Callable[..., Any],
    expires_at: InstrumentedAttribute[datetime],
    cut: datetime,
    most: int,
    reached: Reached | None = None,
) -> int:
    """Remove at most so many rows that expired before; the number of those removed.

    Args:
        execute: of the session or the connection whose transaction it belongs to.
        expires_at: when the rows of a table expire; there is an index on it.
        cut: rows that expired earlier go.
        most: rows.
        reached: as of `prune`.
    """
    model = expires_at.class_
    [key] = inspect(model).primary_key
    expired = select(key, expires_at).where(expires_at < cut)
    if reached and model.__tablename__ in reached:
        expired = expired.where(expires_at >= reached[model.__tablename__])
    rows = execute(expired.order_by(expires_at).limit(most).with_for_update(skip_locked=True)).all()
    if rows:
        keys = [row[0] for row in rows]
        execute(delete(model).where(key.in_(keys)).execution_options(synchronize_session=False))
        if reached is not None:
            reached[model.__tablename__] = rows[-1][1]
    return len(rows)
