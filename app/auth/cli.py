import time
from collections.abc import Callable
from functools import partial
from logging import WARNING

import click

from app.auth.pruning import Reached, prune
from app.auth.service import end_sessions_of_all
from app.data.base import db
from app.data.types import utcnow
from app.web.commands import Group
from app.web.logs import log_event

BATCH = 1000  # rows a transaction, at most
STEP = 0.01  # seconds a transaction: whoever writes meanwhile hardly notices

tokens_cli = Group("tokens", help="Sessions and revoked tokens.")


@tokens_cli.command("prune")
def prune_tokens() -> None:
    """Remove expired sessions, revoked tokens, counts of failed logins and idempotency keys."""
    removed = _in_batches(partial(prune, now=utcnow()))  # or it would not end where some expire all the time
    click.echo(f"Removed {removed} expired row(s).")


@tokens_cli.command("revoke-all")
@click.confirmation_option(prompt="Everybody will have to log in again. Go on?")
def revoke_all() -> None:
    """End every session of everybody, as after the restore of a backup, which knows of no logout that came after it."""
    ended = _in_batches(partial(end_sessions_of_all, begun_before=utcnow()))
    log_event("session_ended", level=WARNING, sessions="of everybody", number=ended, by="command line")
    click.echo(f"Ended {ended} session(s).")


def _in_batches(remove: Callable[[int, Reached], int]) -> int:
    """Remove all that there is, and let others write in between; the number of rows removed.

    Args:
        remove: at most so many rows behind those that were reached, and says how many.
    """
    removed, rows = 0, min(100, BATCH)
    reached: Reached = {}
    while True:
        began = time.perf_counter()
        batch = remove(rows, reached)
        if not batch and not reached:
            return removed
        if not batch:  # once more from the beginning: somebody may have held a row
            reached = {}
            continue
        db.session.commit()
        removed += batch
        took = time.perf_counter() - began
        rows = max(1, min(BATCH, int(rows * STEP / max(took, STEP / BATCH))))
        time.sleep(took)  # as long again: SQLite's writers find the lock by looking now and then
