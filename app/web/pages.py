"""Keyset pages: page 10,000 costs what page 1 costs, and an insert meanwhile neither repeats nor skips a row."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlencode

from flask import Flask, current_app, request
from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import Integer, Select, bindparam

from app.data.base import db
from app.data.statements import read, rows_behind
from app.data.types import Money, UTCDateTime
from app.web.errors import ApiError, invalid
from app.web.request import query

PAGE_HEADERS = {
    "Link": {
        "description": "The next page, where there is one (RFC 8288).",
        "schema": {"type": "string"},
        "example": '</api/v1/items?cursor=…>; rel="next"',
    }
}
_ROWS, _PLACE = "page_rows", "page_place_"  # names of bound parameters
NOT_A_CURSOR = "Not a cursor of this listing and order."
_READERS: dict[type, Any] = {Money: Decimal, UTCDateTime: datetime.fromisoformat}  # whatever else there is, JSON has


def init_app(app: Flask, secrets: Callable[[], tuple[bytes, ...]]) -> None:
    """Sign cursors with keys derived from these secrets.

    Args:
        app: the application.
        secrets: returns the secrets in force; the last one signs, all of them verify.
    """
    app.extensions["cursor_secrets"] = secrets


class Page(NamedTuple):
    rows: list[dict[str, Any]]  # by the names of the columns
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
    *keys: Any,
    values: Mapping[str, Any] | None = None,
    limit: int,
    cursor: str | None = None,
    descending: bool = False,
) -> Page:
    """The rows behind the cursor, in the order of `keys`.

    Args:
        statement: selects the rows, the columns of `keys` among them, without order or limit. What is made of it is
            kept as long as it is: a statement that is made once saves a third of what the query costs.
        keys: columns that are never null, the last of them unique; an index on them makes every page cost the same.
        values: of the statement's bound parameters.
        limit: rows of a page.
        cursor: `next_cursor` of the page before.
        descending: the other way round.

    Raises:
        ApiError: 422, where the cursor is not one of ours, or one of another listing or order.
    """
    order = [keys[0].expression.table.name, *(key.key for key in keys), descending]
    parameters = {**(values or {}), _ROWS: limit + 1}
    if cursor is not None:
        places = zip(keys, _decode(cursor, order, keys), strict=True)
        parameters |= {_PLACE + key.key: place for key, place in places}
    dialect = db.engine.dialect.name
    ordered = _ordered(statement, keys, behind=cursor is not None, descending=descending, dialect=dialect)
    found = read(ordered, parameters)
    names = found[0]._fields if found else ()
    rows = [dict(zip(names, row, strict=True)) for row in found[:limit]]
    more = len(found) > limit
    return Page(rows, _encode(order, [rows[-1][key.key] for key in keys]) if more else None)


@lru_cache(maxsize=128)
def _ordered(
    statement: Select[*tuple[Any, ...]], keys: tuple[Any, ...], *, behind: bool, descending: bool, dialect: str
) -> Select[*tuple[Any, ...]]:
    if behind:
        place = [bindparam(_PLACE + key.key, type_=key.type) for key in keys]
        statement = statement.where(rows_behind(dialect, keys, place, descending=descending))
    return statement.order_by(*(key.desc() if descending else key for key in keys)).limit(
        bindparam(_ROWS, type_=Integer)
    )


@lru_cache(maxsize=1)
def _signer(secrets: tuple[bytes, ...]) -> URLSafeSerializer:
    """Signs, so that nobody can ask to begin where no page of ours has ended."""
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeSerializer(list(secrets), salt="cursor", signer_kwargs=options)


def _encode(order: list[Any], place: list[Any]) -> str:
    written = [value if isinstance(value, int | str) else str(value) for value in place]
    return str(_signer(current_app.extensions["cursor_secrets"]()).dumps([order, written]))


def _decode(cursor: str, order: list[Any], keys: tuple[Any, ...]) -> list[Any]:
    try:
        its_order, place = _signer(current_app.extensions["cursor_secrets"]()).loads(cursor)
    except BadData:
        raise _not_a_cursor() from None
    if its_order != order:
        raise _not_a_cursor()
    return [_READERS.get(type(key.type), _as_it_is)(written) for key, written in zip(keys, place, strict=True)]


def _as_it_is(value: Any) -> Any:
    return value


def _not_a_cursor() -> ApiError:
    return invalid("query", "cursor", NOT_A_CURSOR)
