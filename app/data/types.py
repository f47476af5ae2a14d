"""What differs from database to database, once connected: types, order, errors (`connections.py` has the rest)."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Integer,
    String,
    and_,
    or_,
    tuple_,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.types import TypeDecorator

MAX_ID = 2**63 - 1
# 64 bits everywhere; SQLite counts up only a column that is called INTEGER, which has 64 bits there too.
BigId = BigInteger().with_variant(Integer, "sqlite")


def exact_text(length: int) -> String:
    """Text that sorts by its code points on every database.  The others do so by the rules of their tables."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def utcnow() -> datetime:
    """The one clock of the program: aware, in UTC."""
    return datetime.now(UTC)


class UTCDateTime(TypeDecorator[datetime]):
    """An instant.  Takes aware datetimes of any zone, gives aware ones in UTC, to the microsecond.

    By `combine`, which puts a zone to a time and takes it away in a quarter of the time of `replace`.
    """

    impl = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime is no instant")
        instant = value.astimezone(UTC)
        return instant if dialect.name == "postgresql" else datetime.combine(instant, instant.time())

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name == "postgresql":
            return value.astimezone(UTC)
        return datetime.combine(value, value.time(), UTC)


class Money(TypeDecorator[Decimal]):
    """An amount with two places, kept as whole hundredths: exact on every database, and it sorts as a number."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, _dialect: Dialect) -> int | None:
        return None if value is None else int(value.scaleb(2).to_integral_exact())

    def process_result_value(self, value: int | None, _dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value).scaleb(-2)


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


def takes_writes(connection: Connection) -> bool:
    """Whether the database is one to write to, and not a copy that follows another or a read-only file.

    Asked outside of a transaction, it holds and waits for no lock.
    """
    if connection.dialect.name == "postgresql":
        return bool(connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "off")
    if connection.dialect.name in ("mysql", "mariadb"):
        return connection.exec_driver_sql("SELECT @@global.read_only").scalar_one() in (0, "OFF")
    # SQLite tells only who tries to write. One that is busy writing for somebody else can be written to.
    patience = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.exec_driver_sql("PRAGMA user_version = 0")  # a number that nobody uses, and that is taken back
        connection.exec_driver_sql("ROLLBACK")
    except OperationalError as error:
        return _reason(error) == sqlite3.SQLITE_BUSY
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {patience}")
    return True


@contextmanager
def unique_or(conflict: Exception) -> Iterator[None]:
    """Raise `conflict` where the database says that a unique value is taken.

    Asking first and inserting then is a race; the constraint has the last word.
    """
    try:
        yield
    except IntegrityError as error:
        if not is_unique_violation(error):
            raise
        raise conflict from error


def is_unique_violation(error: IntegrityError) -> bool:
    """Whether a unique constraint or a primary key refused the row."""
    return _reason(error) in (
        "23505",
        1062,
        sqlite3.SQLITE_CONSTRAINT_UNIQUE,
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    )


def is_broken_reference(error: Exception) -> bool:
    """Whether a foreign key refused the row: what it refers to was deleted in the meantime."""
    return _reason(error) in ("23503", 1452, sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY)


def is_deadlock(error: Exception) -> bool:
    """Whether the database ended this transaction to let another go on: whoever begins again gets through."""
    return _reason(error) in ("40P01", 1213)


def _reason(error: Exception) -> str | int | None:
    """The database's own word for why: PostgreSQL's SQLSTATE, MariaDB's error number, SQLite's extended code."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", None)
    number = next(iter(getattr(cause, "args", ())), None)
    return number if isinstance(number, int) else getattr(cause, "sqlstate", None)


def is_unavailable(error: Exception) -> bool:
    """Whether the database, and not the program, is at fault: away, locked, full, read-only, or without our tables."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True  # lost: psycopg files a transaction that was idle for too long under errors of the program
    if isinstance(error, ProgrammingError):
        return _reason(error) in ("42P01", "42703", 1146)  # no such table or column
    if _reason(error) in (4025, 3819):
        return False  # MariaDB and MySQL file a violated check under their operational errors
    return isinstance(error, OperationalError | InterfaceError | PoolTimeoutError) or _reason(error) == "25006"
