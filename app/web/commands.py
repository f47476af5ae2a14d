"""How our commands fail: in one line that says what to do, with an exit code that is not 0."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy.exc import SQLAlchemyError

from app.data.errors import is_unavailable
from app.web.errors import ApiError


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what is no bug into a line for the operator."""
    try:
        yield
    except ApiError as error:
        raise click.ClickException(error.message) from error
    except SQLAlchemyError as error:
        if not is_unavailable(error):
            raise
        raise click.ClickException(
            "The database is not available: check DATABASE_URL, and that `flask db upgrade` has run."
        ) from error


class Group(AppGroup):
    """A group of commands that fail plainly."""

    def invoke(self, ctx: click.Context) -> Any:
        with plain_errors():
            return super().invoke(ctx)
