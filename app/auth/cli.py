import time
from collections.abc import Iterator
from logging import WARNING

import click

from app.data.base import db
from app.data.expiry import expired_batches
from app.sessions.service import end_sessions_of_all
from app.web.commands import Group, with_progress
from app.web.logs import log_event

BATCH = 1000  # the most rows of a transaction
STEP = 0.01  # seconds of a transaction: other writers hardly notice

tokens_cli = Group("tokens", help="Sessions and revoked tokens.")


@tokens_cli.command("prune")
def prune_tokens() -> None:
    """Delete expired rows: sessions, revoked tokens, failed logins, idempotency keys."""
    removed = sum(with_progress(expired_batches(_batch_sizes()), "Deleted rows"))
    click.echo(f"Deleted {removed} expired row(s).")


@tokens_cli.command("revoke-all")
@click.confirmation_option(prompt="All users will have to log in again. Continue?")
def revoke_all() -> None:
    """End all sessions of all users.

    Use it after restoring a backup, which lacks later logouts.
    """
    ended = 0
    for number in with_progress(end_sessions_of_all(_batch_sizes()), "Ended sessions"):
        db.session.commit()
        ended += number
    log_event("session_ended", level=WARNING, sessions="of everybody", number=ended, by="command line")
    click.echo(f"Ended {ended} session(s).")


def _batch_sizes() -> Iterator[int]:
    """Yield batch sizes, so that a transaction takes about STEP seconds.

    Sleeps after each batch as long as the batch took.
    """
    rows = min(100, BATCH)
    while True:
        began = time.perf_counter()
        yield rows
        took = time.perf_counter() - began
        rows = max(1, min(BATCH, int(rows * STEP / max(took, STEP / BATCH))))
        time.sleep(took)  # SQLite's writers only look for the lock now and then
