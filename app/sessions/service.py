"""List and end sessions."""

import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Integer, Table, bindparam, delete, select

from app.auth.models import Session
from app.data.base import db
from app.data.statements import write
from app.data.types import utcnow
from app.sessions.schemas import SessionSchema
from app.tokens.caller import IS_ALIVE, alive_at
from app.web.pages import Listing, Page

_table = cast("Table", Session.__table__)
_sessions = _table.c
LISTING = Listing(  # the index on user_id is enough, because MAX_SESSIONS bounds the rows of a user
    select(*SessionSchema(exclude=["current"]).columns(Session)).where(*IS_ALIVE),
    orders={"created_at": (_sessions.created_at, _sessions.id)},
    filters={"user_id": _sessions.user_id == bindparam("user_id")},
)


def list_living_sessions(user_id: int, args: Mapping[str, Any], *, current: uuid.UUID | None) -> Page:
    """A page of the living sessions of a user, newest first.

    Args:
        user_id: the user's id.
        args: `limit` and `cursor`.
        current: the session of this request; None in a command.  It is in use now, so it shows the time of the request.
            Its refreshes stay hidden, because a thief of its tokens must not learn when to use them.
    """
    now = utcnow()
    page = LISTING.read({**args, **alive_at(now), "user_id": user_id, "sort": "-created_at"})
    for row in page.rows:
        row["current"] = row["id"] == current
        if row["current"]:
            row["last_used_at"] = now
    return page


def end_session(session_id: uuid.UUID) -> None:
    """End a session.  Its tokens are refused from the next request on."""
    write(delete(Session).where(Session.id == session_id))


def end_session_of(user_id: int, session_id: uuid.UUID) -> bool:
    """End a session of this user.

    False if the user has none with this id.
    """
    return bool(write(delete(Session).where(Session.id == session_id, Session.user_id == user_id)))


def end_sessions(user_id: int, *, but: uuid.UUID | None = None) -> int:
    """End all sessions of a user, or all but one.

    Returns their number.
    """
    statement = delete(Session).where(Session.user_id == user_id)
    return write(statement if but is None else statement.where(Session.id != but))


BATCH = 500  # ids in one statement
_LONGEST_UNUSED = (
    select(_sessions.id)
    .where(
        _sessions.user_id == bindparam("of"),
        _sessions.id != bindparam("kept"),
        *IS_ALIVE,
    )
    .order_by(_sessions.last_used_at.desc(), _sessions.id)
    .offset(bindparam("others", type_=Integer))
)


def end_longest_unused(user_id: int, *, most: int, kept: uuid.UUID, now: datetime) -> int:
    """End the sessions of a user above a number.

    Those used longest ago end first.

    Args:
        user_id: the user's id.  The caller has locked the user's row.
        most: how many sessions stay.
        kept: a session that stays and counts.
        now: the current time.

    Returns:
        The number of ended sessions.
    """
    values = {"of": user_id, "kept": kept, "others": most - 1, **alive_at(now)}
    # Read first: on MariaDB, a subquery of the DELETE locks sessions of other users, and deadlocks with their logins.
    ids = db.session.scalars(_LONGEST_UNUSED, values).all()
    return sum(
        write(delete(_table).where(_sessions.id.in_(ids[start : start + BATCH]))) for start in range(0, len(ids), BATCH)
    )


def end_sessions_of_all(sizes: Iterator[int]) -> Iterator[int]:
    """End all sessions that have started by now, in batches.

    Yields the size of each one.

    The caller commits after each batch.  Later logins stay.

    Args:
        sizes: the maximum size of each batch, an endless iterator.
    """
    begun = select(Session.id).where(Session.created_at < utcnow()).order_by(Session.id)
    last: uuid.UUID | None = None
    for most in sizes:
        ids = db.session.scalars((begun if last is None else begun.where(Session.id > last)).limit(most)).all()
        if ids:
            yield write(delete(Session).where(Session.id.in_(ids)))
            last = ids[-1]
        elif last is None:
            return
        else:
            last = None  # start again: a login may have committed an older session meanwhile
