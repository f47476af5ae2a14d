"""What our tokens mean: how one is made, what makes one good, and what is answered when it is not.

PyJWT signs and verifies them.  Flask-JWT-Extended is told the same, so that a
view may use its functions and decorators; every one of its answers is ours.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol, cast
from uuid import UUID, uuid4

from flask import Flask, Response, current_app, g
from jwt import PyJWK, PyJWTError
from sqlalchemy import bindparam, exists, select
from werkzeug.local import LocalProxy

from app.auth.models import RevokedToken, Session
from app.data.types import utcnow
from app.extensions import jwt, read_rows
from app.tokens import keys, locations
from app.tokens.claims import write_token
from app.tokens.key_set import KINDS, Key
from app.tokens.locations import check_csrf, csrf_value, find_token, set_cookies
from app.tokens.verification import VerifiedToken, key_for, read_claims, remember, verify
from app.users.models import User
from app.web.errors import ApiError, Code, error_response


class Caller(NamedTuple):
    """Who sent the request, as the database knows them now, and the token that says so."""

    id: int
    username: str
    is_admin: bool
    is_active: bool
    created_at: datetime
    updated_at: datetime
    session_id: UUID
    session_expires_at: datetime
    jti: UUID
    token_expires_at: datetime
    is_fresh: bool
    may_administer: bool  # the claim and the row agree: a demotion acts at once, a promotion with the next token


class Identity(Protocol):
    """Whom a token can be made for: a `User` or a `Caller`."""

    @property
    def id(self) -> Any: ...
    @property
    def is_admin(self) -> Any: ...


class Grant(NamedTuple):
    """What tokens are issued on: a session, and the refresh token that renews it, if any does."""

    session_id: UUID
    refresh_jti: UUID | None
    issued_at: datetime
    expires_at: datetime
    is_resent: bool = False  # to somebody who came again within the grace


caller = cast("Caller", LocalProxy(lambda: g.caller))


def is_anonymous() -> bool:
    """Whether no token came, where a route takes that."""
    return g.caller is None


# The one query of every authenticated request.  No row: the user is gone or
# inactive, or the session is over, or the token was logged out.
_users, _sessions, _revoked = (
    model.__table__.c for model in (User, Session, RevokedToken)
)  # columns make rows, not objects
_LIVE_CALLER = select(
    _users.id,
    _users.username,
    _users.is_admin,
    _users.is_active,
    _users.created_at,
    _users.updated_at,
    _sessions.id.label("session_id"),
    _sessions.expires_at.label("session_expires_at"),
).where(
    _users.id == bindparam("user_id"),
    _users.is_active,
    _sessions.id == bindparam("session_id"),
    _sessions.user_id == _users.id,
    _sessions.expires_at > bindparam("now"),
    ~exists().where(_revoked.jti == bindparam("jti")),
)


def authenticate(*, refresh: bool = False, optional: bool = False) -> None:
    """Find out who sent the request, from its token alone, and leave the answer in `caller`.

    Args:
        refresh: take a refresh token, and no access token.
        optional: no token at all is fine; a bad one is not.

    Raises:
        ApiError: 401 where no token came, or it is not good; 403 where a cookie came without its CSRF value.
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
    if not _find_caller(token):
        raise ApiError(Code.token_revoked)
    g._jwt_extended_jwt = dict(token.claims)  # noqa: SLF001 -- where the library's `get_jwt()` looks
    check_csrf(token.csrf)


def issue_tokens(user: Identity, grant: Grant, *, fresh: bool, by_cookie: bool = False) -> dict[str, Any]:
    """The tokens of an answer: the access token with its seconds, and the refresh token where the session has one.

    By cookie they go into the answer's cookies, and what is left is what a script may know.
    """
    now = int(utcnow().timestamp())
    end = int(grant.expires_at.timestamp())
    expires = min(now + current_app.config["JWT_ACCESS_TOKEN_EXPIRES"], end)
    shared = {
        "sub": _subject(user),
        **_claims(user),
        "sid": str(grant.session_id),
        "iss": current_app.config["JWT_ISSUER"],
        "aud": current_app.config["JWT_AUDIENCE"],
    }
    key = keys.signing_key()
    issued = {"access": shared | {"type": "access", "fresh": fresh} | _life(uuid4(), now, expires)}
    if grant.refresh_jti is not None:
        # Nothing in it depends on the moment: whoever is resent the successor gets the same token.
        began = int(grant.issued_at.timestamp())
        issued["refresh"] = shared | {"type": "refresh", "fresh": False} | _life(grant.refresh_jti, began, end)
    body = {"token_type": "Bearer", "expires_in": expires - now}
    if by_cookie:
        for claims in issued.values():
            claims["csrf"] = csrf_value(UUID(claims["jti"]))
        set_cookies(
            {kind: (_sign(claims, key), claims["csrf"], claims["exp"] - now) for kind, claims in issued.items()}
        )
        return body
    return {f"{kind}_token": _sign(claims, key) for kind, claims in issued.items()} | body


def _life(jti: UUID, issued: int, expires: int) -> dict[str, Any]:
    return {"jti": str(jti), "iat": issued, "nbf": issued, "exp": expires}


def _sign(claims: dict[str, Any], key: Key) -> str:
    token = write_token(claims, key.kid, key.signing)
    remember(token, claims, key)
    return token


def init_app(app: Flask) -> None:
    """Tell the library what we sign with and what we take."""
    keys.init_app(app)
    locations.init_app(app)
    app.config.update(
        JWT_DECODE_ALGORITHMS=list(KINDS),  # of these a token may have the one of its key
        JWT_TOKEN_LOCATION=["headers"],  # for the library; `authenticate` finds it anywhere, and judges its CSRF value
        JWT_COOKIE_CSRF_PROTECT=False,
        JWT_ENCODE_ISSUER=app.config["JWT_ISSUER"],
        JWT_DECODE_ISSUER=app.config["JWT_ISSUER"],
        JWT_ENCODE_AUDIENCE=app.config["JWT_AUDIENCE"],
        JWT_DECODE_AUDIENCE=app.config["JWT_AUDIENCE"],
        JWT_DECODE_LEEWAY=app.config["JWT_LEEWAY"],
    )
    jwt.init_app(app)
    app.register_error_handler(PyJWTError, lambda _error: error_response(ApiError(Code.invalid_token)))


@jwt.user_identity_loader
def _subject(user: Identity) -> str:
    return str(user.id)  # RFC 7519 section 4.1.2: a string


@jwt.additional_claims_loader
def _claims(user: Identity) -> dict[str, Any]:
    return {"is_admin": user.is_admin}


@jwt.additional_headers_loader
def _headers(_user: Identity) -> dict[str, Any]:
    key = keys.signing_key()
    return {"kid": key.kid, "alg": key.algorithm}


@jwt.encode_key_loader
def _signing_key(_user: str) -> PyJWK:
    return keys.signing_key().signing


@jwt.decode_key_loader
def _key(header: Mapping[str, Any], claims: Mapping[str, Any]) -> PyJWK:
    return key_for(header, claims)


@jwt.token_in_blocklist_loader
def _is_dead(_header: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    return not _find_caller(read_claims(claims))


def _find_caller(token: VerifiedToken) -> bool:
    """Leave in `caller` whose token this is; false, where it is dead."""
    values = {"user_id": token.user_id, "session_id": token.session_id, "jti": token.jti, "now": utcnow()}
    rows = read_rows(_LIVE_CALLER, values)
    if not rows:
        return False
    (row,) = rows
    g.caller = Caller(
        *row,
        jti=token.jti,
        token_expires_at=token.expires_at,
        is_fresh=token.is_fresh,
        may_administer=row.is_admin and token.is_admin,
    )
    return True


# `authenticate` comes before these; they speak for a view that uses the library's own decorator.
@jwt.unauthorized_loader
def _no_token(_reason: str) -> Response:
    return error_response(ApiError(Code.authorization_required))


@jwt.needs_fresh_token_loader
def _stale_token(_header: Mapping[str, Any], _claims: Mapping[str, Any]) -> Response:
    return error_response(ApiError(Code.fresh_token_required))


@jwt.invalid_token_loader
def _bad_token(_reason: str) -> Response:
    return error_response(ApiError(Code.invalid_token))


@jwt.expired_token_loader
def _expired_token(_header: Mapping[str, Any], _claims: Mapping[str, Any]) -> Response:
    return error_response(ApiError(Code.token_expired))


@jwt.revoked_token_loader
def _revoked_token(_header: Mapping[str, Any], _claims: Mapping[str, Any]) -> Response:
    return error_response(ApiError(Code.token_revoked))
