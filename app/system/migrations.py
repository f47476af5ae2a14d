"""How the schema of the database stands to the migrations of this code."""

from enum import Enum

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app

from app.data.base import db
from app.extensions import migrate


class Schema(Enum):
    """Where the database is, as this code sees it."""

    behind = "behind"  # at an older migration, or at none
    newest = "newest"
    ahead = "ahead"  # at a migration that this code does not have


def schema() -> Schema:
    """Where the schema of the database is.

    A migration that this code does not have is of a newer release, which only
    adds to what is there (docs/operations.md): this code can go on.
    """
    current = set(MigrationContext.configure(db.session.connection()).get_current_heads())
    known, newest = _migrations()
    if current - known:
        return Schema.ahead
    return Schema.newest if current == newest else Schema.behind


def _migrations() -> tuple[set[str], set[str]]:
    """All migrations that this code has, and the newest of them: read once a process."""
    if "migrations" not in current_app.extensions:
        scripts = ScriptDirectory(migrate.directory)
        known = {script.revision for script in scripts.walk_revisions()}
        current_app.extensions["migrations"] = known, set(scripts.get_heads())
    found: tuple[set[str], set[str]] = current_app.extensions["migrations"]
    return found
