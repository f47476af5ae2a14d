"""Run one statement; build parts of statements that differ between databases."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeVar, TypeVarTuple, cast

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    CursorResult,
    Executable,
    Insert,
    Row,
    Select,
    Table,
    UpdateBase,
    and_,
    or_,
    tuple_,
)
from sqlalchemy.orm import make_transient_to_detached

from app.data.base import Base, db

Columns = TypeVarTuple("Columns")
Model = TypeVar("Model", bound=Base)
Outcome = TypeVar("Outcome")


def read(statement: Select[*Columns], values: Mapping[str, Any] | None = None) -> Sequence[Row[*Columns]]:
    """Read committed rows without a transaction.

    It costs half as much as the session.  Inside a transaction of the session it reads what that
    transaction sees.

    Args:
        statement: selects columns, not objects.
        values: of its bound parameters.
    """
    return _run_alone(statement, values, lambda result: result.all())


def write(statement: UpdateBase, values: Mapping[str, Any] | None = None, *, alone: bool = False) -> int:
    """Run an UPDATE or a DELETE in the session's transaction.

    Args:
        statement: changes or deletes rows.
        values: of its bound parameters.
        alone: commit this statement at once, whatever the request does later.
            Inside a transaction of the session it is a part of that transaction.

    Returns:
        The number of rows that it matched.
    """
    if alone:
        return _run_alone(statement, values, lambda result: int(result.rowcount))
    result = db.session.execute(statement, values, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount


def insert(model: type[Model], **values: Any) -> Model:
    """Insert one row with one statement.

    The validators of the model and the Python defaults of its columns apply.
    Inside a transaction of the session the row is a part of that transaction.
    Otherwise it is committed at once.

    Args:
        model: of the row.  Every default is a Python default, because the
            database does not send a `server_default` back.
        values: of its columns.

    Returns:
        The row, with every column readable, outside the session.

    Raises:
        IntegrityError: a constraint refuses the row; `unique_or` translates it.
    """
    row = model(**values)
    statement, defaults = _insertion(model)
    loaded = row.__dict__
    loaded.update((name, default()) for name, default in defaults if name not in loaded)
    sent = {name: value for name, value in loaded.items() if name != "_sa_instance_state"}
    loaded.update(_run_alone(statement, sent, lambda result: result.inserted_primary_key._mapping))  # noqa: SLF001 -- public
    make_transient_to_detached(row)
    return row


@cache
def _insertion(model: type[Base]) -> tuple[Insert, list[tuple[str, Callable[[], Any]]]]:
    """The INSERT of a model, and the defaults of its columns.

    A nullable column without a default gets None.  `insert` calls the defaults, because an execution
    that calls them costs a tenth of a request more.
    """
    table = cast("Table", model.__table__)
    return Insert(table), [(column.key, default) for column in table.c if (default := _default_of(column))]


def _default_of(column: Column[Any]) -> Callable[[], Any] | None:
    default: Any = column.default
    if default is not None:
        return partial(default.arg, None) if default.is_callable else lambda: default.arg
    is_null = column.nullable and column.server_default is None
    return (lambda: None) if is_null else None


def _run_alone(statement: Executable, values: Mapping[str, Any] | None, outcome: Callable[[Any], Outcome]) -> Outcome:
    """Run a statement in the session's open transaction or in its own.

    A thread that holds a connection must not wait for a second one, or all threads might wait.
    """
    if db.session.registry.has() and db.session().in_transaction():
        return outcome(db.session.execute(statement, values))
    with db.engine.connect() as connection:
        if db.engine.dialect.name == "postgresql":  # saves two round trips; on MariaDB it would cost two
            connection.execution_options(isolation_level="AUTOCOMMIT")  # as an engine's option it costs more
        found = outcome(connection.execute(statement, values))
        connection.commit()
        return found


def rows_after(
    dialect: str, columns: Sequence[Any], position: Sequence[BindParameter[Any]], *, descending: bool
) -> ColumnElement[bool]:
    """Whether a row comes after a position in the columns' order.

    Args:
        dialect: MariaDB and MySQL use an index only for the long form, the others only for a comparison of rows.
        columns: of an index, in its order.
        position: a bound parameter for each column.
        descending: whether greater values come first.
    """
    pairs = list(zip(columns, position, strict=True))
    if dialect not in ("mysql", "mariadb"):
        row, bound_row = tuple_(*columns), tuple_(*position)
        return row < bound_row if descending else row > bound_row
    return or_(
        *(
            and_(*(column == value for column, value in pairs[:length]), last < bound if descending else last > bound)
            for length, (last, bound) in enumerate(pairs)
        )
    )


ESCAPE = "/"  # in patterns; each database reads a backslash differently


def like_pattern(text: str) -> str:
    """The pattern of `LIKE … ESCAPE` for values that contain the text."""
    for special in (ESCAPE, "%", "_"):
        text = text.replace(special, ESCAPE + special)
    return f"%{text}%"
