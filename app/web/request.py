"""What every request meets first and every answer last: ids, size, paths, headers."""

import random
import re
import uuid
from io import BytesIO
from typing import Any, NamedTuple

from flask import Flask, Request, Response, current_app, g, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import NotFound
from werkzeug.routing import IntegerConverter

from app.data.types import MAX_ID
from app.web.errors import ApiError, Code
from app.web.strict_json import NotStrictError, strict_json

CSRF_HEADER = "X-CSRF-TOKEN"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")  # RFC 9110 section 9.2.1: they change nothing
# The exceptions of a server whose client sends a body that is not framed as HTTP asks.  gunicorn.conf.py adds its own.
framing_errors: tuple[type[Exception], ...] = (OSError,)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

# What the OWASP REST Security Cheat Sheet asks of every answer; a page of ours relaxes its own policy.
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Client(NamedTuple):
    """The program that sent a request, and its address."""

    user_agent: str | None
    ip_address: str | None


def client_of_request() -> Client:
    return Client(request.user_agent.string or None, request.remote_addr)


class IdConverter(IntegerConverter):
    """`<int:…>` for ids: one spelling each, 1 to 2**63 - 1.  Whatever cannot be an id is a path that does not exist."""

    regex = r"[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        number = int(value)
        if number > MAX_ID:
            raise NotFound  # ValidationError would become a 405 where another method shares the path
        return number


def init_app(app: Flask) -> None:
    """Register the hooks.  Before anything that adds routes: paths are matched by the rules set here."""
    app.url_map.converters["int"] = IdConverter
    app.url_map.merge_slashes = False  # `//` is another path, not a redirect in HTML
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # the attributes are the default provider's
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.before_request(_name_request)
    app.before_request(_receive_body)
    app.after_request(_add_headers)


def _name_request() -> None:
    sent = request.headers.get("X-Request-ID", "")
    g.request_id = sent if REQUEST_ID.fullmatch(sent) else _new_id()


def _new_id() -> str:
    # It names a request and guards nothing: `uuid4` would ask the system, and lose its turn while it waits.
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def _receive_body() -> None:
    """Read the whole body, or refuse it: nothing behind this can be cut short, too large or late.

    Straight from the server: Werkzeug's stream stops at the limit without a word where no
    length was declared (a chunked body), and takes a client that is slow for one that is gone.
    """
    this = _request_itself()
    environ = this.environ
    if this.routing_exception is not None:
        return  # the path and the method are judged before the body
    declared = this.content_length
    if declared is None and not environ.get("wsgi.input_terminated"):
        return  # no body
    limit: int = current_app.config["MAX_CONTENT_LENGTH"]
    if declared is not None and declared > limit:
        raise ApiError(Code.payload_too_large)
    try:
        body = environ["wsgi.input"].read(limit + 1 if declared is None else declared)
    except (BlockingIOError, TimeoutError):
        raise ApiError(Code.request_timeout) from None
    except framing_errors:
        raise ApiError(Code.bad_request, "The body is not framed as HTTP asks.") from None
    if len(body) > limit:
        raise ApiError(Code.payload_too_large)
    if declared is not None and len(body) < declared:
        raise ApiError(Code.bad_request, "The body breaks off.")
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    g.body = body


def _request_itself() -> Request:
    """For whoever asks it for several things: the proxy looks for it each time."""
    return request._get_current_object()  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001 -- Werkzeug's way


def read_body() -> bytes:
    """The whole body of this request; empty, where none came."""
    body: bytes = g.get("body", b"")
    return body


def read_json() -> Any:
    """The body of this request, read once.

    Raises:
        ApiError: 415 where it is said to be something else than plain JSON, 400 where it cannot be read.
    """
    if "json" not in g:
        g.json = _parse_json()
    return g.json


def _parse_json() -> Any:
    body, this = read_body(), _request_itself()
    if body or this.content_type:
        charset = this.mimetype_params.get("charset", "utf-8")
        if this.mimetype != "application/json" or charset.lower() not in ("utf-8", "utf8"):
            raise ApiError(Code.unsupported_media_type)
        if this.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            # Never inflated: a thousand times the limit may be in it.  RFC 9110 sections 12.5.3 and 15.5.16.
            raise ApiError(
                Code.unsupported_media_type, "The body must not be encoded.", headers={"Accept-Encoding": "identity"}
            )
    try:
        return strict_json(body)
    except NotStrictError as error:
        raise ApiError(Code.bad_request, f"The body cannot be read. {error}") from None


def query() -> MultiDict[str, str]:
    """The query parameters of this request, without a token that stood among them."""
    parameters: MultiDict[str, str] = g.get("query", request.args)
    return parameters


def _add_headers(response: Response) -> Response:
    headers = response.headers
    there = {name.lower() for name, _value in headers}
    headers.extend([(name, value) for name, value in SECURITY_HEADERS.items() if name.lower() not in there])
    headers["X-Request-ID"] = g.request_id
    return response
