"""The extensions, made once and bound to an application by `create_app()`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar, TypeVarTuple, cast

import flask_sqlalchemy.session
from flask_jwt_extended import JWTManager
from flask_migrate import Migrate
from flask_smorest import Api
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import CursorResult, Executable, Insert, MetaData, Row, Select, UpdateBase
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase

from app.data.connections import single_statement_options

Columns = TypeVarTuple("Columns")
Taken = TypeVar("Taken")


class Base(DeclarativeBase):
    """What every model derives from.

    Not `db.Model`, which type checkers cannot see; sessions, `db` and
    migrations work with it all the same.
    """

    # Every constraint has a name that can be foretold, so that a migration can drop it on any database.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    __table_args__: Any = {  # noqa: RUF012 -- SQLAlchemy's own form
        "mysql_charset": "utf8mb4",
        "mysql_collate": "utf8mb4_bin",  # names differ by their exact characters, as on the other databases
        "sqlite_autoincrement": True,  # the id of a deleted user is never given to a new one
    }


class Session(flask_sqlalchemy.session.Session):
    """One that can be closed though its connection is lost: there is nothing to take back, and the answer stands."""

    def close(self) -> None:
        with suppress(DBAPIError):  # raised once everything is closed; behind every handler, it would be a 500
            super().close()


# What was loaded stays readable after the commit: an answer costs no second query.
db = SQLAlchemy(metadata=Base.metadata, session_options={"class_": Session, "expire_on_commit": False})
migrate = Migrate()
jwt = JWTManager()
api = Api()
api.DEFAULT_ERROR_RESPONSE_NAME = None  # every error of an operation is named (`openapi.py`)


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
