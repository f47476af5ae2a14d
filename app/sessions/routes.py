from typing import Any
from uuid import UUID

from flask import request

from app.auth.models import Session
from app.data.base import db
from app.data.types import utcnow
from app.sessions.schemas import EndSessionsArgs, SessionPageSchema, StateSchema
from app.sessions.service import end_session_of, end_sessions, list_living_sessions
from app.tokens.caller import caller
from app.tokens.cookies import came_by_cookie, clear_cookies, csrf_value
from app.tokens.guards import fresh_admin_required, fresh_login_required, fresh_login_required_unless, login_required
from app.users.models import User
from app.web.blueprint import Blueprint
from app.web.errors import ApiError, Code, concealed
from app.web.fields import MessageSchema, PageArgs
from app.web.logs import log_event
from app.web.pages import PAGE_HEADERS, Page

blp = Blueprint("sessions", __name__, url_prefix="/api/v1", description="Where users are logged in.")


def _answer(page: Page) -> tuple[dict[str, Any], dict[str, str]]:
    return {"sessions": page.rows, "next_cursor": page.next_cursor}, page.headers


def _require_user(user_id: int) -> None:
    if db.session.get(User, user_id) is None:
        raise ApiError(Code.not_found)


@blp.get("/auth/session")
@login_required
@blp.response(200, StateSchema)
def get_session() -> dict[str, Any]:
    """Who am I, and for how long am I logged in?"""
    now = utcnow()
    answer = {
        "user": caller,
        "session": {
            "id": caller.session_id,
            "created_at": caller.session_created_at,
            "expires_at": caller.session_expires_at,
        },
        "is_fresh": caller.is_fresh,
        "expires_in": max(0, int((caller.token_expires_at - now).total_seconds())),
        "session_expires_in": int((caller.session_expires_at - now).total_seconds()),
    }
    return answer | ({"csrf_token": csrf_value(caller.jti)} if came_by_cookie() else {})


@blp.get("/auth/sessions")
@login_required
@blp.arguments(PageArgs, location="query")
@blp.response(200, SessionPageSchema, headers=PAGE_HEADERS)
def list_sessions(args: dict[str, Any]) -> Any:
    """List where you are logged in, newest first."""
    return _answer(list_living_sessions(caller.id, args, current=caller.session_id))


@blp.delete("/auth/sessions")
@fresh_login_required
@blp.arguments(EndSessionsArgs, location="query")
@blp.response(200, MessageSchema)
def delete_sessions(args: dict[str, bool]) -> dict[str, str]:
    """Log out everywhere, or everywhere else."""
    end_sessions(caller.id, but=caller.session_id if args["keep_current"] else None)
    db.session.commit()
    log_event("session_ended", sessions="others" if args["keep_current"] else "all")
    if not args["keep_current"]:
        clear_cookies()
    return {"message": "You have been logged out everywhere" + (" else." if args["keep_current"] else ".")}


def _is_own_current_session() -> bool:
    view_args = request.view_args or {}
    return bool(view_args["session_id"] == caller.session_id)


@blp.delete("/auth/sessions/<uuid:session_id>")
@fresh_login_required_unless(_is_own_current_session)
@blp.response(200, MessageSchema)
@blp.fails(Code.not_found)
def delete_session(session_id: UUID) -> dict[str, str]:
    """End one of your sessions.

    Another one than the current needs a fresh token.
    """
    if not end_session_of(caller.id, session_id):
        raise concealed() if db.session.get(Session, session_id) else ApiError(Code.not_found)
    db.session.commit()
    log_event("session_ended", session_id=session_id)
    if session_id == caller.session_id:
        clear_cookies()
    return {"message": "The session has been ended."}


@blp.get("/users/<int:user_id>/sessions")
@fresh_admin_required
@blp.arguments(PageArgs, location="query")
@blp.response(200, SessionPageSchema, headers=PAGE_HEADERS)
@blp.fails(Code.not_found)
def list_user_sessions(args: dict[str, Any], user_id: int) -> Any:
    """List where a user is logged in, newest first.  Administrators only."""
    _require_user(user_id)
    return _answer(list_living_sessions(user_id, args, current=caller.session_id))


@blp.delete("/users/<int:user_id>/sessions")
@fresh_admin_required
@blp.response(200, MessageSchema)
@blp.fails(Code.not_found)
def delete_user_sessions(user_id: int) -> dict[str, str]:
    """End all sessions of a user.  Administrators only."""
    _require_user(user_id)
    number = end_sessions(user_id)
    db.session.commit()
    log_event("session_ended", user_id=user_id, by=caller.id, sessions="all", number=number)
    if user_id == caller.id:
        clear_cookies()
    return {"message": "All sessions of the user have been ended."}
