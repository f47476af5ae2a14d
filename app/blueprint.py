"""The Blueprint of every feature: flask-smorest's, with strict JSON and strict queries."""

from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote_to_bytes

import flask_smorest
from flask import Request, g, request
from marshmallow import RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser

from app.errors import ApiError, Code
from app.http import query, read_json

VALIDATION_FAILED = {
    "description": "The request is not valid.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}

View = TypeVar("View", bound=Callable[..., Any])


def _require_utf8_query() -> None:
    try:
        unquote_to_bytes(request.query_string).decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(Code.bad_request, "The query is not UTF-8.") from None


class StrictParser(FlaskParser):
    """Reads a request the way the contract says, and fails in the one shape."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "json": RAISE, "query": RAISE}  # noqa: RUF012

    def load_json(self, req: Request, schema: Schema) -> Any:
        _require_utf8_query()
        if getattr(schema, "BODY_IS_OPTIONAL", False) and not req.get_data():
            return {}
        return read_json()

    def load_querystring(self, _req: Request, _schema: Schema) -> dict[str, str]:
        _require_utf8_query()
        g.query_is_read = True
        parameters = query()
        if repeated := [name for name in parameters if len(parameters.getlist(name)) > 1]:
            raise ApiError(
                Code.validation_failed, errors={"query": {name: ["Given more than once."] for name in repeated}}
            )
        return dict(parameters)

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
                if query() and not g.get("query_is_read"):
                    _require_utf8_query()
                    unknown = {name: ["Unknown field."] for name in query()}
                    raise ApiError(Code.validation_failed, errors={"query": unknown})
                return view(*args, **view_args)

            return declare(checked)  # type: ignore[no-any-return]

        return decorator
