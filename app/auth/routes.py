from logging import DEBUG, INFO, WARNING
from typing import Any

from flask import current_app, request

from app.auth.limits import bad_names_counted, counted_registration, refused_registrations
from app.auth.renewal import exchange_refresh_token, stop_renewal
from app.auth.schemas import (
    AccessTokenSchema,
    CookieArgs,
    CredentialsSchema,
    LoginSchema,
    PasswordChangeSchema,
    RefreshTokenSchema,
    RegistrationSchema,
    TokensSchema,
)
from app.auth.service import (
    join_session,
    replace_password,
    revoke_token,
    start_login,
    start_session,
    verify_login,
)
from app.data.base import db
from app.data.errors import unique_or
from app.data.expiry import prune_some
from app.sessions.service import end_session
from app.tokens.caller import caller, is_anonymous, presented_sessions
from app.tokens.cookies import (
    came_by_cookie,
    clear_cookies,
    expire_cookies,
    has_cookies,
    require_cookies,
)
from app.tokens.guards import (
    fresh_login_required,
    live_login_optional,
    login_required,
    refresh_required,
    switched_on,
)
from app.tokens.issuing import Grant, issue_tokens
from app.users.models import User
from app.users.password_rules import resembles
from app.users.passwords import hash_password, hashing_slot
from app.users.schemas import RESEMBLES
from app.web.blueprint import Blueprint
from app.web.errors import ApiError, Code, invalid
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


def _log_login(user_id: int, grant: Grant) -> None:
    log_event("authn_login_success", user_id=user_id, session_id=grant.session_id)
    if grant.ended:
        log_event("session_ended", user_id=user_id, session_id=grant.session_id, sessions="others", number=grant.ended)


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
    """Log in: a new session, and a fresh access token.

    A session whose token comes in a header or a cookie of this request ends.
    """
    by_cookie = _into_cookies(args)
    user = verify_login(**credentials, client=client_of_request())
    replaced = presented_sessions()
    grant = start_login(user, client_of_request())
    for session_id in replaced:
        end_session(session_id)
    db.session.commit()
    prune_some()
    _log_login(user.id, grant)
    for session_id, user_id in replaced.items():
        log_event("session_ended", user_id=user_id, session_id=session_id, by=user.id)
    if has_cookies() and not by_cookie:
        expire_cookies()  # their session has ended
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
    joined = join_session(user, caller) if not is_anonymous() and caller.id == user.id else None
    lasts = current_app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    grant = joined or start_session(user, client_of_request(), lasts=lasts, renewable=False)
    db.session.commit()
    prune_some()
    if by_cookie and not joined:
        expire_cookies("refresh")  # it belongs to another session
    _log_login(user.id, grant)
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
    grant = exchange_refresh_token(caller, client_of_request())
    if grant is None:
        db.session.commit()  # the end of the session
        log_event("authn_token_reuse", level=WARNING)
        clear_cookies()
        raise ApiError(Code.token_reused)
    prune_some()
    if grant.is_resent:  # two tabs, a lost answer, or somebody who has copied the token
        log_event("session_renewed", level=WARNING if grant.is_elsewhere else INFO, how="resent")
    else:
        log_event("session_renewed", level=DEBUG, how="rotated")
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
