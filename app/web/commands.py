"""Commands that fail with one clear line and a non-zero exit code."""

import sys
import time
from collections.abc import Iterable, Iterator
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


SECONDS = 10  # between two lines of progress


def with_progress(counts: Iterable[int], label: str, total: int | None = None) -> Iterator[int]:
    """Yield the counts, and show their sum on standard error.

    On a terminal it is a bar, elsewhere a line every ten seconds.

    Args:
        counts: of a long command, one after the other.
        label: what they count.
        total: their sum, if it is known.
    """
    if sys.stderr.isatty():
        numbers = (number for number in counts)  # whose length click does not guess
        with click.progressbar(numbers, total, label=label, show_pos=True, file=sys.stderr) as bar:
            for number in numbers:
                bar.update(number)
                yield number
        return
    done, written_at = 0, time.monotonic()
    for number in counts:
        done += number
        if time.monotonic() - written_at >= SECONDS:
            click.echo(f"{label}: {done:,}" + (f" of {total:,}" if total else ""), err=True)
            written_at = time.monotonic()
        yield number


class Group(AppGroup):
    """A group of commands with `plain_errors`."""

    def invoke(self, ctx: click.Context) -> Any:
        with plain_errors():
            return super().invoke(ctx)
