import click

from app.auth.service import prune
from app.cli import Group
from app.extensions import db

BATCH = 1000  # rows a transaction: nobody waits for a long one

tokens_cli = Group("tokens", help="Sessions and revoked tokens.")


@tokens_cli.command("prune")
def prune_tokens() -> None:
    """Remove expired sessions and revoked tokens."""
    removed = 0
    while batch := prune(BATCH):
        db.session.commit()
        removed += batch
    click.echo(f"Removed {removed} expired row(s).")
