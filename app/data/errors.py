"""Classify database errors on every database."""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.data.base import Base

_MARIADB_KEY = re.compile(r"for key '(?:[^'.]+\.)?([^']+)'$")  # MySQL puts the table before the name


@contextmanager
def unique_or(conflict: Exception | Mapping[str, Exception]) -> Iterator[None]:
    """Raise `conflict` if a unique constraint is violated in the block.

    Looking first and inserting later is a race, so the constraint decides.

    Args:
        conflict: the exception; or one per constraint, by name: `{"uq_users_email": …}`.  The
            violation of another constraint stays an IntegrityError.
    """
    try:
        yield
    except IntegrityError as error:
        if not is_unique_violation(error):
            raise
        named = conflict.get(violated_constraint(error) or "") if isinstance(conflict, Mapping) else conflict
        if named is None:
            raise
        raise named from error


def violated_constraint(error: IntegrityError) -> str | None:
    """The violated unique constraint or index, by its name in the models."""
    if isinstance(error.orig, sqlite3.Error):
        return _constraint_of_columns(str(error.orig).partition(": ")[2])
    if diagnosis := getattr(error.orig, "diag", None):  # PostgreSQL
        return cast("str | None", diagnosis.constraint_name)
    found = _MARIADB_KEY.search(str(error.orig.args[-1]) if error.orig else "")
    return found[1] if found else None


def _constraint_of_columns(qualified: str) -> str | None:
    """Find the constraint by its columns, such as `users.a, users.b`.

    SQLite reports only the columns.
    """
    table = Base.metadata.tables.get(qualified.partition(".")[0])
    if table is None:
        return None
    names = [column.rpartition(".")[2] for column in qualified.split(", ")]
    unique: list[UniqueConstraint | Index] = [rule for rule in table.constraints if isinstance(rule, UniqueConstraint)]
    unique += [index for index in table.indexes if index.unique]
    return next((str(rule.name) for rule in unique if [column.name for column in rule.columns] == names), None)


def is_unique_violation(error: IntegrityError) -> bool:
    """Whether a unique constraint or a primary key refused the row."""
    return reason(error) in (
        "23505",
        1062,
        sqlite3.SQLITE_CONSTRAINT_UNIQUE,
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    )


def is_broken_reference(error: Exception) -> bool:
    """Whether a foreign key was violated: the referenced row does not exist."""
    return reason(error) in ("23503", 1452, sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY)


def is_deadlock(error: Exception) -> bool:
    """The database rolled this back as a deadlock victim.  Retrying is safe."""
    return reason(error) in ("40P01", 1213)


def reason(error: Exception) -> str | int | None:
    """The database's error code: SQLSTATE, MariaDB's number or SQLite's extended code."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", None)
    number = next(iter(getattr(cause, "args", ())), None)
    return number if isinstance(number, int) else getattr(cause, "sqlstate", None)


def is_unavailable(error: Exception) -> bool:
    """Whether the database is unreachable, locked, full, read-only or not migrated."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True  # a lost connection; psycopg reports an idle timeout as an InternalError
    if isinstance(error, ProgrammingError):
        return reason(error) in ("42P01", "42703", 1146)  # no such table or column
    if reason(error) in (4025, 3819):
        return False  # MariaDB and MySQL report a violated check as an OperationalError
    return isinstance(error, OperationalError | InterfaceError | PoolTimeoutError) or reason(error) == "25006"
