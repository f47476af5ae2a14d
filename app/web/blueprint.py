"""flask-smorest's Blueprint with strict JSON and strict queries."""

from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

import flask_smorest
from flask import Request, Response, g, request
from flask_smorest.utils import resolve_schema_instance, unpack_tuple_response
from marshmallow import RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser

from app.web.errors import ApiError, Code
from app.web.openapi import describe
from app.web.request import query, read_body, read_json
from app.web.typing import View


def _require_utf8_query() -> None:
    if not request.query_string:
        return
    try:
        unquote_to_bytes(request.query_string).decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(Code.bad_request, "The query is not UTF-8.") from None


def _no_content(result: Any) -> Response:
    """Answer 204 without a body and its type (RFC 9110 section 15.3.5).

    A view returns None, or None and headers.
    """
    _none, _status, headers = unpack_tuple_response(result)
    response = Response(status=HTTPStatus.NO_CONTENT, headers=headers)
    del response.headers["Content-Type"]
    return response


class StrictParser(FlaskParser):
    """Parses requests strictly and raises `ApiError`."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "json": RAISE, "query": RAISE}  # noqa: RUF012

    def load_json(self, _req: Request, schema: Schema) -> Any:
        _require_utf8_query()
        if getattr(schema, "BODY_IS_OPTIONAL", False) and not read_body():
            return {}
        return read_json()

    def load_querystring(self, _req: Request, _schema: Schema) -> dict[str, str]:
        _require_utf8_query()
        g.query_is_read = True
        parameters = query()
        if repeated := [name for name in parameters if len(parameters.getlist(name)) > 1]:
            raise ApiError(Code.validation_failed, errors={"query": {name: ["Repeated."] for name in repeated}})
        return dict(parameters)

    def handle_error(self, error: ValidationError, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise ApiError(Code.validation_failed, errors=error.messages_dict) from None


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # flask-smorest ships no types
    """The routes of a feature.  An undeclared query parameter is a 422."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(self._prepare_facts)

    @staticmethod
    def declare(view: View, **facts: Any) -> View:
        """Store facts with a view for `openapi.describe`.  Tuples and dicts are merged."""
        known = deepcopy(getattr(view, "_apidoc", {}))
        kept = known.setdefault("facts", {})
        for name, fact in facts.items():
            if isinstance(fact, dict):
                kept[name] = {**kept.get(name, {}), **fact}
            elif type(fact) is tuple:
                kept[name] = kept.get(name, ()) + fact
            else:
                kept[name] = fact
        view._apidoc = known  # type: ignore[attr-defined]  # noqa: SLF001 -- flask-smorest's own attribute
        return view

    def fails(self, *codes: Code) -> Callable[[View], View]:
        """Document the errors that the view raises.  Its decorators document their own."""

        def decorator(view: View) -> View:
            return self.declare(view, codes=codes)

        return decorator

    @staticmethod
    def _prepare_facts(doc: dict[str, Any], doc_info: dict[str, Any], *, method: str, **context: Any) -> dict[str, Any]:
        describe(doc, doc_info.get("facts", {}), method=method, app=context["app"], spec=context["spec"])
        return doc

    def arguments(self, schema: Any, **kwargs: Any) -> Callable[[View], View]:
        schema = resolve_schema_instance(schema)  # one instance for all requests
        required = not getattr(schema, "BODY_IS_OPTIONAL", False)
        declare = super().arguments(schema, **{"required": required, **kwargs})
        takes_body = kwargs.get("location", "json") == "json"

        def decorator(view: View) -> View:
            declared = declare(view)
            del declared._apidoc["arguments"]["responses"]  # noqa: SLF001 -- a 422 in flask-smorest's shape
            codes = (Code.unsupported_media_type,) if takes_body else ()
            return self.declare(declared, codes=codes)  # type: ignore[no-any-return]

        return decorator

    def response(self, status_code: int, schema: Any = None, **kwargs: Any) -> Callable[[View], View]:
        declare = super().response(status_code, schema, **kwargs)

        def decorator(view: View) -> View:
            # The innermost wrapper, so that the guard and the arguments come first.
            @wraps(view)
            def checked(*args: Any, **view_args: Any) -> Any:
                if request.query_string and query() and not g.get("query_is_read"):
                    _require_utf8_query()
                    unknown = {name: ["Unknown field."] for name in query()}
                    raise ApiError(Code.validation_failed, errors={"query": unknown})
                result = view(*args, **view_args)
                return _no_content(result) if status_code == HTTPStatus.NO_CONTENT else result

            return self.declare(declare(checked), name=view.__name__)  # type: ignore[no-any-return]

        return decorator
