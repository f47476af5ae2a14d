"""Counters of attempts in the database.

An attempt is reserved before the work that it costs.

A counter is a row of `failed_logins`. It counts within a window that begins with its first attempt. Each statement
changes the rows in the order of their keys, so that two requests cannot wait for each other.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from threading import Lock
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Integer,
    Table,
    bindparam,
    case,
    delete,
    literal_column,
    select,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite

from app.auth.models import FailedLogin
from app.data.base import db
from app.data.types import utcnow
from app.web.errors import ApiError, Code

DAY = 86_400  # seconds; a window that begins within a day after the last one may be longer, up to a day
HALF_KEY = 32  # hexadecimal digits

Admits = Callable[[Connection], bool]


def never(_connection: Connection) -> bool:
    return False


@dataclass(frozen=True)
class Counter:
    """One limit of one account or network.

    Args:
        key: the result of `counter_key`.
        limit: attempts in a window.  0: no limit.
        window_seconds: the length of the first window.
        growth: each further window within a day is so many times longer.
        retry_after: the `Retry-After` of a refusal in seconds.  None: until the window ends.
        admits: whether an attempt past the limit is nevertheless allowed.
    """

    key: str
    limit: int
    window_seconds: int
    growth: int = 1
    retry_after: int | None = None
    admits: Admits = never


def counter_key(who: str, what: str) -> str:
    """The key of a counter.

    It has no names and addresses, only hashes.

    Args:
        who: the account or the network.  Its hash begins the key, so that `delete_counters` finds all its counters.
        what: which of its counters.
    """
    return _digest(who) + _digest(what)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HALF_KEY]


def reserve(*counters: Counter) -> None:
    """Count an attempt at every counter.

    If one is at its limit, it counts at none.

    Commits in a transaction of its own.

    Raises:
        ApiError: 429 `too_many_attempts`, with `Retry-After` in seconds.
    """
    limited = [counter for counter in counters if counter.limit]
    if not limited:
        return
    now = _seconds()
    with _transaction() as connection:  # the error below rolls it back
        found = _count(connection, limited, now)
        waits = [
            counter.retry_after or max(1, resets_at - now)
            for counter in limited
            for attempts, resets_at in [found[counter.key]]
            if attempts > counter.limit and not counter.admits(connection)
        ]
        if waits:
            raise ApiError(Code.too_many_attempts, headers={"Retry-After": str(max(waits))})


def settle(*, given_back: Iterable[Counter], cleared: Iterable[Counter] = ()) -> None:
    """Undo the reservation at some counters and reset others.

    Commits in a transaction of its own.
    """
    rows = [_row(counter, attempts=1, resets_at=0, expires_at=0) for counter in given_back if counter.limit]
    rows += [_row(counter, attempts=0, resets_at=0, expires_at=0) for counter in cleared if counter.limit]
    if rows:
        with _transaction() as connection:
            dialect = connection.dialect
            connection.execute(_settling(dialect.name, returns=dialect.insert_returning), _in_order(rows))
            connection.execute(_DELETE_ENDED, {"keys": [row["key"] for row in rows]})  # already locked, in order


def delete_counters(who: str) -> None:
    """Delete all counters of an account or a network.

    Commits in a transaction of its own.
    """
    begin = _digest(who)
    with _transaction() as connection:
        connection.execute(delete(_table).where(_c.key >= begin, _c.key < f"{begin}g"))  # digits sort before `g`


_table = cast("Table", FailedLogin.__table__)
_c = _table.c
_IS_OURS = _c.key.in_(bindparam("keys", expanding=True))
_DELETE_ENDED = delete(_table).where(_IS_OURS, _c.resets_at == 0)
_FOUND = select(_c.key, _c.attempts, _c.resets_at).where(_IS_OURS)


_sqlite_turn = Lock()


@contextmanager
def _transaction() -> Iterator[Connection]:
    """A transaction of its own.

    SQLite has no queue of writers: each looks for the lock again and again, and sleeps longer each time. So only one
    thread of the process waits for it, or a flood would keep others waiting for seconds.
    """
    with _sqlite_turn if db.engine.dialect.name == "sqlite" else nullcontext(), db.engine.begin() as connection:
        yield connection


def _seconds() -> int:
    return int(utcnow().timestamp())


def _row(counter: Counter, *, attempts: int, resets_at: int, expires_at: int) -> dict[str, Any]:
    return {
        "key": counter.key,
        "attempts": attempts,
        "window_seconds": counter.window_seconds,
        "growth": counter.growth,
        "resets_at": resets_at,
        "expires_at": datetime.fromtimestamp(expires_at, UTC),
    }


def _in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["key"])


def _count(connection: Connection, counters: list[Counter], now: int) -> dict[str, tuple[int, int]]:
    """Count an attempt.

    Returns the attempts and the end of the window by key.
    """
    rows = []
    for counter in counters:
        kept = counter.window_seconds if counter.growth == 1 else DAY
        rows.append(_row(counter, attempts=1, resets_at=now + counter.window_seconds, expires_at=now + kept))
    dialect = connection.dialect
    counted = connection.execute(_counting(dialect.name, returns=dialect.insert_returning), _in_order(rows))
    if not counted.returns_rows:
        counted = connection.execute(_FOUND, {"keys": [counter.key for counter in counters]})
    return {key: (attempts, resets_at) for key, attempts, resets_at in counted}


@cache
def _counting(dialect: str, *, returns: bool) -> Insert:
    """One statement that counts an attempt in each row.

    If the window of a row is over, the next one begins.
    """

    def changes(new: Any) -> dict[str, ColumnElement[Any]]:
        now = new.resets_at - new.window_seconds
        is_over = _c.resets_at <= now
        is_new_day = _c.resets_at - _c.window_seconds <= now - _DAY
        longer = _c.window_seconds * new.growth
        window = case(
            (is_over & is_new_day, new.window_seconds),
            (is_over & (longer > _DAY), _DAY),
            (is_over, longer),
            else_=_c.window_seconds,
        )
        # MariaDB assigns in this order.  So `resets_at` is last, and reads the new `window_seconds`.
        assigned = _c.window_seconds if dialect in MYSQL else window
        return {
            "attempts": case((is_over, _ONE), else_=_c.attempts + _ONE),
            "window_seconds": window,
            "expires_at": case((is_over, new.expires_at), else_=_c.expires_at),
            "resets_at": case((is_over, now + assigned), else_=_c.resets_at),
        }

    return _upsert(dialect, changes, returns=returns)


@cache
def _settling(dialect: str, *, returns: bool) -> Insert:
    """The statement that undoes an attempt in each row.

    It resets a row if `attempts` is 0.

    A row without attempts ends (`resets_at` is 0), unless its window is longer than the first one.
    """

    def changes(new: Any) -> dict[str, ColumnElement[Any]]:
        resets = new.attempts == _ZERO
        ends = resets | ((_c.attempts <= _ONE) & (_c.window_seconds == new.window_seconds))
        return {  # in this order, because MariaDB assigns one after the other
            "resets_at": case((ends, _ZERO), else_=_c.resets_at),
            "attempts": case((resets | (_c.attempts == _ZERO), _ZERO), else_=_c.attempts - _ONE),
        }

    return _upsert(dialect, changes, returns=returns)


MYSQL = ("mysql", "mariadb")
# Not bound parameters, which keep SQLAlchemy and PyMySQL from sending all rows in one statement.
_ZERO, _ONE, _DAY = (literal_column(str(number), Integer) for number in (0, 1, DAY))


def _upsert(dialect: str, changes: Callable[[Any], dict[str, ColumnElement[Any]]], *, returns: bool) -> Insert:
    """An INSERT of rows that changes those that exist.

    Args:
        dialect: the name of the SQL dialect.
        changes: makes the new values of the columns from the row that was to be inserted.
        returns: whether the database supports RETURNING; SQLite does since 3.35.
    """
    if dialect in MYSQL:
        inserting = mysql.insert(_table)
        upsert: Insert = inserting.on_duplicate_key_update(list(changes(inserting.inserted).items()))
    else:
        insert = (postgresql if dialect == "postgresql" else sqlite).insert(_table)
        upsert = insert.on_conflict_do_update(index_elements=["key"], set_=changes(insert.excluded))
    return upsert.returning(_c.key, _c.attempts, _c.resets_at) if returns else upsert
