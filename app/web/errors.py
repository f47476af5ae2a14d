"""The one error shape, and the handlers that produce it.

    {"error": "item_exists", "message": "…", "status": 409, "request_id": "…"}

Only a 422 has `errors`, by location and field. A field
within another has its path: `user.username`, `tags.0`.
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, current_app, g, jsonify, request
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException

from app.data.errors import is_broken_reference, is_unavailable
from app.web.codes import Code as Code
from app.web.events import CONCEALED, REFUSALS
from app.web.logs import log_event

RETRY_AFTER = "1"  # seconds
MAX_ERRORS = 20  # fields named in one answer, so that it stays short
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
    """An error for the client: raise it in a view or below."""

    def __init__(
        self,
        code: Code,
        message: str | None = None,
        *,
        errors: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        event: Mapping[str, Any] | None = None,
    ) -> None:
        """Describe the error.

        Args:
            code: of the table.
            message: instead of the one in the table.
            errors: of a 422, by location and field.
            headers: of the response.
            event: members of the security event, beside or instead of those in `events.REFUSALS`.
        """
        super().__init__(code.name)
        self.code = code
        self.message = message or code.message
        self.errors = errors
        self.headers = headers or {}
        self.event = event or {}


def invalid(location: str, field: str, message: str) -> ApiError:
    """A 422 about one field, for checks that no schema can make."""
    return ApiError(Code.validation_failed, errors={location: {field: [message]}})


def concealed() -> ApiError:
    """A 404 for another user's object.

    The client does not learn that the object exists, but the log tells it.
    """
    return ApiError(Code.not_found, event=CONCEALED)


def error_body(error: str, message: str, status: int, request_id: str) -> dict[str, Any]:
    """The body of an error.  Only this function knows its keys."""
    return {"error": error, "message": message, "status": status, "request_id": request_id}


def error_response(error: ApiError) -> Response:
    """The response to an `ApiError`.

    A 401 has a challenge (RFC 9110 section 11.6.1). A refusal of authorization is a security event, so that
    no view has to log it.
    """
    _log_refusal(error)
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


def _log_refusal(error: ApiError) -> None:
    """Log the event of a refusal.

    Not if the code that raised it has logged one in this request, because that code knows more.
    """
    event = {**REFUSALS.get(error.code, {}), **error.event}
    if event and not g.get("refusal_logged"):
        log_event(**event, method=request.method, route=request.url_rule and request.url_rule.rule)


def _challenge(code: Code) -> str:
    """The challenge of a 401 (RFC 6750 section 3).

    RFC 9470 defines the error for freshness.
    """
    realm = quote(current_app.config["API_TITLE"], safe=" &'")  # a header has room for ASCII only
    if code in (Code.authorization_required, Code.invalid_credentials):
        return f'Bearer realm="{realm}"'
    error = "insufficient_user_authentication" if code is Code.fresh_token_required else "invalid_token"
    return f'Bearer realm="{realm}", error="{error}", error_description="{code.message}"'


def _capped(fields: dict[Any, Any]) -> dict[str, list[str]]:
    found = dict(_flat(fields))
    # Sort, because unknown field names come from a set.  List known fields first.
    first = sorted(found, key=lambda path: (found[path] == ["Unknown field."], path))[:MAX_ERRORS]
    return {path: found[path] for path in first}


def _flat(fields: dict[Any, Any], within: str = "") -> Iterator[tuple[str, list[str]]]:
    """Name a nested field by its path, `user.username` or `tags.0`.

    The document has one level only.
    """
    for name, found in fields.items():
        path = f"{within}{str(name)[:MAX_NAME]}"
        if isinstance(found, dict):
            yield from _flat(found, f"{path}.")
        else:
            yield path, [found] if isinstance(found, str) else found


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
        return error_response(ApiError(Code.not_found, "The body refers to an object that does not exist."))
    if not is_unavailable(error):
        current_app.logger.error("The database refused a statement", exc_info=error)
        return error_response(ApiError(Code.internal_error))
    cause = error.orig if isinstance(error, DBAPIError) else error
    current_app.logger.error("The database is not available: %s: %s", type(cause).__name__, cause)
    return error_response(ApiError(Code.database_unavailable))


def _on_stale_data(_error: StaleDataError) -> Response:
    """Another request deleted the row between our read and our write."""
    return error_response(ApiError(Code.not_found))


def init_app(app: Flask) -> None:
    """Register the handlers.  Runs after all extensions, so that ours win."""
    app.register_error_handler(ApiError, error_response)
    app.register_error_handler(HTTPException, _on_http_exception)
    app.register_error_handler(SQLAlchemyError, _on_database_error)
    app.register_error_handler(StaleDataError, _on_stale_data)
