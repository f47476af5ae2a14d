"""Where tokens travel: header, cookies, body and query."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from uuid import UUID

from flask import Flask, Response, after_this_request, current_app, g, request
from werkzeug.datastructures import MultiDict

from app.web.errors import ApiError, Code
from app.web.request import CSRF_HEADER, SAFE_METHODS, read_body, read_json

QUERY_NAME = "jwt"
FORMER_PATH = "/api/v1/auth"  # the path of the refresh cookie in release 0.1.0


class Cookie(NamedTuple):
    """The cookies of one token: the token and its CSRF value.

    The token is HttpOnly.  Scripts can read the CSRF value.
    """

    name: str
    csrf_name: str


class _Locations(NamedTuple):
    accepted: tuple[str, ...]
    access: Cookie
    refresh: Cookie
    former_refresh: str  # the name of the refresh cookie in release 0.1.0, or an empty string
    names: frozenset[str]  # of all cookies
    secure: bool


def init_app(app: Flask) -> None:
    """Set the accepted locations and the cookie names.

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
    accepted = tuple(app.config["JWT_TOKEN_LOCATION"])
    app.extensions["locations"] = _Locations(accepted, access, refresh, former, names, secure)


def security_schemes(app: Flask) -> dict[str, dict[str, str]]:
    """The ways to send a token, for the API document.

    Each is a Security Scheme Object of OpenAPI 3.1.
    """
    locations: _Locations = app.extensions["locations"]
    schemes: dict[str, dict[str, str]] = {}
    for kind, cookie in (("access", locations.access), ("refresh", locations.refresh)):
        if "headers" in locations.accepted:
            about = f"The {kind} token: `Authorization: Bearer <token>`."
            schemes[f"{kind}Token"] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": about}
        if "query_string" in locations.accepted:
            schemes[f"{kind}Query"] = {"type": "apiKey", "in": "query", "name": QUERY_NAME}
        if "cookies" in locations.accepted:
            about = f"The {kind} token. A login with `?use_cookies=true` sets it. Scripts cannot read it."
            schemes[f"{kind}Cookie"] = {"type": "apiKey", "in": "cookie", "name": cookie.name, "description": about}
            about = f"The value of the cookie `{cookie.csrf_name}`, which scripts can read."
            schemes[f"{kind}Csrf"] = {"type": "apiKey", "in": "header", "name": CSRF_HEADER, "description": about}
    return schemes


def _locations() -> _Locations:
    return cast("_Locations", current_app.extensions["locations"])


def find_token(*, refresh: bool) -> str | None:
    """Find the unverified token of this request.

    A cookie counts only if nothing else carries a token.  Removes a token from the parsed body and
    query, even if another location wins.

    Raises:
        ApiError: 401 `invalid_token` if the value is not text or occurs twice; 400 if a cookie comes twice.
    """
    g.by_cookie = False
    accepted = _locations().accepted
    cookies = _cookie_tokens() if "cookies" in accepted else {}
    sent = (
        _from_header() if "headers" in accepted else None,
        _from_body("refresh_token" if refresh else "access_token") if refresh or "json" in accepted else None,
        _from_query() if "query_string" in accepted else None,
    )
    for token in sent:
        if token is not None:
            return token
    token = cookies.get("refresh" if refresh else "access")
    g.by_cookie = token is not None
    return token


def _cookie_tokens() -> dict[str, str]:
    """The tokens in cookies, by kind.

    The refresh cookie of release 0.1.0 counts where there is no other.

    Raises:
        ApiError: 400 if one of our cookies comes twice.  One of them may be somebody else's.
    """
    sent = request.environ.get("HTTP_COOKIE")
    if not sent:
        return {}
    locations = _locations()
    # Servers join several `Cookie` fields with commas.
    names = [pair.partition("=")[0].strip() for pair in sent.replace(",", ";").split(";")]
    ours = [name for name in names if name in locations.names]
    if len(ours) > len(set(ours)):
        _expire_former_cookie()  # in development it has the name of the new one
        raise ApiError(Code.bad_request, "A cookie comes twice.")
    found = {
        "access": request.cookies.get(locations.access.name),
        "refresh": request.cookies.get(locations.refresh.name) or request.cookies.get(locations.former_refresh),
    }
    return {kind: token for kind, token in found.items() if token}


def has_cookies() -> bool:
    """Whether this request has a token cookie, valid or not."""
    locations = _locations()
    names = (locations.access.name, locations.refresh.name, locations.former_refresh)
    return any(name in request.cookies for name in names)


def presented_tokens() -> list[str]:
    """The unverified tokens in the header and the cookies."""
    locations = _locations()
    sent = [_from_header()] if "headers" in locations.accepted else []
    if "cookies" in locations.accepted:
        sent += _cookie_tokens().values()
    return [token for token in sent if token]


def _from_header() -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None  # RFC 9110 section 11.1: case-insensitive


def _from_body(name: str) -> str | None:
    if not read_body():
        return None
    try:
        body = read_json()
    except ApiError:
        return None  # `arguments` reports the fault, after the guard
    if not isinstance(body, dict) or name not in body:
        return None
    token = body.pop(name)
    if not isinstance(token, str):
        raise ApiError(Code.invalid_token)
    return token


def _from_query() -> str | None:
    tokens = request.args.getlist(QUERY_NAME)
    g.query = MultiDict([(name, value) for name, value in request.args.items(multi=True) if name != QUERY_NAME])
    if len(tokens) > 1:
        raise ApiError(Code.invalid_token)
    return tokens[0] if tokens else None


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
    if "cookies" not in _locations().accepted:
        off = {"reason": "switched_off", "setting": "JWT_TOKEN_LOCATION"}
        raise ApiError(Code.forbidden, "The setting JWT_TOKEN_LOCATION does not allow cookies.", event=off)


def set_cookies(tokens: Mapping[str, tuple[str, str, int]]) -> None:
    """Set the token cookies on the response to this request.

    Args:
        tokens: by kind (`"access"`, `"refresh"`): the token, its CSRF value, its lifetime in seconds.
    """
    locations = _locations()
    if "refresh" in tokens:
        _expire_former_cookie()

    @after_this_request
    def add(response: Response) -> Response:
        for kind, (token, csrf, seconds) in tokens.items():
            cookie: Cookie = getattr(locations, kind)
            shared: dict[str, Any] = {"max_age": seconds, "secure": locations.secure, "samesite": "Lax"}
            response.set_cookie(cookie.name, token, httponly=True, **shared)
            response.set_cookie(cookie.csrf_name, csrf, **shared)
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
    locations = _locations()
    if not kinds or "refresh" in kinds:
        _expire_former_cookie()

    @after_this_request
    def remove(response: Response) -> Response:
        for kind in kinds or ("access", "refresh"):
            cookie: Cookie = getattr(locations, kind)
            shared: dict[str, Any] = {"secure": locations.secure, "samesite": "Lax"}
            response.delete_cookie(cookie.name, httponly=True, **shared)
            response.delete_cookie(cookie.csrf_name, **shared)
        return response


def _expire_former_cookie() -> None:
    """Delete the refresh cookie of release 0.1.0, if the request has it.

    Its path differs, so a new cookie does not replace it, even if both have one name.
    """
    locations = _locations()
    if locations.former_refresh not in request.cookies:
        return

    @after_this_request
    def remove(response: Response) -> Response:
        response.delete_cookie(
            locations.former_refresh, path=FORMER_PATH, secure=locations.secure, httponly=True, samesite="Lax"
        )
        return response
