"""Keyset pages: page 10,000 costs what page 1 costs, and an insert meanwhile neither repeats nor skips a row."""

import hashlib
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

from flask import request
from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import Row, Select
from sqlalchemy.orm import InstrumentedAttribute

from app.auth.keys import derivation_secrets
from app.database import Money, UTCDateTime, rows_behind
from app.errors import ApiError, invalid
from app.extensions import db
from app.http import query

PAGE_HEADERS = {
    "Link": {
        "description": "The next page, where there is one (RFC 8288).",
        "schema": {"type": "string"},
        "example": '</api/v1/items?cursor=…>; rel="next"',
    }
}
NOT_A_CURSOR = "Not a cursor of this listing and order."
_READERS: dict[type, Any] = {Money: Decimal, UTCDateTime: datetime.fromisoformat}  # whatever else there is, JSON has


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
    statement: Select[*tuple[Any, ...]],
    *keys: InstrumentedAttribute[Any],
    limit: int,
    cursor: str | None = None,
    descending: bool = False,
) -> Page:
    """The rows behind the cursor, in the order of `keys`.

    Args:
        statement: selects the rows, without order or limit.
        keys: columns that are never null, the last of them unique; an index on them makes every page cost the same.
        limit: rows of a page.
        cursor: `next_cursor` of the page before.
        descending: the other way round.

    Raises:
        ApiError: 422, where the cursor is not one of ours, or one of another listing or order.
    """
    order = [keys[0].class_.__tablename__, *(key.key for key in keys), descending]
    if cursor is not None:
        dialect = db.session.get_bind().dialect.name
        place = _decode(cursor, order, keys)
        statement = statement.where(rows_behind(dialect, keys, place, descending=descending))
    ordered = statement.order_by(*(key.desc() if descending else key for key in keys)).limit(limit + 1)
    labels = [f"_{key.key}" for key in keys]
    found = db.session.execute(
        ordered.add_columns(*(key.label(label) for key, label in zip(keys, labels, strict=True)))
    ).all()
    rows = list(found[:limit])
    more = len(found) > limit
    return Page(rows, _encode(order, [getattr(rows[-1], label) for label in labels]) if more else None)


def _signer() -> URLSafeSerializer:
    """Signs, so that nobody can ask to begin where no page of ours has ended."""
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeSerializer(derivation_secrets(), salt="cursor", signer_kwargs=options)


def _encode(order: list[Any], place: list[Any]) -> str:
    written = [value if isinstance(value, int | str) else str(value) for value in place]
    return str(_signer().dumps([order, written]))


def _decode(cursor: str, order: list[Any], keys: tuple[InstrumentedAttribute[Any], ...]) -> list[Any]:
    try:
        its_order, place = _signer().loads(cursor)
    except BadData:
        raise _not_a_cursor() from None
    if its_order != order:
        raise _not_a_cursor()
    return [_READERS.get(type(key.type), _as_it_is)(written) for key, written in zip(keys, place, strict=True)]


def _as_it_is(value: Any) -> Any:
    return value


def _not_a_cursor() -> ApiError:
    return invalid("query", "cursor", NOT_A_CURSOR)
