"""The user who sent the request.

`authenticate()` reads the token, and `caller` is the user as the database knows them now.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from flask import current_app, g
from sqlalchemy import Row, bindparam, exists, select
from werkzeug.local import LocalProxy

from app.auth.models import RevokedToken, Session
from app.data.statements import read
from app.data.types import utcnow
from app.tokens.cookies import check_csrf
from app.tokens.locations import find_token, presented_tokens
from app.tokens.verification import VerifiedToken, verify
from app.users.models import User
from app.users.schemas import UserSchema
from app.web.errors import ApiError, Code


class Caller(SimpleNamespace):
    """The user who sent the request, and their token.

    The values are those in the database now.  Every field of `UserSchema` is an attribute, also those
    that are not declared here.
    """

    id: int
    username: str
    is_admin: bool
    is_active: bool
    session_id: UUID
    session_created_at: datetime
    session_expires_at: datetime
    jti: UUID
    token_expires_at: datetime
    is_fresh: bool
    may_administer: bool  # the claim and the row agree: a demotion acts at once, a promotion with the next token


caller = cast("Caller", LocalProxy(lambda: g.caller))


def is_anonymous() -> bool:
    """Whether the request has no token, where a token is optional."""
    return g.caller is None


_users, _sessions, _revoked = (
    model.__table__.c for model in (User, Session, RevokedToken)
)  # columns make rows, not objects
# Whether a session is alive.  `alive_at` has the parameters.
IS_ALIVE = (
    _sessions.expires_at > bindparam("now"),
    _sessions.last_used_at > bindparam("idle_since"),
)
# The one query of every authenticated request.  No row: the user is gone or
# inactive, or the session is over, or the token was logged out.
_LIVE_CALLER = select(
    *UserSchema().columns(User, "id", "username", "is_admin", "is_active"),
    _sessions.id.label("session_id"),
    _sessions.created_at.label("session_created_at"),
    _sessions.expires_at.label("session_expires_at"),
).where(
    _users.id == bindparam("user_id"),
    _users.is_active,
    _sessions.id == bindparam("session_id"),
    _sessions.user_id == _users.id,
    *IS_ALIVE,
    ~exists().where(_revoked.jti == bindparam("jti")),
)
_NAMES = _LIVE_CALLER.selected_columns.keys()  # computed once, because asking each row for its names is slow
_EPOCH = datetime.fromtimestamp(0, UTC)


def alive_at(now: datetime) -> dict[str, datetime]:
    """The bound parameters of `IS_ALIVE`.

    A session that was last used before `idle_since` has ended (`SESSION_IDLE`).
    """
    seconds: int = current_app.config["SESSION_IDLE"]
    return {"now": now, "idle_since": now - timedelta(seconds=seconds) if seconds else _EPOCH}


def authenticate(*, refresh: bool = False, optional: bool = False) -> None:
    """Read the token of the request and set `caller`.

    Args:
        refresh: require a refresh token instead of an access token.
        optional: accept a request without a token; an invalid one is still refused.

    Raises:
        ApiError: 401 without a valid token; 403 for a cookie without its CSRF value.
    """
    g.caller = None
    text = find_token(refresh=refresh)
    if text is None:
        if optional:
            return
        raise ApiError(Code.authorization_required)
    token = verify(text)
    if token.is_refresh is not refresh:
        raise ApiError(Code.invalid_token)
    if not find_caller(token):
        raise ApiError(Code.token_revoked, event=token.event_members)
    g._jwt_extended_jwt = dict(token.claims)  # noqa: SLF001 -- where the library's `get_jwt()` looks
    check_csrf(token.csrf)


def find_caller(token: VerifiedToken) -> bool:
    """Set `caller` to the user of this token.

    Returns False if the user, the session or the token is no longer valid.
    """
    row = _live_caller(token)
    if row is None:
        return False
    g.caller = Caller(
        **dict(zip(_NAMES, row, strict=True)),
        jti=token.jti,
        token_expires_at=token.expires_at,
        is_fresh=token.is_fresh,
        may_administer=row.is_admin and token.is_admin,
    )
    return True


def _live_caller(token: VerifiedToken) -> Row[*tuple[Any, ...]] | None:
    identity = {"user_id": token.user_id, "session_id": token.session_id, "jti": token.jti}
    rows = read(_LIVE_CALLER, identity | alive_at(utcnow()))
    return rows[0] if rows else None


def presented_sessions() -> dict[UUID, int]:
    """The living sessions of the request's tokens, with their users' ids."""
    found: dict[UUID, int] = {}
    for text in presented_tokens():
        with suppress(ApiError):  # an invalid token has no session
            token = verify(text)
            if token.session_id not in found and _live_caller(token):
                found[token.session_id] = token.user_id
    return found
