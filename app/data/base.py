"""The declarative base of every model, and `db`, the session and the engine."""

from contextlib import suppress
from typing import Any

import flask_sqlalchemy.session
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase


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
