"""`ETag`, `If-Match` and `If-None-Match` (RFC 9110 section 13)."""

import hashlib
from functools import wraps
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify, request
from marshmallow import Schema
from sqlalchemy import update

from app.data.base import Base, db
from app.data.statements import write
from app.web.blueprint import Blueprint
from app.web.errors import ApiError, Code
from app.web.typing import View

_ETAG = {"ETag": {"$ref": "#/components/headers/ETag"}}
CREATED_HEADERS = {
    "Location": {
        "description": "The path of the new object.",
        "schema": {"type": "string"},
        "required": True,
        "example": "/api/v1/items/7",
    },
    **_ETAG,
}


def _tag(body: bytes) -> str:
    """A strong ETag: a hash of the body."""
    return hashlib.sha256(body).hexdigest()[:32]


def conditional(view: View) -> View:
    """Add an `ETag` to the answer, and answer 304 if the reader has it.

    Stands above `response`. A view that changes something calls `require_match` itself.
    """

    @wraps(view)
    def compared(*args: Any, **view_args: Any) -> Any:
        response: Response = view(*args, **view_args)
        if request.method == "DELETE":
            return response
        tag = _tag(response.get_data())
        response.set_etag(tag)
        if request.method in ("GET", "HEAD"):
            if "If-Match" in request.headers and not request.if_match.contains(tag):
                raise ApiError(Code.precondition_failed)
            if "If-None-Match" in request.headers and request.if_none_match.contains_weak(tag):
                response.status_code = HTTPStatus.NOT_MODIFIED
                response.set_data(b"")
        return response

    return Blueprint.declare(compared, conditional=True)  # type: ignore[return-value]


def require_match(schema: Schema, row: Base) -> None:
    """Check the conditions against the current row and lock it until the commit.

    Without `If-Match` and `If-None-Match` whatever is there matches.

    Args:
        schema: what the row is shown by.
        row: as it was read; from here on it is as it is now, so that the answer to a change is true.

    Raises:
        ApiError: 412, or 404 where the row is gone.
    """
    refuse_mismatch(schema, _locked(row))


def refuse_mismatch(schema: Schema, row: Base) -> None:
    """Check the conditions against the row as read, without a lock.

    Raises:
        ApiError: 412.
    """
    if "If-Match" not in request.headers and "If-None-Match" not in request.headers:
        return
    tag = _tag(_answer(schema, row).get_data())
    if "If-Match" in request.headers and not request.if_match.contains(tag):
        raise ApiError(Code.precondition_failed)
    if request.if_none_match.contains_weak(tag):
        raise ApiError(Code.precondition_failed)


def _locked(row: Any) -> Base:
    """Lock the row and return its current state.

    Writing what stands there already locks it on every database; reading it would not.
    """
    model = type(row)
    same = {"updated_at": model.updated_at}  # keep it, or the lock would count as a change
    write(update(model).where(model.id == row.id).values(same))
    now: Base | None = db.session.get(model, row.id, populate_existing=True)
    if now is None:
        raise ApiError(Code.not_found)
    return now


def created(schema: Schema, row: object, location: str) -> Response:
    """A 201 response with the body, `Location` and `ETag` of the new object."""
    response = _answer(schema, row)
    response.status_code = HTTPStatus.CREATED
    response.headers["Location"] = location
    response.set_etag(_tag(response.get_data()))
    return response


def _answer(schema: Schema, row: object) -> Response:
    """The response that the views give, with the same bytes."""
    return jsonify(schema.dump(row))
