"""Renew a session with its refresh token, or stop its renewal."""

import uuid
from datetime import datetime, timedelta
from typing import cast

from flask import current_app
from sqlalchemy import Table, and_, bindparam, or_, select, update

from app.auth.models import IP_ADDRESS_LENGTH, Session
from app.auth.service import revoke_token
from app.data.base import db
from app.data.statements import write
from app.data.types import utcnow
from app.sessions.service import end_session
from app.tokens.caller import Caller
from app.tokens.issuing import Grant
from app.web.errors import ApiError, Code
from app.web.networks import network_of
from app.web.request import Client

_sessions = cast("Table", Session.__table__)
_EXCHANGE = (  # one atomic write: of several requests, one matches the row
    update(_sessions)
    .where(_sessions.c.id == bindparam("session"), _sessions.c.refresh_jti == bindparam("exchanged"))
    .values(
        refresh_jti=bindparam("successor"),
        previous_jti=bindparam("exchanged"),
        rotated_at=bindparam("moment"),
        rotated_from=bindparam("address"),
        last_used_at=bindparam("moment"),
    )
)


def exchange_refresh_token(caller: Caller, client: Client) -> Grant | None:
    """Exchange the caller's refresh token.  Concurrent requests get the same successor.

    Returns None after reuse, when the token was exchanged before the grace period: somebody else may
    have it, so the session is ended (RFC 9700 section 4.14.2).  The caller commits that.

    Raises:
        ApiError: 401 `token_revoked` if the session has ended or cannot be renewed.
    """
    now = utcnow()
    successor = uuid.uuid4()
    address = client.ip_address and client.ip_address[:IP_ADDRESS_LENGTH]
    tokens = {"exchanged": caller.jti, "successor": successor}
    values = {"session": caller.session_id, **tokens, "moment": now, "address": address}
    if write(_EXCHANGE, values, alone=True):
        return Grant(caller.session_id, successor, now, caller.session_expires_at)
    session = _session_of(caller)
    if session.previous_jti == caller.jti and session.rotated_at and session.rotated_at >= _grace_began(now):
        elsewhere = session.rotated_from is not None and network_of(session.rotated_from) != network_of(address)
        grant = Grant(session.id, session.refresh_jti, session.rotated_at, session.expires_at)
        return grant._replace(is_resent=True, is_elsewhere=elsewhere)
    end_session(session.id)
    return None


def stop_renewal(caller: Caller) -> bool:
    """Revoke the caller's refresh token, and its successor within the grace period.

    The session ends when its access tokens have expired.  Returns False after reuse and ends the session,
    as `exchange_refresh_token` does.

    Raises:
        ApiError: 401 `token_revoked` if the session has ended or cannot be renewed.
    """
    now = utcnow()
    last_access_token = now + timedelta(seconds=current_app.config["JWT_ACCESS_TOKEN_EXPIRES"])
    stopped = write(
        update(Session)
        .where(
            Session.id == caller.session_id,
            or_(
                Session.refresh_jti == caller.jti,
                and_(Session.previous_jti == caller.jti, Session.rotated_at >= _grace_began(now)),
            ),
        )
        .values(refresh_jti=None, previous_jti=None, expires_at=min(caller.session_expires_at, last_access_token))
    )
    if stopped:
        revoke_token(caller)
        return True
    end_session(_session_of(caller).id)
    return False


def _session_of(caller: Caller) -> Session:
    """The current row of the caller's session, if it can be renewed."""
    session = db.session.scalar(
        select(Session).where(Session.id == caller.session_id).execution_options(populate_existing=True)
    )
    if session is None or session.refresh_jti is None:
        raise ApiError(Code.token_revoked)
    return session


def _grace_began(now: datetime) -> datetime:
    return now - timedelta(seconds=current_app.config["REFRESH_GRACE"])
