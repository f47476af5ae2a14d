"""Tables that only grow are removed from, a few rows at a time, by those who add to them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import delete, select
from sqlalchemy.orm import InstrumentedAttribute

from app.auth.models import FailedLogin, RevokedToken, Session
from app.database import utcnow
from app.extensions import db
from app.idempotency.models import IdempotencyKey

# A revoked token that is forgotten while it lives is valid again. So one machine whose clock is ahead must not be
# able to forget what another has revoked: its row outlives the token by more than clocks are ever wrong.
CLOCKS_ERR = timedelta(days=1)
PRUNE_EVERY = timedelta(seconds=1)  # in each process, and so no login or refresh pays for more than its share
PRUNE_SOME = 100  # rows of each table: more than the logins of that time add


def prune_in_passing() -> None:
    """Remove some expired rows, where none were removed just now."""
    extensions, now = current_app.extensions, utcnow()
    last: datetime | None = extensions.get("pruned_at")
    if last is None or abs(now - last) >= PRUNE_EVERY:
        extensions["pruned_at"] = now
        prune(PRUNE_SOME)


def prune(most: int) -> int:
    """Remove at most so many expired rows of each table; the number of those removed.

    Two that prune at once take different rows, and neither waits.
    """
    now = utcnow()
    cut = now - timedelta(seconds=current_app.config["JWT_LEEWAY"])
    return (
        remove_expired(db.session.execute, Session.id, Session.expires_at, cut, most)
        + remove_expired(db.session.execute, RevokedToken.jti, RevokedToken.expires_at, cut - CLOCKS_ERR, most)
        + remove_expired(db.session.execute, FailedLogin.key, FailedLogin.expires_at, now, most)
        + remove_expired(db.session.execute, IdempotencyKey.key, IdempotencyKey.expires_at, now, most)
    )


def remove_expired(
    execute: Callable[..., Any],
    key: InstrumentedAttribute[Any],
    expires_at: InstrumentedAttribute[datetime],
    cut: datetime,
    most: int,
) -> int:
    """Remove at most so many rows that expired before; the number of those removed.

    Args:
        execute: of the session or the connection whose transaction it belongs to.
        key: the primary key of the table.
        expires_at: when its rows expire; there is an index on it.
        cut: rows that expired earlier go.
        most: rows.
    """
    expired = select(key).where(expires_at < cut).order_by(expires_at).limit(most).with_for_update(skip_locked=True)
    keys = execute(expired).scalars().all()
    if keys:
        execute(delete(key.class_).where(key.in_(keys)).execution_options(synchronize_session=False))
    return len(keys)
