"""What our tokens mean: how one is made, what makes one good, and what is answered when it is not.

Flask-JWT-Extended makes and verifies them; the claims that it would accept
missing or strange are checked here, and every one of its answers is ours.
"""

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, cast
from uuid import UUID

from flask import Flask, Response, current_app, g, request
from flask_jwt_extended import create_access_token, create_refresh_token, verify_jwt_in_request
from jwt import InvalidTokenError, PyJWTError
from sqlalchemy import and_, bindparam, exists, select
from werkzeug.local import LocalProxy

from app.auth.claims import check_claims
from app.auth.models import RevokedToken, Session
from app.database import utcnow
from app.errors import ApiError, Code, error_response
from app.extensions import db, jwt
from app.strict_json import strict_json
from app.users.models import User

KEY_ID = "secret"  # the `kid` of JWT_SECRET_KEY
ALGORITHM = "HS256"
MAX_TOKEN_LENGTH = 4096
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515 section 7.1


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


caller = cast("Caller", LocalProxy(lambda: g.caller))


def is_anonymous() -> bool:
    """Whether no token came, where a route takes that."""
    return g.caller is None


# The one query of every authenticated request.  No row: the user is gone or
# inactive, or the session is over, or the token was logged out.
_LIVE_CALLER = (
    select(
        User.id,
        User.username,
        User.is_admin,
        User.is_active,
        User.created_at,
        User.updated_at,
        Session.id.label("session_id"),
        Session.expires_at.label("session_expires_at"),
    )
    .join(
        Session,
        and_(
            Session.id == bindparam("session_id"),
            Session.user_id == User.id,
            Session.expires_at > bindparam("now"),
        ),
    )
    .where(
        User.id == bindparam("user_id"),
        User.is_active,
        ~exists().where(RevokedToken.jti == bindparam("jti")),
    )
)


def authenticate(*, refresh: bool = False, optional: bool = False) -> None:
    """Find out who sent the request, from its token alone, and leave the answer in `caller`.

    Args:
        refresh: take a refresh token, and no access token.
        optional: no token at all is fine; a bad one is not.

    Raises:
        ApiError: 401 where no token came or it is malformed.
        JWTExtendedException: where the library refuses it; the loaders below make the answer.
        PyJWTError: the same.
    """
    g.caller = None
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":  # RFC 9110 section 11.1: in any case
        if optional:
            return
        raise ApiError(Code.authorization_required)
    token = token.strip(" ")
    _check_text(token)
    request.environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"  # in the one spelling that the library reads
    verify_jwt_in_request(refresh=refresh)


def _check_text(token: str) -> None:
    """Refuse what is no token of ours before anything decodes it, in the one spelling that each has.

    PyJWT would also read UTF-16, the last of two members of one name, and
    several spellings of one segment (RFC 8725 sections 2.4 and 3.7).

    Raises:
        ApiError: 401 `invalid_token`.
    """
    if len(token) > MAX_TOKEN_LENGTH or not _TOKEN.fullmatch(token):
        raise ApiError(Code.invalid_token)
    try:
        header, claims, _signature = map(_segment, token.split("."))
        sound = isinstance(strict_json(header), dict) and isinstance(strict_json(claims), dict)
    except ValueError:
        sound = False
    if not sound:
        raise ApiError(Code.invalid_token)


def _segment(text: str) -> bytes:
    content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != text:  # unused bits of the last character
        raise ValueError("another spelling")
    return content


def issue_tokens(user: Identity, grant: Grant, *, fresh: bool) -> dict[str, Any]:
    """The tokens of an answer: the access token with its seconds, and the refresh token where the session has one."""
    now = int(utcnow().timestamp())
    end = int(grant.expires_at.timestamp())
    expires = min(now + current_app.config["JWT_ACCESS_TOKEN_EXPIRES"], end)
    session = {"sid": str(grant.session_id)}
    times = {"iat": now, "nbf": now, "exp": expires}
    tokens = {
        "access_token": create_access_token(user, fresh=fresh, additional_claims=session | times),
        "token_type": "Bearer",
        "expires_in": expires - now,
    }
    if grant.refresh_jti is not None:
        # Nothing in it depends on the moment: whoever is resent the successor gets the same token.
        issued = int(grant.issued_at.timestamp())
        claims = {"jti": str(grant.refresh_jti), "iat": issued, "nbf": issued, "exp": end}
        tokens["refresh_token"] = create_refresh_token(user, additional_claims=session | claims)
    return tokens


def init_app(app: Flask) -> None:
    """Tell the library what we sign with and what we take."""
    app.config.update(
        JWT_ALGORITHM=ALGORITHM,
        JWT_DECODE_ALGORITHMS=[ALGORITHM],
        JWT_TOKEN_LOCATION=["headers"],
        JWT_COOKIE_CSRF_PROTECT=False,  # a header is not sent by another site: there is nothing to protect
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
    return {"kid": KEY_ID}


@jwt.decode_key_loader
def _key(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """The key to verify with.  The claims are judged here too: behind this the library fills in those that miss."""
    if header.get("kid") != KEY_ID:
        raise InvalidTokenError("unknown key")
    check_claims(claims)
    return cast("str", current_app.config["JWT_SECRET_KEY"])


@jwt.token_in_blocklist_loader
def _is_dead(_header: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    jti = UUID(claims["jti"])
    row = db.session.execute(
        _LIVE_CALLER,
        {
            "user_id": int(claims["sub"]),
            "session_id": UUID(claims["sid"]),
            "jti": jti,
            "now": utcnow(),
        },
    ).one_or_none()
    if row is None:
        return True
    g.caller = Caller(
        *row,
        jti=jti,
        token_expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        is_fresh=claims["fresh"],
        may_administer=row.is_admin and claims["is_admin"],
    )
    return False


# `authenticate` comes before these two; they speak for a view that uses the library's own decorator.
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
