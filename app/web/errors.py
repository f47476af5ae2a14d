"""The one error shape, and the handlers that make every failure take that shape.

    {"error": "item_exists", "message": "…", "status": 409, "request_id": "…"}

`errors` stands beside them on 422 only, keyed by location and field.
"""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, current_app, g, jsonify
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from app.data.errors import is_broken_reference, is_unavailable
from app.web.codes import Code as Code

RETRY_AFTER = "1"  # seconds
MAX_ERRORS = 20  # fields named in one answer: twenty thousand unknown ones are not echoed
MAX_NAME = 100  # characters of a field's name in an answer


_BY_STATUS = {
    code.status: code
    for code in (
        Code.bad_request,
        Code.not_found,
        Code.method_not_allowed,
        Code.request_timeout,
        Code.payload_too_large,
        Code.uri_too_long,
        Code.unsupported_media_type,
        Code.validation_failed,
        Code.headers_too_large,
        Code.internal_error,
    )
}


class ApiError(Exception):
    """Raise it anywhere below a view: the caller gets the code's status and the one shape."""

    def __init__(
        self,
        code: Code,
        message: str | None = None,
        *,
        errors: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(code.name)
        self.code = code
        self.message = message or code.message
        self.errors = errors
        self.headers = headers or {}


def invalid(location: str, field: str, message: str) -> ApiError:
    """A 422 about one field that no schema could judge."""
    return ApiError(Code.validation_failed, errors={location: {field: [message]}})


def error_body(error: str, message: str, status: int, request_id: str) -> dict[str, Any]:
    """The one place that knows the keys of an error."""
    return {"error": error, "message": message, "status": status, "request_id": request_id}


def error_response(error: ApiError) -> Response:
    """The answer to an `ApiError`, with the challenge that every 401 owes (RFC 9110 section 11.6.1)."""
    body = error_body(error.code.name, error.message, error.code.status, g.request_id)
    if error.errors is not None:
        body["errors"] = {location: _capped(fields) for location, fields in error.errors.items()}
    response = jsonify(body)
    response.status_code = error.code.status
    response.headers.update(error.headers)
    if error.code.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = _challenge(error.code)
    if error.code.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers.setdefault("Retry-After", RETRY_AFTER)
    return response


def _challenge(code: Code) -> str:
    """RFC 6750 section 3: a bare realm where no token came, the error where a bad one did; RFC 9470 for freshness."""
    realm = quote(current_app.config["API_TITLE"], safe=" &'")  # a header has room for ASCII only
    if code in (Code.authorization_required, Code.invalid_credentials):
        return f'Bearer realm="{realm}"'
    error = "insufficient_user_authentication" if code is Code.fresh_token_required else "invalid_token"
    return f'Bearer realm="{realm}", error="{error}", error_description="{code.message}"'


def _capped(fields: Any) -> Any:
    if not isinstance(fields, dict):
        return fields
    # Always the same ones: the names that nobody knows come from a set, and after those that we ask for.
    first = sorted(fields, key=lambda name: (fields[name] == ["Unknown field."], str(name)))[:MAX_ERRORS]
    return {str(name)[:MAX_NAME]: _capped(fields[name]) for name in first}


def _on_http_exception(error: HTTPException) -> Response:
    if error.response is not None:  # pragma: no cover -- a view that aborts with an answer of its own means it
        return error.response  # type: ignore[return-value]
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if status in _BY_STATUS:
        response = error_response(ApiError(_BY_STATUS[status]))
    else:
        name = error.name.lower().replace(" ", "_")
        response = jsonify(error_body(name, error.description or error.name, status, g.request_id))
        response.status_code = status
    if allowed := getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _on_database_error(error: SQLAlchemyError) -> Response:
    if is_broken_reference(error):
        return error_response(ApiError(Code.not_found, "What this refers to is gone."))
    if not is_unavailable(error):
        current_app.logger.error("The database refused a statement", exc_info=error)
        return error_response(ApiError(Code.internal_error))
    cause = error.orig if isinstance(error, DBAPIError) else error
    current_app.logger.error("The database is not available: %s: %s", type(cause).__name__, cause)
    return error_response(ApiError(Code.database_unavailable))


def _on_stale_data(_error: StaleDataError) -> Response:
    """Somebody deleted the row between our reading it and our writing it."""
    return error_response(ApiError(Code.not_found))


def init_app(app: Flask) -> None:
    """Register the handlers.  After every extension that registers its own, so that ours are the ones that count."""
    app.register_error_handler(ApiError, error_response)
    app.register_error_handler(HTTPException, _on_http_exception)
    app.register_error_handler(SQLAlchemyError, _on_database_error)
    app.register_error_handler(StaleDataError, _on_stale_data)
