"""Connection settings for SQLite, PostgreSQL, MariaDB and MySQL."""

import math
import select
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event, make_url
from sqlalchemy.engine import URL, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import InvalidatePoolError, OperationalError

from app.data.errors import reason

DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
CAN_LISTEN = hasattr(select, "poll")  # not on Windows
# Settings of each PostgreSQL connection.  Behind a pooler, the role must have them instead (docs/scaling.md).
POSTGRESQL_SETTINGS = {
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
    "timezone": "UTC",
}
# Seconds of a statement; MariaDB must answer before the driver gives up.  Migrations have no limit (migrations/env.py).
SQLITE_SECONDS, MARIADB_SECONDS, DRIVER_SECONDS = 5.0, 4, 5
CHECK_EVERY = 10_000  # instructions of SQLite, about 0.3 ms
# KiB of SQLite's page cache per connection: the inner pages of ten million revoked tokens.
CACHE = 8000
MAX_CONNECTIONS = 16  # per process; a thread that waits for a hash holds none


class BoundedConnection(sqlite3.Connection):
    """Interrupts a statement that takes too much of the processor's time.

    SQLite has no setting for it.  A wait for a lock has a limit of its own.
    """

    seconds = SQLITE_SECONDS
    deadline = math.inf

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.set_progress_handler(self._is_late, CHECK_EVERY)

    def cursor(self, *args: Any, **options: Any) -> Any:
        """A cursor.

        SQLAlchemy makes one for each statement.
        """
        self.deadline = time.thread_time() + self.seconds
        return super().cursor(*args, **options)

    def _is_late(self) -> bool:
        return time.thread_time() > self.deadline


def database_url(plain: str) -> URL:
    """The URL with our driver, unless it names one."""
    url = make_url(plain)
    return url.set(drivername=DRIVERS.get(url.drivername, url.drivername))


def engine_options(url: URL, threads: int, *, pooler: bool = False) -> dict[str, Any]:
    """Engine options: a shared pool, and a limit on every wait.

    Args:
        url: the database.
        threads: the number of threads that share the pool.
        pooler: whether the URL is that of a pooler in transaction mode.
    """
    backend = url.get_backend_name()
    listens = CAN_LISTEN and url.get_driver_name() == "psycopg"
    options: dict[str, Any] = {
        "hide_parameters": True,  # keeps values such as hashes out of logs
        # A ping finds connections that a restart of the database has closed.  For PostgreSQL, `_replace_dead` finds
        # them at a lower cost.  An SQLite file needs none.
        "pool_pre_ping": backend != "sqlite" and not listens,
        "pool_events": [(_replace_dead, "checkout")] if listens else [],
    }
    if backend == "sqlite":
        # The first write of a transaction waits for the lock.  By default, a transaction that reads first and writes
        # later fails with "database is locked".
        options["connect_args"] = {"timeout": 5, "isolation_level": "IMMEDIATE", "factory": BoundedConnection}
    if url.database not in (None, "", ":memory:"):  # SQLite in memory is one connection
        options |= {
            # SQLite: one per thread, so that waiting writers leave connections to readers.
            "pool_size": threads if backend == "sqlite" else min(threads, MAX_CONNECTIONS),
            "max_overflow": 0,
            "pool_use_lifo": True,  # the last used connection has the warmest caches
            "pool_timeout": 2,
            "pool_recycle": 1800,
        }
    if backend == "postgresql":
        options["skip_autocommit_rollback"] = True  # in autocommit there is nothing to roll back
        options["connect_args"] = {
            "connect_timeout": 2,
            "tcp_user_timeout": 5000,
            "application_name": "latchkey",
        } | (
            {"prepare_threshold": None}  # prepared statements do not survive a change of connection
            if pooler
            else {"options": " ".join(f"-c {name}={value}" for name, value in POSTGRESQL_SETTINGS.items())}
        )
    if backend in ("mysql", "mariadb"):
        options["isolation_level"] = "READ COMMITTED"  # no gap locks, so logins do not block each other
        options["connect_args"] = {
            "connect_timeout": 2,
            "read_timeout": DRIVER_SECONDS,
            "write_timeout": DRIVER_SECONDS,
            "charset": "utf8mb4",
            "init_command": (
                "SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = 3, "
                "sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO' "
                # Each server reads its own comment.  MySQL limits only SELECT.
                f"/*M! , max_statement_time = {MARIADB_SECONDS} */ "
                f"/*!80000 , max_execution_time = {MARIADB_SECONDS * 1000} */"
            ),
        }
    return options


@event.listens_for(Engine, "connect")
def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """Set WAL, durable commits, foreign keys and the cache size.

    With WAL, readers do not wait.
    """
    if isinstance(connection, sqlite3.Connection):
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", f"cache_size = -{CACHE}"):
            connection.execute(f"PRAGMA {pragma}")


def _replace_dead(connection: Any, _record: object, _proxy: object) -> None:
    """Replace the pool's connections if the server has closed this one.

    A server sends nothing to an idle connection.  So only a readable socket is checked, and other
    requests pay for no ping.
    """
    listening = select.poll()
    listening.register(connection.fileno(), select.POLLIN)
    if not listening.poll(0):
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except connection.Error:
        raise InvalidatePoolError from None


@contextmanager
def short_lock_waits(connection: Connection) -> Iterator[None]:
    """Wait at most 100 ms for a lock within the block.

    MariaDB counts in seconds, so it does not wait for table locks at all; MySQL waits for a second.
    Statements avoid row locks with `SKIP LOCKED`.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")  # ends with the transaction
        yield
        return
    if connection.dialect.name == "sqlite":
        before = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
        short, usual = "PRAGMA busy_timeout = 100", f"PRAGMA busy_timeout = {before}"
    else:
        seconds = 0 if getattr(connection.dialect, "is_mariadb", False) else 1
        short, usual = (f"SET SESSION lock_wait_timeout = {value}" for value in (seconds, "DEFAULT"))
    connection.exec_driver_sql(short)
    try:
        yield
    finally:
        connection.exec_driver_sql(usual)


def takes_writes(connection: Connection) -> bool:
    """Whether the database accepts writes.

    False for a replica and a read-only file.  Call it outside a transaction.  It holds and waits for no lock.
    """
    if connection.dialect.name == "postgresql":
        return bool(connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "off")
    if connection.dialect.name in ("mysql", "mariadb"):
        return connection.exec_driver_sql("SELECT @@global.read_only").scalar_one() in (0, "OFF")
    # SQLite reveals it only to a writer.  A busy database counts as writable.
    patience = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.exec_driver_sql("PRAGMA user_version = 0")  # unused, and rolled back
        connection.exec_driver_sql("ROLLBACK")
    except OperationalError as error:
        return reason(error) == sqlite3.SQLITE_BUSY
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {patience}")
    return True
