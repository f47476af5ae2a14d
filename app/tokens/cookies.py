"""Tokens in cookies: names, CSRF values, setting and deleting."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from uuid import UUID

from flask import Flask, Response, after_this_request, current_app, g, request

from app.web.errors import ApiError, Code
from app.web.request import CSRF_HEADER, SAFE_METHODS

FORMER_PATH = "/api/v1/auth"  # the path of the refresh cookie in release 0.1.0


class Cookie(NamedTuple):
    """The cookies of one token: the token and its CSRF value.

    The token is HttpOnly.  Scripts can read the CSRF value.
    """

    name: str
    csrf_name: str


class Cookies(NamedTuple):
    """The cookies of an installation: their names, and whether it accepts them."""

    access: Cookie
    refresh: Cookie
    former_refresh: str  # of release 0.1.0, or an empty string
    all: frozenset[str]
    are_accepted: bool


def init_app(app: Flask, *, are_accepted: bool) -> None:
    """Set the names of the cookies.

    With `__Host-` a sibling domain cannot set the cookie (RFC 6265bis section 4.1.3).
    """
    secure, prefix = app.config["SECURE_COOKIES"], app.config["COOKIE_PREFIX"]
    access, refresh = (
        Cookie(f"{'__Host-' if secure else ''}{prefix}{kind}_token_cookie", f"{prefix}csrf_{kind}_token")
        for kind in ("access", "refresh")
    )
    # Without a prefix only: another instance on this host may have set it otherwise.
    former = "" if prefix else f"{'__Secure-' if secure else ''}refresh_token_cookie"
    names = frozenset({*access, *refresh, former} - {""})
    app.extensions["cookies"] = Cookies(access, refresh, former, names, are_accepted)


def cookies_of(app: Flask) -> Cookies:
    return cast("Cookies", app.extensions["cookies"])


def _names() -> Cookies:
    return cookies_of(current_app)


def _attributes() -> dict[str, Any]:
    """The attributes that all cookies have."""
    return {"secure": current_app.config["SECURE_COOKIES"], "samesite": "Lax"}


def cookie_tokens() -> dict[str, str]:
    """The tokens in cookies, by kind.

    The refresh cookie of release 0.1.0 counts where there is no other.

    Raises:
        ApiError: 400 if one of our cookies comes twice.  One of them may be somebody else's.
    """
    sent = request.environ.get("HTTP_COOKIE")
    if not sent:
        return {}
    ours = _names()
    # Servers join several `Cookie` fields with commas.
    names = [pair.partition("=")[0].strip() for pair in sent.replace(",", ";").split(";")]
    known = [name for name in names if name in ours.all]
    if len(known) > len(set(known)):
        _expire_former_cookie()  # in development it has the name of the new one
        raise ApiError(Code.bad_request, "A cookie comes twice.")
    found = {
        "access": request.cookies.get(ours.access.name),
        "refresh": request.cookies.get(ours.refresh.name) or request.cookies.get(ours.former_refresh),
    }
    return {kind: token for kind, token in found.items() if token}


def has_cookies() -> bool:
    """Whether this request has a token cookie, valid or not."""
    ours = _names()
    names = (ours.access.name, ours.refresh.name, ours.former_refresh)
    return any(name in request.cookies for name in names)


def came_by_cookie() -> bool:
    """Whether the caller's token came in a cookie."""
    return g.get("caller") is not None and bool(g.by_cookie)


def csrf_value(jti: UUID) -> str:
    """The CSRF value of a token.

    It is derived from the token id, which it does not reveal.
    """
    return hashlib.sha256(b"csrf" + jti.bytes).hexdigest()


def check_csrf(claim: Any) -> None:
    """Refuse cross-site requests that carry a cookie.

    This is the double submit of the OWASP CSRF Cheat Sheet.

    Raises:
        ApiError: 403 `csrf_failed`.
    """
    if not g.by_cookie or request.method in SAFE_METHODS:
        return
    sent = request.headers.get(CSRF_HEADER, "").encode()
    cross_site = request.headers.get("Sec-Fetch-Site") == "cross-site"
    if cross_site or not isinstance(claim, str) or not hmac.compare_digest(sent, claim.encode()):
        raise ApiError(Code.csrf_failed)


def require_cookies() -> None:
    """Refuse `use_cookies` if this installation does not accept cookies.

    Raises:
        ApiError: 403 `forbidden`.
    """
    if not _names().are_accepted:
        off = {"reason": "switched_off", "setting": "JWT_TOKEN_LOCATION"}
        raise ApiError(Code.forbidden, "The setting JWT_TOKEN_LOCATION does not allow cookies.", event=off)


def set_cookies(tokens: Mapping[str, tuple[str, str, int]]) -> None:
    """Set the token cookies on the response to this request.

    Args:
        tokens: by kind (`"access"`, `"refresh"`): the token, its CSRF value, its lifetime in seconds.
    """
    names, attributes = _names(), _attributes()
    if "refresh" in tokens:
        _expire_former_cookie()

    @after_this_request
    def add(response: Response) -> Response:
        for kind, (token, csrf, seconds) in tokens.items():
            cookie: Cookie = getattr(names, kind)
            response.set_cookie(cookie.name, token, max_age=seconds, httponly=True, **attributes)
            response.set_cookie(cookie.csrf_name, csrf, max_age=seconds, **attributes)
        return response


def clear_cookies(*kinds: str) -> None:
    """Delete the token cookies if the caller used one.

    The arguments are those of `expire_cookies`.
    """
    if came_by_cookie():
        expire_cookies(*kinds)


def expire_cookies(*kinds: str) -> None:
    """Delete the token cookies.

    Args:
        kinds: `"access"` or `"refresh"`; both if none is given.
    """
    names, attributes = _names(), _attributes()
    if not kinds or "refresh" in kinds:
        _expire_former_cookie()

    @after_this_request
    def remove(response: Response) -> Response:
        for kind in kinds or ("access", "refresh"):
            cookie: Cookie = getattr(names, kind)
            response.delete_cookie(cookie.name, httponly=True, **attributes)
            response.delete_cookie(cookie.csrf_name, **attributes)
        return response


def _expire_former_cookie() -> None:
    """Delete the refresh cookie of release 0.1.0, if the request has it.

    Its path differs, so a new cookie does not replace it, even if both have one name.
    """
    name, attributes = _names().former_refresh, _attributes()
    if name not in request.cookies:
        return

    @after_this_request
    def remove(response: Response) -> Response:
        response.delete_cookie(name, path=FORMER_PATH, httponly=True, **attributes)
        return response
