"""Verify the text, the signature and the claims of a token.

The database check comes later.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from flask import current_app
from jwt import ExpiredSignatureError, InvalidTokenError, PyJWK, PyJWT, PyJWTError

from app.tokens import keys
from app.tokens.claims import check_claims, check_header, read_token
from app.tokens.key_set import Key
from app.web.errors import ApiError, Code

MAX_VERIFIED = 2048  # verified tokens that a process caches: about 4 MB

_pyjwt = PyJWT()


class VerifiedToken(NamedTuple):
    """The content of a token with a valid signature."""

    user_id: int
    session_id: UUID
    jti: UUID
    is_refresh: bool
    is_fresh: bool
    is_admin: bool
    expires: int  # seconds since 1970
    expires_at: datetime
    csrf: str | None
    claims: Mapping[str, Any]

    @property
    def event_members(self) -> dict[str, Any]:
        """Whose token it is, for the security event of its refusal."""
        return {"user_id": self.user_id, "session_id": self.session_id}


def verify(text: str) -> VerifiedToken:
    """Verify a token, or return the cached result.

    The cache holds the results of one key set, by text.  It saves most of a request's cost.  It is safe
    because the expiry is checked here each time, and the caller of this function asks the database
    about the user, the session and the token.

    Raises:
        ApiError: 401 `invalid_token`, or `token_expired`.
    """
    known: dict[str, VerifiedToken] = keys.ring().current().verified
    token = known.get(text)
    if token is None:
        token = _verify(text)
        _keep(known, text, token)
    elif token.expires <= time.time() - current_app.config["JWT_LEEWAY"]:
        raise ApiError(Code.token_expired, event=token.event_members)
    return token


def remember(text: str, claims: Mapping[str, Any], key: Key) -> None:
    """Cache a token that this process has just signed."""
    now = keys.ring().current()
    if now.keys.get(key.kid) is key:  # the keys may have changed since
        _keep(now.verified, text, read_claims(claims))


def _keep(known: dict[str, VerifiedToken], text: str, token: VerifiedToken) -> None:
    if len(known) >= MAX_VERIFIED:
        known.clear()
    known[text] = token


def _verify(text: str) -> VerifiedToken:
    config = current_app.config
    try:
        header, claims = read_token(text)
        _pyjwt.decode(
            text,
            key_for(header, claims),
            algorithms=config["JWT_DECODE_ALGORITHMS"],
            issuer=config["JWT_ISSUER"],
            audience=config["JWT_DECODE_AUDIENCE"],
            leeway=config["JWT_LEEWAY"],
        )
    except ExpiredSignatureError:  # after the signature has been verified
        raise ApiError(Code.token_expired, event=read_claims(claims).event_members) from None
    except PyJWTError:
        raise ApiError(Code.invalid_token) from None
    return read_claims(claims)


def key_for(header: Mapping[str, Any], claims: Mapping[str, Any]) -> PyJWK:
    """The verifying key that the header names.

    A key has exactly one algorithm.  Checks the header and the claims too, because Flask-JWT-Extended
    fills in missing claims afterwards.

    Raises:
        InvalidTokenError: if the key is unknown, or the header or a claim is not of our form.
    """
    check_header(header)
    key = keys.verifying_key(header.get("kid"))
    if key is None:
        raise InvalidTokenError("unknown key")
    check_claims(claims)
    return key.verifying


def read_claims(claims: Mapping[str, Any]) -> VerifiedToken:
    """Convert verified claims."""
    return VerifiedToken(
        user_id=int(claims["sub"]),
        session_id=UUID(claims["sid"]),
        jti=UUID(claims["jti"]),
        is_refresh=claims["type"] == "refresh",
        is_fresh=claims["fresh"],
        is_admin=claims["is_admin"],
        expires=claims["exp"],
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        csrf=claims.get("csrf"),
        claims=claims,
    )
