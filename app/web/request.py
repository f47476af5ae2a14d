"""Request ids, body limits, ids in paths, JSON bodies and security headers."""

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
# Exceptions of the server for a badly framed body.  gunicorn.conf.py adds gunicorn's.
framing_errors: tuple[type[Exception], ...] = (OSError,)

MAX_HEADERS = 32_768  # bytes of all header fields.  gunicorn allows fifty fields of 8 KB, and joins equal names.

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

# From the OWASP REST Security Cheat Sheet.  An HTML page sets a policy of its own.
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
    """`<int:…>` matches ids from 1 to 2**63 - 1.

    Leading zeros and other text are a 404.
    """

    regex = r"[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        number = int(value)
        if number > MAX_ID:
            raise NotFound  # ValidationError would become a 405 where another method shares the path
        return number


def init_app(app: Flask) -> None:
    """Register the hooks and the path rules.

    Runs before any route is added.
    """
    app.url_map.converters["int"] = IdConverter
    app.url_map.merge_slashes = False  # `//` is a 404, not a redirect in HTML
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # the attributes are the default provider's
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.before_request(_name_request)
    app.before_request(_limit_headers)
    app.before_request(_receive_body)
    app.after_request(_add_headers)


def _name_request() -> None:
    sent: str = request.environ.get("HTTP_X_REQUEST_ID", "")
    g.request_id = sent if REQUEST_ID.fullmatch(sent) else _new_id()


def _new_id() -> str:
    # The id is no secret, so `random` will do: `uuid4` makes a system call and releases the interpreter lock.
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def _limit_headers() -> None:
    """Refuse header fields of more than `MAX_HEADERS` bytes in all.

    A field counts as its name, its value and four bytes, `: ` and the line end.  Parsing a header may
    cost more than its length suggests.
    """
    environ = request.environ
    # Nearly all requests are so small that a rough sum will do, which takes half the time.
    if sum(map(len, environ)) + sum([len(value) for value in environ.values() if type(value) is str]) <= MAX_HEADERS:
        return
    # A name in the environment is five characters longer than the field's: `HTTP_COOKIE`.
    fields = [len(name) + len(value) - 1 for name, value in environ.items() if name.startswith("HTTP_")]
    if sum(fields) > MAX_HEADERS:
        raise ApiError(Code.headers_too_large)


def _receive_body() -> None:
    """Read the body, or refuse it as too large, late or incomplete.

    Reads the server's stream, because Werkzeug's own silently cuts a chunked body at the limit
    and treats a slow client as a disconnected one.
    """
    this = _request_itself()
    environ = this.environ
    if this.routing_exception is not None:
        return  # a 404 or a 405 comes before any fault of the body
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
        raise ApiError(Code.bad_request, "The body is not framed as HTTP requires.") from None
    if len(body) > limit:
        raise ApiError(Code.payload_too_large)
    if declared is not None and len(body) < declared:
        raise ApiError(Code.bad_request, "The body is incomplete.")
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    g.body = body


def _request_itself() -> Request:
    """The request itself, because the proxy looks it up at each access."""
    return request._get_current_object()  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001 -- Werkzeug's way


def read_body() -> bytes:
    """The whole body of this request, empty if there is none."""
    body: bytes = g.get("body", b"")
    return body


def read_json() -> Any:
    """The JSON body of this request, parsed once.

    Raises:
        ApiError: 415 if the content type is not plain JSON, 400 if the body is not strict JSON.
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
            # Never decompress: a small body may expand a thousandfold.  RFC 9110 sections 12.5.3 and 15.5.16.
            raise ApiError(
                Code.unsupported_media_type, "The body must not be compressed.", headers={"Accept-Encoding": "identity"}
            )
    try:
        return strict_json(body)
    except NotStrictError as error:
        raise ApiError(Code.bad_request, f"The body is not strict JSON. {error}") from None


def query() -> MultiDict[str, str]:
    """The query parameters of this request, without the token."""
    parameters: MultiDict[str, str] = g.get("query", request.args)
    return parameters


def _add_headers(response: Response) -> Response:
    headers = response.headers
    there = {name.lower() for name, _value in headers}
    headers.extend([(name, value) for name, value in SECURITY_HEADERS.items() if name.lower() not in there])
    headers["X-Request-ID"] = g.request_id
    return response
