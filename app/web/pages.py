"""Keyset pages.

Page 10,000 costs what page 1 costs, and an insert meanwhile neither repeats nor skips a row.
"""

import time
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache, partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

from flask import request
from sqlalchemy import ColumnElement, Integer, Select, bindparam, not_

from app.data.base import db
from app.data.search import Finder
from app.data.statements import read, rows_after
from app.web.cursors import decode, encode
from app.web.request import query

PAGE_HEADERS = {
    "Link": {
        "description": "The next page, where there is one (RFC 8288).",
        "schema": {"type": "string"},
        "example": '</api/v1/items?cursor=…>; rel="next"',
    }
}
_ROWS, _POSITION, _END = "page_rows", "page_position_", "page_end_"  # names of bound parameters
STATEMENTS = 256  # that a listing keeps
WINDOW = 2000  # rows that are examined at once
PATIENCE = 0.05  # seconds
STRANGERS_PATIENCE = 0.002  # for listings that need no token


Statement = Select[*tuple[Any, ...]]


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


class Order(NamedTuple):
    """The columns by which a page is sorted."""

    keys: tuple[Any, ...]
    descending: bool
    dialect: str

    @property
    def name(self) -> list[Any]:
        """The name in a cursor."""
        return [self.keys[0].expression.table.name, *(key.key for key in self.keys), self.descending]

    def sorted(self, statement: Statement) -> Statement:
        """The statement in this order, with a limit."""
        columns = (key.desc() if self.descending else key for key in self.keys)
        return statement.order_by(*columns).limit(bindparam(_ROWS, type_=Integer))

    def after(self, prefix: str) -> ColumnElement[bool]:
        """Whether a row comes after the position whose parameters have this prefix."""
        position = [bindparam(prefix + key.key, type_=key.type) for key in self.keys]
        return rows_after(self.dialect, self.keys, position, descending=self.descending)

    def values(self, prefix: str, position: Sequence[Any] | None) -> dict[str, Any]:
        """The bound parameters of a position."""
        return {} if position is None else {prefix + key.key: one for key, one in zip(self.keys, position, strict=True)}


class Listing:
    """The pages of one statement, in declared orders and with declared filters.

    It builds the statement of each combination once: that is a third of what
    the query costs.
    """

    def __init__(
        self,
        statement: Statement,
        *,
        orders: Mapping[str, tuple[Any, ...]],
        filters: Mapping[str, ColumnElement[bool]] | None = None,
        finders: Sequence[Finder] = (),
        patience: float = PATIENCE,
    ) -> None:
        """Declare a listing.

        Args:
            statement: selects the columns, those of every order among them, without order or limit.
            orders: the columns of each order, by the name that `sort` has.  They are never null, the last one is
                unique, and an index on them makes every page cost the same.  The first order is the default.
            filters: a condition for each argument, with a bound parameter of the argument's name.  Together they leave
                few rows, or an index on their columns and those of the order serves them.
            finders: further filters.  If one of them leaves few rows, its own index finds them.  Otherwise rows are
                examined in order, for `patience` at most.  So a page may be short or empty and have a cursor.
            patience: seconds.  It is checked after every WINDOW rows.
        """
        self.statement, self.orders, self.finders, self.patience = statement, orders, finders, patience
        self.filters = dict(filters or {})
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
        limit, names = values.pop("limit"), frozenset(values)
        order = Order(self.orders[sort.removeprefix("-")], sort.startswith("-"), db.engine.dialect.name)
        position = None if cursor is None else decode(cursor, order.name, order.keys)
        asked = [finder for finder in self.finders if finder.filters.keys() & names]
        for finder in asked:
            values |= finder.values(values)
        unserved = [finder for finder in asked if finder.column is not order.keys[0]]  # by the index of the order
        found = ((finder, bound) for finder in unserved if (bound := finder.find(values)) is not None)
        part, bound = next(found, (Part.all, {}))
        if unserved and part is Part.all:
            return self._scan(order, names, values, position, limit)
        statement = self.build(order, names, part, is_first=position is None)
        values |= bound | {_ROWS: limit + 1} | order.values(_POSITION, position)
        return _page(read(statement, values), order, limit)

    def _scan(
        self, order: Order, names: frozenset[str], values: dict[str, Any], position: Sequence[Any] | None, limit: int
    ) -> Page:
        """Examine WINDOW rows at a time.

        Ends if the page is full, no row is left or the patience is over.
        """
        until, found = time.monotonic() + self.patience, list[Any]()
        while True:
            values |= {_ROWS: 1} | order.values(_POSITION, position)
            build = partial(self.build, order, names, is_first=position is None)
            end = next(iter(read(build(part=Part.end), values)), None)
            values |= {_ROWS: limit + 1 - len(found)} | order.values(_END, end)
            found += read(build(part=Part.window if end else Part.all), values)
            if len(found) > limit or end is None:
                return _page(found, order, limit)
            position = end
            if time.monotonic() > until:
                return Page(_dictionaries(found), encode(order.name, position))

    def _build(self, order: Order, names: frozenset[str], part: "Part | Finder", *, is_first: bool) -> Statement:
        """Build the statement for a part of the rows after a position."""
        served = [one for name, one in self.filters.items() if name in names]
        others = list[ColumnElement[bool]]()
        for finder in self.finders:
            conditions = served if finder.column is order.keys[0] else others
            conditions += [one for name, one in finder.filters.items() if name in names]
        if part is Part.end:  # the last row of a window
            statement = self.statement.with_only_columns(*order.keys).offset(WINDOW - 1)
        else:
            statement = self.statement.where(*others)
        if part is Part.window:
            statement = statement.where(not_(order.after(_END)))
        if not isinstance(part, Part):
            ids: Any = part.ids(frozenset(part.filters.keys() & names), order.dialect)
            # An offset, or MATERIALIZED, makes the planner find the rows first, and only once.
            found = ids.offset(0).cte("found").prefix_with("MATERIALIZED", dialect="postgresql")
            statement = statement.join(found, found.c.id == part.column.table.c.id)
        if not is_first:
            statement = statement.where(order.after(_POSITION))
        return order.sorted(statement.where(*served))


class Part(Enum):
    """The rows that a statement of a listing reads."""

    all = "all"
    window = "window"  # those up to a position
    end = "end"  # the last one of a window


def read_page(
    statement: Statement,
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
    order, position = Order(keys, descending, db.engine.dialect.name), None
    if cursor is not None:
        position = decode(cursor, order.name, order.keys)
        statement = statement.where(order.after(_POSITION))
    bound = {**(values or {}), _ROWS: limit + 1, **order.values(_POSITION, position)}
    return _page(read(order.sorted(statement), bound), order, limit)


def _page(found: Sequence[Any], order: Order, limit: int) -> Page:
    """The page of these rows.

    One row more than its limit shows that another page follows.
    """
    rows = _dictionaries(found[:limit])
    return Page(rows, encode(order.name, [rows[-1][key.key] for key in order.keys]) if len(found) > limit else None)


def _dictionaries(found: Sequence[Any]) -> list[dict[str, Any]]:
    names = found[0]._fields if found else ()
    return [dict(zip(names, row, strict=True)) for row in found]
