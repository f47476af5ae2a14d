"""How to connect to each database, and how its connections are kept alive: SQLite, PostgreSQL, MariaDB and MySQL."""

import select
import sqlite3
from enum import Enum
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
CAN_LISTEN = hasattr(select, "poll")  # Windows has no such thing
# What every connection to PostgreSQL has: asked for when it is made, or by its role, where a pooler is in between.
POSTGRESQL_SETTINGS = {
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
    "timezone": "UTC",
}
# KiB of a file of SQLite that each connection keeps in memory: room for the inner pages of ten million revoked tokens.
CACHE = 8000
MAX_CONNECTIONS = 16  # of a process to a server: a thread that waits for a hash holds none


def database_url(plain: str) -> URL:
    """The URL with the driver that we ship; one that names a driver already is left alone."""
    url = make_url(plain)
    return url.set(drivername=DRIVERS.get(url.drivername, url.drivername))


def engine_options(url: URL, threads: int, *, pooler: bool = False) -> dict[str, Any]:
    """Options of the engine: a pool that the threads share, and a bound on every wait.

    Args:
        url: of the database.
        threads: that share the pool.
        pooler: whether what answers there lends connections, each for one transaction.
    """
    backend = url.get_backend_name()
    listens = CAN_LISTEN and url.get_driver_name() == "psycopg"
    options: dict[str, Any] = {
        "hide_parameters": True,  # a statement's values, hashes among them, never reach a log
        # A restart of the database costs no request. PostgreSQL is listened to instead, which costs less, and a file of
        # SQLite does not go away.
        "pool_pre_ping": backend != "sqlite" and not listens,
        "pool_events": [(_replace_dead, "checkout")] if listens else [],
    }
    if backend == "sqlite":
        # sqlite3 begins a transaction at the first write, and so at once as a writer: a transaction
        # that reads first and writes later cannot end in "database is locked".
        options["connect_args"] = {"timeout": 5, "isolation_level": "IMMEDIATE"}
    if url.database not in (None, "", ":memory:"):  # SQLite in memory is one connection
        options |= {
            # SQLite's are files of ours, not a server's: writers that wait for a lock must leave some to the readers.
            "pool_size": threads if backend == "sqlite" else min(threads, MAX_CONNECTIONS),
            "max_overflow": 0,
            "pool_use_lifo": True,  # the one that was used last knows most: pages of the file, prepared statements
            "pool_timeout": 2,
            "pool_recycle": 1800,
        }
    if backend == "postgresql":
        options["skip_autocommit_rollback"] = True  # where there is no transaction, there is none to take back
        options["connect_args"] = {"connect_timeout": 2, "tcp_user_timeout": 5000, "application_name": "latchkey"} | (
            {"prepare_threshold": None}  # the next transaction has another connection, or what others have prepared
            if pooler
            else {"options": " ".join(f"-c {name}={value}" for name, value in POSTGRESQL_SETTINGS.items())}
        )
    if backend in ("mysql", "mariadb"):
        options["isolation_level"] = "READ COMMITTED"  # no gap locks: two logins never wait for one another
        options["connect_args"] = {
            "connect_timeout": 2,
            "read_timeout": 5,
            "write_timeout": 5,
            "charset": "utf8mb4",
            "init_command": (
                "SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = 3, "
                "sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO'"
            ),
        }
    return options


@event.listens_for(Engine, "connect")
def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """Readers do not wait for writers, a commit survives a power cut, and foreign keys hold."""
    if isinstance(connection, sqlite3.Connection):
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", f"cache_size = -{CACHE}"):
            connection.execute(f"PRAGMA {pragma}")


def _replace_dead(connection: Any, _record: object, _proxy: object) -> None:
    """Replace a connection that its server has ended, and every other of its pool.

    A server has nothing to say to a connection that rests. Only where there is
    something to be read is it asked, and so no request pays for a question.
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


class SingleStatement(Enum):
    """How one statement becomes a transaction of its own at the least cost."""

    AUTOCOMMIT = "a connection of its own; the server commits"
    OWN_COMMIT = "a connection of its own, and a commit"
    SHARED = "the session's connection, and a commit after a write"


def single_statement(dialect: str) -> SingleStatement:
    """How this database runs one statement by itself."""
    if dialect == "postgresql":
        return SingleStatement.AUTOCOMMIT
    if dialect == "sqlite":
        return SingleStatement.OWN_COMMIT
    return SingleStatement.SHARED  # MariaDB and MySQL: each change of autocommit is a round trip


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
        return reason(error) == sqlite3.SQLITE_BUSY
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {patience}")
    return True
