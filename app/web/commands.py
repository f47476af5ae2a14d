"""Commands that fail with one clear line and a non-zero exit code."""

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
    """Turn expected errors into one line for the operator."""
    try:
        yield
    except ApiError as error:
        raise click.ClickException(error.message) from error
    except SQLAlchemyError as error:
        if not is_unavailable(error):
            raise
        raise click.ClickException(
            "The database is not available. Check DATABASE_URL and run `flask db upgrade`."
        ) from error


class Group(AppGroup):
    """A group of commands with `plain_errors`."""

    def invoke(self, ctx: click.Context) -> Any:
        with plain_errors():
            return super().invoke(ctx)
