"""Find few matching rows by an index of the filter itself.

Beside such an index a listing has those of its orders (app/web/pages.py).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, bindparam, cast, column, func, select, table, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.data.base import db
from app.data.statements import ESCAPE, like_pattern, read

FEW = 1000  # rows that every database reads and sorts within some milliseconds
GRAM = 3  # characters
PROBES = 5  # grams of a text that are tried
LAST = GRAM * "\U0010ffff"  # comes after every gram
_TEXT, _GRAMS, _LAST = "search_text", "search_grams", "search_last"  # names of bound parameters


class Range:
    """The limits of a column that an index begins with."""

    def __init__(self, limited: Any, *, at_least: str, at_most: str) -> None:
        """Declare the names of both arguments."""
        self.column = limited
        self.filters: dict[str, ColumnElement[bool]] = {
            at_least: limited >= bindparam(at_least),
            at_most: limited <= bindparam(at_most),
        }
        self.ids = cache(self._ids)

    def values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The bound parameters of the filters."""
        return dict(values)

    def find(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The bound parameters of `ids`.

        None if more than FEW rows are within the limits.
        """
        names = frozenset(self.filters.keys() & values.keys())
        return None if read(self.ids(names, db.engine.dialect.name).limit(1).offset(FEW), values) else {}

    def _ids(self, names: frozenset[str], _dialect: str) -> Select[int]:
        return _keys(self.column).where(*(self.filters[name] for name in names)).order_by(self.column)


class Search:
    """A part of a text in a column.

    The primary key of the table is `id`.  A migration makes the index (docs/add-a-resource.md).  It is of the
    column's grams: its runs of one, two and three characters.  MariaDB and MySQL have no such index.
    """

    def __init__(self, name: str, searched: Any) -> None:
        """Declare the name of the argument.

        Its values are folded like the column.
        """
        self.name, self.column = name, searched
        self.filters: dict[str, ColumnElement[bool]] = {name: searched.like(bindparam(name), escape=ESCAPE)}
        self.ids = cache(self._ids)

    def values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The bound parameters of the filter."""
        return {self.name: like_pattern(values[self.name]), _TEXT: values[self.name]}

    def find(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The bound parameters of `ids`.

        None if more than about FEW rows match, or without an index.
        """
        dialect, grams = db.engine.dialect.name, _grams(values[_TEXT])
        if dialect == "postgresql":
            return {_GRAMS: grams} if self._estimate(values) <= FEW else None
        if dialect == "sqlite":
            rows = self.ids(frozenset(), dialect).limit(1).offset(FEW)
            # One gram that few rows have is enough, because to intersect long lists of rows takes long.
            bounds = ({_GRAMS: gram, _LAST: gram + LAST} for gram in grams[:: len(grams) // PROBES + 1])
            return next((one for one in bounds if not read(rows, one)), None)
        return None

    def _ids(self, _names: frozenset[str], dialect: str) -> Select[int]:
        grams: Any = bindparam(_GRAMS)
        if dialect == "postgresql":
            has_grams = func.search_grams(self.column.collate("C")).op("@>")(cast(grams, ARRAY(Text)))
            return _keys(self.column).where(has_grams, self.filters[self.name])
        index: Any = table(f"search_{self.column.table.name}", column("gram"), column("id"))  # of SQLite
        return select(index.c.id).distinct().where(index.c.gram.between(grams, bindparam(_LAST)))

    def _estimate(self, values: Mapping[str, Any]) -> int:
        """The number of matching rows that PostgreSQL expects.

        It tries the pattern on a sample of the column.  To count them it would read the index to the end.
        """
        sought = f"SELECT FROM {self.column.table.name} WHERE {self.column.name} LIKE :{self.name} ESCAPE '{ESCAPE}'"
        explained: Any = text(f"EXPLAIN (FORMAT JSON) {sought}").columns(column("plan"))
        [plan] = read(explained, {self.name: values[self.name]})[0][0]
        return int(plan["Plan"]["Plan Rows"])


Finder = Range | Search


def _grams(sought: str) -> list[str]:
    """The longest grams of a text."""
    length = min(GRAM, len(sought))
    return [sought[start : start + length] for start in range(len(sought) - length + 1)]


def _keys(of: Any) -> Select[int]:
    [key] = of.table.primary_key
    return select(key.label("id"))
