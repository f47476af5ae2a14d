"""The base class of all models, and `db` (session and engine)."""

from contextlib import suppress
from typing import Any

import flask_sqlalchemy.session
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """The base class of every model.

    Use it in place of `db.Model`, which type checkers cannot see.
    """

    # Predictable constraint names, so that a migration can drop a constraint on every database.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    __table_args__: Any = {  # noqa: RUF012 -- SQLAlchemy's form
        "mysql_charset": "utf8mb4",
        "mysql_collate": "utf8mb4_bin",  # compare exact characters, as on the other databases
        "sqlite_autoincrement": True,  # never reuse the id of a deleted row
    }


class Session(flask_sqlalchemy.session.Session):
    """Ignore a lost connection in `close()`: the transaction is already over."""

    def close(self) -> None:
        with suppress(DBAPIError):  # no error handler would see it, so it would be a 500
            super().close()


# Objects stay readable after the commit, so that the response needs no second query.
db = SQLAlchemy(metadata=Base.metadata, session_options={"class_": Session, "expire_on_commit": False})
