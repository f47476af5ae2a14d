"""The Blueprint of every feature: flask-smorest's, with strict JSON and strict queries."""

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote_to_bytes

import flask_smorest
from flask import Request, g, request
from marshmallow import RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser

from app.errors import ApiError, Code

MAX_DEPTH = 32
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # as JSON writes one; UTF-8 itself has none

VALIDATION_FAILED = {
    "description": "The request is not valid.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}

View = TypeVar("View", bound=Callable[..., Any])


def strict_json(body: bytes) -> Any:
    """The one meaning of the body (RFC 8259), or a 400.

    UTF-8, no name twice in an object, no NaN, no lone surrogate, no deeper than 32.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(Code.bad_request, "The body is not UTF-8.") from None
    if not text.strip(" \t\r\n"):
        raise ApiError(Code.bad_request, "The body is empty.")
    if _depth_exceeds(text, MAX_DEPTH):
        raise ApiError(Code.bad_request, f"The body nests deeper than {MAX_DEPTH}.")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ApiError(Code.bad_request, "The body has half of a surrogate pair: that is no text.") from None
    except _NotStrictError as error:
        raise ApiError(Code.bad_request, str(error)) from None
    except ValueError:  # also a number of more digits than Python converts
        raise ApiError(Code.bad_request, "The body is not JSON.") from None
    return value


class _NotStrictError(Exception):
    """JSON that parsers disagree about."""


def _depth_exceeds(text: str, limit: int) -> bool:
    if text.count("[") + text.count("{") <= limit:
        return False
    depth = 0
    for character in _STRING.sub("", text):
        depth += (character in "[{") - (character in "]}")
        if depth > limit:
            return True
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _NotStrictError("A name stands twice in one object.")
    return members


def _no_constant(name: str) -> NoReturn:
    raise _NotStrictError(f"{name} is not JSON.")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise _NotStrictError("A number is out of range.")
    return number


def _require_utf8_query() -> None:
    try:
        unquote_to_bytes(request.query_string).decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(Code.bad_request, "The query is not UTF-8.") from None


class StrictParser(FlaskParser):
    """Reads a request the way the contract says, and fails in the one shape."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "json": RAISE, "query": RAISE}  # noqa: RUF012

    def load_json(self, req: Request, _schema: Schema) -> Any:
        body = req.get_data()
        if body or req.content_type:
            charset = req.mimetype_params.get("charset", "utf-8")
            if req.mimetype != "application/json" or charset.lower() not in ("utf-8", "utf8"):
                raise ApiError(Code.unsupported_media_type)
        return strict_json(body)

    def load_querystring(self, req: Request, _schema: Schema) -> dict[str, str]:
        _require_utf8_query()
        g.query_is_read = True
        if repeated := [name for name in req.args if len(req.args.getlist(name)) > 1]:
            raise ApiError(
                Code.validation_failed, errors={"query": {name: ["Given more than once."] for name in repeated}}
            )
        return dict(req.args)

    def handle_error(self, error: ValidationError, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise ApiError(Code.validation_failed, errors=error.messages_dict) from None


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # flask-smorest ships no types
    """A feature's routes.  A query parameter that no `arguments` declares is a 422 here, not silence."""

    ARGUMENTS_PARSER = StrictParser()

    def arguments(self, schema: Any, **kwargs: Any) -> Callable[[View], View]:
        declare = super().arguments(schema, **kwargs)

        def decorator(view: View) -> View:
            declared = declare(view)
            # flask-smorest names this response by a word that Python 3.13 has changed: the document would differ.
            declared._apidoc["arguments"]["responses"] = {422: VALIDATION_FAILED}  # noqa: SLF001
            return declared  # type: ignore[no-any-return]

        return decorator

    def response(self, status_code: int, schema: Any = None, **kwargs: Any) -> Callable[[View], View]:
        declare = super().response(status_code, schema, **kwargs)

        def decorator(view: View) -> View:
            # The innermost wrapper, so that the token and the declared arguments are judged first.
            @wraps(view)
            def checked(*args: Any, **view_args: Any) -> Any:
                if request.args and not g.get("query_is_read"):
                    _require_utf8_query()
                    unknown = {name: ["Unknown field."] for name in request.args}
                    raise ApiError(Code.validation_failed, errors={"query": unknown})
                return view(*args, **view_args)

            return declare(checked)  # type: ignore[no-any-return]

        return decorator
