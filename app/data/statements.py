"""Ways to run one statement, and parts of statements that differ from database to database."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, TypeVarTuple, cast

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CursorResult,
    Executable,
    Insert,
    Row,
    Select,
    UpdateBase,
    and_,
    or_,
    tuple_,
)

from app.data.base import db
from app.data.connections import single_statement_options

Columns = TypeVarTuple("Columns")
Taken = TypeVar("Taken")


def read_rows(statement: Select[*Columns], values: Mapping[str, Any]) -> Sequence[Row[*Columns]]:
    """The rows as they are committed now, with no transaction around them: half of what the session would cost.

    Args:
        statement: selects columns, and has been made once.
        values: of its bound parameters.
    """
    return _run_alone(statement, values, lambda result: result.all())


def write_alone(statement: UpdateBase, values: Mapping[str, Any]) -> int:
    """Run one UPDATE or DELETE that is a transaction by itself, with values for its bound parameters.

    It stands at once, whatever becomes of the request; but where the session is in
    the middle of something already, it stands with that.

    Returns:
        The number of rows that it met.
    """
    return _run_alone(statement, values, lambda result: int(result.rowcount))


def insert_alone(statement: Insert, values: Mapping[str, Any]) -> int:
    """Run one INSERT of one row that is a transaction by itself, as `write_alone` does; the id of the row.

    What takes more than one statement is the session's: all of it stands, or nothing.
    """
    return _run_alone(statement, values, lambda result: int(result.inserted_primary_key[0]))


def _run_alone(statement: Executable, values: Mapping[str, Any], take: Callable[[Any], Taken]) -> Taken:
    """What is taken of the statement's result.

    Whoever holds a connection never waits for a second, or all might wait for one
    another: where the session is in the middle of something, it runs this too.
    """
    options = single_statement_options(db.engine.dialect.name)
    if options is None or (db.session.registry.has() and db.session().in_transaction()):
        return take(db.session.execute(statement, values))
    with db.engine.connect() as connection:
        if options:  # of the connection: those of an engine are events, which cost more
            connection.execution_options(**options)
        taken = take(connection.execute(statement, values))
        if not options:
            connection.commit()
        return taken


def commit_if_begun() -> None:
    """Commit what was done with the session, if anything was; where nothing was, none is made for it."""
    if db.session.registry.has():
        db.session.commit()


def execute_write(statement: UpdateBase, values: Mapping[str, Any] | None = None) -> int:
    """Run an UPDATE or a DELETE, with values for its bound parameters; the number of rows that it met."""
    result = db.session.execute(statement, values, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount


def rows_behind(
    dialect: str, columns: Sequence[Any], place: Sequence[BindParameter[Any]], *, descending: bool
) -> ColumnElement[bool]:
    """Whether a row comes behind a place in the order of the columns, so written that an index on them is used.

    Args:
        dialect: MariaDB and MySQL find no range in a comparison of rows; the others find none in the long form.
        columns: of an index, in its order.
        place: a bound parameter for each column.
        descending: whether the greater ones come first.
    """
    pairs = list(zip(columns, place, strict=True))
    if dialect not in ("mysql", "mariadb"):
        here, there = tuple_(*columns), tuple_(*place)
        return here < there if descending else here > there
    return or_(
        *(
            and_(*(column == value for column, value in pairs[:length]), last < bound if descending else last > bound)
            for length, (last, bound) in enumerate(pairs)
        )
    )


ESCAPE = "/"  # in patterns; a backslash means something else to every database


def part(text: str) -> str:
    """The pattern of whatever has the text somewhere in it, for `LIKE … ESCAPE`."""
    for special in (ESCAPE, "%", "_"):
        text = text.replace(special, ESCAPE + special)
    return f"%{text}%"
