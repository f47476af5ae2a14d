"""Where tokens travel: header, cookies, body and query."""

from flask import Flask, current_app, g, request
from werkzeug.datastructures import MultiDict

from app.tokens import cookies
from app.web.errors import ApiError, Code
from app.web.request import CSRF_HEADER, read_body, read_json

QUERY_NAME = "jwt"


def init_app(app: Flask) -> None:
    """Keep the accepted locations, because Flask-JWT-Extended gets another setting of this name."""
    app.extensions["token_locations"] = app.config["JWT_TOKEN_LOCATION"]
    cookies.init_app(app, are_accepted="cookies" in app.config["JWT_TOKEN_LOCATION"])


def security_schemes(app: Flask) -> dict[str, dict[str, str]]:
    """The ways to send a token, for the API document.

    Each is a Security Scheme Object of OpenAPI 3.1.
    """
    accepted, names = app.extensions["token_locations"], cookies.cookies_of(app)
    schemes: dict[str, dict[str, str]] = {}
    for kind, cookie in (("access", names.access), ("refresh", names.refresh)):
        if "headers" in accepted:
            about = f"The {kind} token: `Authorization: Bearer <token>`."
            schemes[f"{kind}Token"] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": about}
        if "query_string" in accepted:
            schemes[f"{kind}Query"] = {"type": "apiKey", "in": "query", "name": QUERY_NAME}
        if "cookies" in accepted:
            about = f"The {kind} token. A login with `?use_cookies=true` sets it. Scripts cannot read it."
            schemes[f"{kind}Cookie"] = {"type": "apiKey", "in": "cookie", "name": cookie.name, "description": about}
            about = f"The value of the cookie `{cookie.csrf_name}`, which scripts can read."
            schemes[f"{kind}Csrf"] = {"type": "apiKey", "in": "header", "name": CSRF_HEADER, "description": about}
    return schemes


def find_token(*, refresh: bool) -> str | None:
    """Find the unverified token of this request.

    A cookie counts only if nothing else carries a token.  Removes a token from the parsed body and
    query, even if another location wins.

    Raises:
        ApiError: 401 `invalid_token` if the value is not text or occurs twice; 400 if a cookie comes twice.
    """
    g.by_cookie = False
    accepted = current_app.extensions["token_locations"]
    by_cookie = cookies.cookie_tokens() if "cookies" in accepted else {}
    sent = (
        _from_header() if "headers" in accepted else None,
        _from_body("refresh_token" if refresh else "access_token") if refresh or "json" in accepted else None,
        _from_query() if "query_string" in accepted else None,
    )
    for token in sent:
        if token is not None:
            return token
    token = by_cookie.get("refresh" if refresh else "access")
    g.by_cookie = token is not None
    return token


def presented_tokens() -> list[str]:
    """The unverified tokens in the header and the cookies."""
    accepted = current_app.extensions["token_locations"]
    sent = [_from_header()] if "headers" in accepted else []
    if "cookies" in accepted:
        sent += cookies.cookie_tokens().values()
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
