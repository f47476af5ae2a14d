"""Keyset pages: page 10,000 costs what page 1 costs, and an insert meanwhile neither repeats nor skips a row."""

import base64
import json
from typing import Any, NamedTuple
from urllib.parse import urlencode

from flask import request
from sqlalchemy import Row, Select
from sqlalchemy.orm import InstrumentedAttribute

from app.database import MAX_ID
from app.errors import invalid
from app.extensions import db
from app.http import query


class Page(NamedTuple):
    rows: list[Row[Any]]
    next_cursor: str | None

    @property
    def headers(self) -> dict[str, str]:
        """`Link` to the next page (RFC 8288), as a path."""
        if self.next_cursor is None:
            return {}
        next_query = urlencode({**query(), "cursor": self.next_cursor})
        return {"Link": f'<{request.path}?{next_query}>; rel="next"'}


def read_page(
    statement: Select[*tuple[Any, ...]], key: InstrumentedAttribute[int], *, limit: int, cursor: str | None = None
) -> Page:
    """The rows behind the cursor, in the order of `key`, a unique column of the statement.

    Raises:
        ApiError: 422, where the cursor is malformed or belongs to another listing.
    """
    listing = key.class_.__tablename__
    if cursor is not None:
        statement = statement.where(key > _decode(cursor, listing))
    found = db.session.execute(statement.add_columns(key.label("_key")).order_by(key).limit(limit + 1)).all()
    rows = list(found[:limit])
    return Page(rows, _encode(listing, rows[-1]._key) if len(found) > limit else None)  # noqa: SLF001 -- our label


def _encode(listing: str, key: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([listing, key]).encode()).decode().rstrip("=")


def _decode(cursor: str, listing: str) -> int:
    """A cursor holds nothing secret: a forged one begins elsewhere in what its sender may see anyway."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        place = None
    match place:
        case [str(name), int(key)] if name == listing and not isinstance(key, bool) and 0 < key <= MAX_ID:
            return key
    raise invalid("query", "cursor", "Not a cursor of this listing.")
