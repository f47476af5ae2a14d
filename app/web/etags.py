"""`ETag`, `If-Match` and `If-None-Match` (RFC 9110 section 13)."""

import hashlib
from functools import wraps
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify, request
from marshmallow import Schema
from sqlalchemy import update

from app.data.base import db
from app.data.statements import write
from app.web.blueprint import Blueprint
from app.web.errors import ApiError, Code
from app.web.typing import View


def _tag(body: bytes) -> str:
    """A strong ETag: a hash of the body."""
    return hashlib.sha256(body).hexdigest()[:32]


def conditional(view: View) -> View:
    """Add an `ETag`, and answer 304 if the client has it.

    Stands above `response`. A view that changes an object calls `require_match` itself.
    """

    @wraps(view)
    def compared(*args: Any, **view_args: Any) -> Any:
        response: Response = view(*args, **view_args)
        if request.method == "DELETE":
            return response
        tag = _tag(response.get_data())
        response.set_etag(tag)
        if request.method in ("GET", "HEAD"):
            _require_if_match(tag)
            if request.if_none_match.contains_weak(tag):
                response.status_code = HTTPStatus.NOT_MODIFIED
        return response

    return Blueprint.declare(compared, conditional=True)  # type: ignore[return-value]


def require_match(schema: Schema, row: Any) -> None:
    """Lock the row until the commit, and check the conditions.

    Reads the row again, also without conditions, so that the answer to a change shows the current row.

    Args:
        schema: of the answers that show the row.
        row: an object of the session.

    Raises:
        ApiError: 412, or 404 if the row is gone.
    """
    model = type(row)
    # This update locks the row on every database, and changes nothing, not even `updated_at` by its `onupdate`.
    if not write(update(model).where(model.id == row.id).values(updated_at=model.updated_at)):
        raise ApiError(Code.not_found)
    db.session.refresh(row)
    refuse_mismatch(schema, row)


def refuse_mismatch(schema: Schema, row: Any) -> None:
    """Check the conditions against the row as read, without a lock.

    Raises:
        ApiError: 412.
    """
    if "If-Match" not in request.headers and "If-None-Match" not in request.headers:
        return
    tag = _tag(jsonify(schema.dump(row)).get_data())  # the same bytes as in an answer
    _require_if_match(tag)
    if request.if_none_match.contains_weak(tag):
        raise ApiError(Code.precondition_failed)


def _require_if_match(tag: str) -> None:
    if "If-Match" in request.headers and not request.if_match.contains(tag):
        raise ApiError(Code.precondition_failed)
