from logging import DEBUG, WARNING
from typing import Any
from uuid import UUID

from flask import current_app, request
from sqlalchemy import delete, select

from app.auth.limits import bad_names_counted, counted_registration, refused_registrations
from app.auth.models import Session
from app.auth.renewal import exchange_refresh_token, stop_renewal
from app.auth.schemas import (
    AccessTokenSchema,
    CookieArgs,
    CredentialsSchema,
    EndSessionsArgs,
    LoginSchema,
    PasswordChangeSchema,
    RefreshTokenSchema,
    RegistrationSchema,
    SessionsSchema,
    TokensSchema,
)
from app.auth.service import (
    end_session,
    end_sessions,
    replace_password,
    revoke_token,
    start_login,
    start_session,
    verify_login,
)
from app.data.base import db
from app.data.errors import unique_or
from app.data.expiry import prune_some
from app.data.statements import write
from app.data.types import utcnow
from app.tokens.caller import caller, is_anonymous
from app.tokens.guards import fresh_login_required, live_login_optional, login_required, refresh_required, switched_on
from app.tokens.issuing import Grant, issue_tokens
from app.tokens.locations import came_by_cookie, clear_cookies, expire_cookies, require_cookies
from app.users.models import User
from app.users.password_rules import resembles
from app.users.passwords import hash_password, hashing_slot
from app.users.schemas import RESEMBLES
from app.web.blueprint import Blueprint
from app.web.errors import ApiError, Code, concealed, invalid
from app.web.fields import MessageSchema
from app.web.logs import log_event
from app.web.request import client_of_request

blp = Blueprint("auth", __name__, url_prefix="/api/v1/auth", description="Sign up, log in, stay logged in, log out.")

# The errors of routes that check a password.
PASSWORD_FAILS = (Code.invalid_credentials, Code.too_many_attempts, Code.overloaded)


def _into_cookies(args: dict[str, bool]) -> bool:
    """Whether the request asks for cookies or its token came in one."""
    if args["use_cookies"]:
        require_cookies()
    return args["use_cookies"] or came_by_cookie()


@blp.post("/register")
@switched_on("REGISTRATION_OPEN")
@bad_names_counted(lambda: refused_registrations(request.remote_addr))
@blp.arguments(RegistrationSchema)
@blp.arguments(CookieArgs, location="query")
@blp.response(201, LoginSchema)
@blp.fails(Code.username_taken, Code.too_many_attempts, Code.overloaded, Code.database_unavailable)
def register(registration: dict[str, Any], args: dict[str, bool]) -> dict[str, Any]:
    """Create an account, and log it in."""
    by_cookie = _into_cookies(args)
    client = client_of_request()
    with hashing_slot(), counted_registration(client.ip_address):  # the slot first, because a refusal there is cheaper
        user = User(password_hash=hash_password(registration.pop("password")), **registration)
        db.session.add(user)
        with unique_or(ApiError(Code.username_taken)):
            db.session.flush()
        grant = start_login(user, client)
        db.session.commit()
    prune_some()
    log_event("user_created", user_id=user.id, session_id=grant.session_id)
    return issue_tokens(user, grant, fresh=True, by_cookie=by_cookie) | {"user": user}


@blp.post("/login")
@blp.arguments(CredentialsSchema)
@blp.arguments(CookieArgs, location="query")
@blp.response(200, LoginSchema)
@blp.fails(*PASSWORD_FAILS, Code.forbidden, Code.database_unavailable)
def login(credentials: dict[str, str], args: dict[str, bool]) -> dict[str, Any]:
    """Log in: a new session, and a fresh access token."""
    by_cookie = _into_cookies(args)
    user = verify_login(**credentials, client=client_of_request())
    grant = start_login(user, client_of_request())
    db.session.commit()
    prune_some()
    log_event("authn_login_success", user_id=user.id, session_id=grant.session_id)
    if current_app.config["SINGLE_SESSION"]:
        log_event("session_ended", user_id=user.id, session_id=grant.session_id, sessions="others")
    return issue_tokens(user, grant, fresh=True, by_cookie=by_cookie) | {"user": user}


@blp.post("/fresh-login")
@live_login_optional
@blp.arguments(CredentialsSchema)
@blp.arguments(CookieArgs, location="query")
@blp.response(200, AccessTokenSchema)
@blp.fails(*PASSWORD_FAILS, Code.forbidden)
def fresh_login(credentials: dict[str, str], args: dict[str, bool]) -> dict[str, Any]:
    """Enter the password again for a fresh access token.

    The token joins the session of the access token of this request, if that is valid and the same
    user's. Otherwise it gets a session that ends with it.
    """
    by_cookie = _into_cookies(args)
    user = verify_login(**credentials, client=client_of_request())
    joins = not is_anonymous() and caller.id == user.id
    if joins:
        grant = Grant(caller.session_id, None, utcnow(), caller.session_expires_at)
    else:
        lasts = current_app.config["JWT_ACCESS_TOKEN_EXPIRES"]
        grant = start_session(user, client_of_request(), lasts=lasts, renewable=False)
    db.session.commit()
    prune_some()
    if by_cookie and not joins:
        expire_cookies("refresh")  # it belongs to another session
    log_event("authn_login_success", user_id=user.id, session_id=grant.session_id)
    return issue_tokens(user, grant, fresh=True, by_cookie=by_cookie)


@blp.post("/refresh")
@refresh_required
@blp.arguments(RefreshTokenSchema, example={})
@blp.arguments(CookieArgs, location="query")
@blp.response(200, TokensSchema)
@blp.fails(Code.token_reused, Code.forbidden)
def refresh(_body: dict[str, str], args: dict[str, bool]) -> dict[str, Any]:
    """Exchange a refresh token for a new access and refresh token."""
    by_cookie = _into_cookies(args)
    grant = exchange_refresh_token(caller)
    if grant is None:
        db.session.commit()  # the end of the session
        log_event("authn_token_reuse", level=WARNING)
        clear_cookies()
        raise ApiError(Code.token_reused)
    prune_some()
    log_event("session_renewed", level=DEBUG, how="resent" if grant.is_resent else "rotated")
    return issue_tokens(caller, grant, fresh=False, by_cookie=by_cookie)


@blp.post("/logout")
@login_required
@blp.response(200, MessageSchema)
def logout() -> dict[str, str]:
    """Log out: end this session and all its tokens."""
    end_session(caller.session_id)
    db.session.commit()
    log_event("session_ended")
    clear_cookies()
    return {"message": "You have been logged out."}


@blp.post("/logout/access")
@login_required
@blp.response(200, MessageSchema)
def logout_access() -> dict[str, str]:
    """Revoke this access token alone."""
    revoke_token(caller)
    db.session.commit()
    log_event("authn_token_revoked", kind="access")
    clear_cookies("access")
    return {"message": "Access token has been revoked"}


@blp.post("/logout/refresh")
@refresh_required
@blp.arguments(RefreshTokenSchema, example={})
@blp.response(200, MessageSchema)
@blp.fails(Code.token_reused)
def logout_refresh(_body: dict[str, str]) -> dict[str, str]:
    """Revoke this refresh token.  The session can no longer be renewed."""
    stopped = stop_renewal(caller)
    db.session.commit()  # after reuse, this commits the end of the session
    if not stopped:
        log_event("authn_token_reuse", level=WARNING)
        clear_cookies()
        raise ApiError(Code.token_reused)
    log_event("authn_token_revoked", kind="refresh")
    clear_cookies("refresh")
    return {"message": "Refresh token has been revoked"}


@blp.put("/password")
@fresh_login_required
@blp.arguments(PasswordChangeSchema)
@blp.response(200, TokensSchema)
@blp.fails(*PASSWORD_FAILS)
def change_password(passwords: dict[str, str]) -> dict[str, Any]:
    """Change the password.  All sessions end, and a new one starts."""
    if resembles(passwords["new_password"], caller.username):
        raise invalid("json", "new_password", RESEMBLES)
    user = replace_password(caller, passwords["current_password"], passwords["new_password"], client_of_request())
    grant = start_login(user, client_of_request())
    db.session.commit()
    prune_some()
    log_event("authn_password_change", session_id=grant.session_id)
    return issue_tokens(user, grant, fresh=True, by_cookie=came_by_cookie())


@blp.get("/sessions")
@login_required
@blp.response(200, SessionsSchema)
def list_sessions() -> dict[str, Any]:
    """List where you are logged in, newest first."""
    columns = (
        Session.id,
        Session.created_at,
        Session.last_used_at,
        Session.expires_at,
        Session.user_agent,
        Session.ip_address,
        (Session.id == caller.session_id).label("current"),
    )
    alive = select(*columns).where(Session.user_id == caller.id, Session.expires_at > utcnow())
    return {"sessions": db.session.execute(alive.order_by(Session.created_at.desc(), Session.id)).all()}


@blp.delete("/sessions")
@login_required
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


@blp.delete("/sessions/<uuid:session_id>")
@login_required
@blp.response(200, MessageSchema)
@blp.fails(Code.not_found)
def delete_session(session_id: UUID) -> dict[str, str]:
    """End one of your sessions."""
    if not write(delete(Session).where(Session.id == session_id, Session.user_id == caller.id)):
        raise concealed() if db.session.get(Session, session_id) else ApiError(Code.not_found)
    db.session.commit()
    log_event("session_ended", session_id=session_id)
    if session_id == caller.session_id:
        clear_cookies()
    return {"message": "The session has been ended."}
