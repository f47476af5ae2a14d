"""`ETag` and the headers that compare with it (RFC 9110 section 13): two writers cannot overwrite each other unseen."""

import hashlib
from functools import wraps
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify, request
from marshmallow import Schema
from sqlalchemy import update

from app.data.base import Base, db
from app.data.statements import execute_write
from app.web.blueprint import Blueprint
from app.web.errors import ApiError, Code
from app.web.typing import View

_ETAG = {"ETag": {"$ref": "#/components/headers/ETag"}}
CREATED_HEADERS = {
    "Location": {
        "description": "Its path.",
        "schema": {"type": "string"},
        "required": True,
        "example": "/api/v1/items/7",
    },
    **_ETAG,
}


def _tag(body: bytes) -> str:
    """Strong: another tag, another body, to the byte."""
    return hashlib.sha256(body).hexdigest()[:32]


def conditional(view: View) -> View:
    """Give the answer an `ETag`, and let a reader who has it already go without the body.

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
    """Make sure that the row is what the caller has seen, and that nobody else changes it until the commit.

    Without `If-Match` and `If-None-Match` whatever is there matches.

    Args:
        schema: what the row is shown by.
        row: as it was read; from here on it is as it is now, so that the answer to a change is true.

    Raises:
        ApiError: 412, or 404 where the row is gone.
    """
    refuse_mismatch(schema, _locked(row))


def refuse_mismatch(schema: Schema, row: Base) -> None:
    """Compare with the row as it was read, and lock nothing: before something that costs others.

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
    """The row as it is now, which nobody else changes any more.

    Writing what stands there already locks it on every database; reading it would not.
    """
    model = type(row)
    same = {"updated_at": model.updated_at}  # or it would be said to have changed
    execute_write(update(model).where(model.id == row.id).values(same))
    now: Base | None = db.session.get(model, row.id, populate_existing=True)
    if now is None:
        raise ApiError(Code.not_found)
    return now


def created(schema: Schema, row: object, location: str) -> Response:
    """201, with what was created, where it is, and its `ETag`."""
    response = _answer(schema, row)
    response.status_code = HTTPStatus.CREATED
    response.headers["Location"] = location
    response.set_etag(_tag(response.get_data()))
    return response


def _answer(schema: Schema, row: object) -> Response:
    """As the views answer it, to the byte."""
    return jsonify(schema.dump(row))
