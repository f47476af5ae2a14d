"""Keyset pages.

Page 10,000 costs what page 1 costs, and an insert meanwhile neither repeats nor skips a row.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from flask import Flask, current_app, request
from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import ColumnElement, Integer, Select, Uuid, bindparam

from app.data.base import db
from app.data.statements import read, rows_after
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
_ROWS, _POSITION = "page_rows", "page_position_"  # names of bound parameters
STATEMENTS = 256  # that a listing keeps
NOT_A_CURSOR = "Not a cursor of this listing and order."
# JSON has all other types.
_READERS: dict[type, Any] = {Money: Decimal, UTCDateTime: datetime.fromisoformat, Uuid: UUID}


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


class Listing:
    """The pages of one statement, in declared orders and with declared filters.

    It builds the statement of each combination once: that is a third of what
    the query costs.
    """

    def __init__(
        self,
        statement: Select[*tuple[Any, ...]],
        *,
        orders: Mapping[str, tuple[Any, ...]],
        filters: Mapping[str, ColumnElement[bool]] | None = None,
    ) -> None:
        """Declare a listing.

        Args:
            statement: selects the columns, those of every order among them, without order or limit.
            orders: the columns of each order, by the name that `sort` has.  They are never null, the last one is
                unique, and an index on them makes every page cost the same.  The first order is the default.
            filters: a condition for each argument, with a bound parameter of the argument's name.
        """
        self.statement = statement
        self.orders = orders
        self.filters = filters or {}
        self.build = lru_cache(maxsize=STATEMENTS)(self._build)

    def read(self, args: Mapping[str, Any]) -> Page:
        """The page that the arguments of a `PageArgs` ask for.

        Args:
            args: `limit`, `cursor`, `sort`, and values for filters.

        Raises:
            ApiError: 422, where the cursor belongs to another listing or order.
        """
        values = dict(args)
        cursor, sort = values.pop("cursor", None), values.pop("sort", next(iter(self.orders)))
        rows = values.pop("limit") + 1
        keys, descending = self.orders[sort.removeprefix("-")], sort.startswith("-")
        options = {"is_first": cursor is None, "descending": descending, "dialect": db.engine.dialect.name}
        statement = self.build(tuple(sorted(values)), keys, **options)
        return _page(statement, keys, {**values, _ROWS: rows}, cursor, descending=descending)

    def _build(self, filters: tuple[str, ...], keys: tuple[Any, ...], **options: Any) -> Select[*tuple[Any, ...]]:
        return _ordered(self.statement.where(*(self.filters[name] for name in filters)), keys, **options)


def read_page(
    statement: Select[*tuple[Any, ...]],
    *keys: Any,
    values: Mapping[str, Any] | None = None,
    limit: int,
    cursor: str | None = None,
    descending: bool = False,
) -> Page:
    """The page of a statement that is built for this request.

    A `Listing` costs less where the statement is known before.

    Args:
        statement: selects the rows, the columns of `keys` among them, without order or limit.
        keys: columns that are never null, the last of them unique; an index on them makes every page cost the same.
        values: of the statement's bound parameters.
        limit: rows of a page.
        cursor: `next_cursor` of the page before.
        descending: greater values first.

    Raises:
        ApiError: 422, where the cursor belongs to another listing or order.
    """
    dialect = db.engine.dialect.name
    ordered = _ordered(statement, keys, is_first=cursor is None, descending=descending, dialect=dialect)
    return _page(ordered, keys, {**(values or {}), _ROWS: limit + 1}, cursor, descending=descending)


def _page(
    statement: Select[*tuple[Any, ...]],
    keys: tuple[Any, ...],
    parameters: dict[str, Any],
    cursor: str | None,
    *,
    descending: bool,
) -> Page:
    """Read a page.

    Reads one row more, which tells whether there is a next page.
    """
    order = [keys[0].expression.table.name, *(key.key for key in keys), descending]
    limit = parameters[_ROWS] - 1
    if cursor is not None:
        position = _decode(cursor, order, keys)
        parameters |= {_POSITION + key.key: value for key, value in zip(keys, position, strict=True)}
    found = read(statement, parameters)
    names = found[0]._fields if found else ()
    rows = [dict(zip(names, row, strict=True)) for row in found[:limit]]
    has_more = len(found) > limit
    return Page(rows, _encode(order, [rows[-1][key.key] for key in keys]) if has_more else None)


def _ordered(
    statement: Select[*tuple[Any, ...]], keys: tuple[Any, ...], *, is_first: bool, descending: bool, dialect: str
) -> Select[*tuple[Any, ...]]:
    if not is_first:
        position = [bindparam(_POSITION + key.key, type_=key.type) for key in keys]
        statement = statement.where(rows_after(dialect, keys, position, descending=descending))
    return statement.order_by(*(key.desc() if descending else key for key in keys)).limit(
        bindparam(_ROWS, type_=Integer)
    )


@lru_cache(maxsize=1)
def _signer(secrets: tuple[bytes, ...]) -> URLSafeSerializer:
    """Signs cursors, so that a client cannot make its own."""
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    return URLSafeSerializer(list(secrets), salt="cursor", signer_kwargs=options)


def _encode(order: list[Any], position: list[Any]) -> str:
    written = [value if isinstance(value, int | str) else str(value) for value in position]
    return str(_signer(current_app.extensions["cursor_secrets"]()).dumps([order, written]))


def _decode(cursor: str, order: list[Any], keys: tuple[Any, ...]) -> list[Any]:
    try:
        signed_order, position = _signer(current_app.extensions["cursor_secrets"]()).loads(cursor)
    except BadData:
        raise _not_a_cursor() from None
    if signed_order != order:
        raise _not_a_cursor()
    return [_READERS.get(type(key.type), _unchanged)(written) for key, written in zip(keys, position, strict=True)]


def _unchanged(value: Any) -> Any:
    return value


def _not_a_cursor() -> ApiError:
    return invalid("query", "cursor", NOT_A_CURSOR)
