"""Make the tokens of an answer."""

from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid4

import jwt
from flask import current_app

from app.data.types import utcnow
from app.tokens import keys
from app.tokens.cookies import csrf_value, set_cookies
from app.tokens.key_set import Key
from app.tokens.verification import remember


class Identity(Protocol):
    """Whom a token can be made for: a `User` or a `Caller`."""

    @property
    def id(self) -> Any: ...
    @property
    def is_admin(self) -> Any: ...


class Grant(NamedTuple):
    """The session of new tokens, and its refresh token if renewable."""

    session_id: UUID
    refresh_jti: UUID | None
    issued_at: datetime
    expires_at: datetime
    is_resent: bool = False  # the same refresh token again, within the grace period
    is_elsewhere: bool = False  # it is resent to another network than the one that exchanged it
    ended: int = 0  # how many other sessions of the user it has ended: SINGLE_SESSION, MAX_SESSIONS


def issue_tokens(user: Identity, grant: Grant, *, fresh: bool, by_cookie: bool = False) -> dict[str, Any]:
    """Make the access token and, for a renewable session, the refresh token.

    The refresh token is for the issuer alone, so that other services refuse it (RFC 7519 section 4.1.3).

    With `by_cookie` the tokens are set as cookies, and the body has only the type and the lifetime.
    """
    now = int(utcnow().timestamp())
    end = int(grant.expires_at.timestamp())
    expires = min(now + current_app.config["JWT_ACCESS_TOKEN_EXPIRES"], end)
    shared = {
        "sub": str(user.id),  # RFC 7519 section 4.1.2: a string
        "is_admin": user.is_admin,
        "sid": str(grant.session_id),
        "iss": current_app.config["JWT_ISSUER"],
    }
    audience = current_app.config["JWT_AUDIENCE"]
    key = keys.signing_key()
    issued = {"access": shared | {"aud": audience, "type": "access", "fresh": fresh} | _life(uuid4(), now, expires)}
    if grant.refresh_jti is not None:
        # Nothing in it depends on the moment: whoever is resent the successor gets the same token.
        began = int(grant.issued_at.timestamp())
        issued["refresh"] = shared | {"aud": shared["iss"], "type": "refresh", "fresh": False}
        issued["refresh"] |= _life(grant.refresh_jti, began, end)
    body = {"token_type": "Bearer", "expires_in": expires - now, "session_expires_in": end - now}
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
    token = jwt.encode(claims, key.signing, headers={"kid": key.kid})
    remember(token, claims, key)
    return token
