"""Compare the schema of the database with the migrations of this code."""

from enum import Enum

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app

from app.data.base import db
from app.extensions import migrate


class Schema(Enum):
    """The state of the database schema, relative to this code."""

    behind = "behind"  # at an older migration, or at none
    newest = "newest"
    ahead = "ahead"  # at a migration that this code does not have


def schema() -> Schema:
    """The state of the database schema.

    An unknown migration comes from a newer release.  Migrations only add (docs/operations.md),
    so this code still works with that schema.
    """
    current = set(MigrationContext.configure(db.session.connection()).get_current_heads())
    known, newest = _migrations()
    if current - known:
        return Schema.ahead
    return Schema.newest if current == newest else Schema.behind


def _migrations() -> tuple[set[str], set[str]]:
    """All migrations and the newest ones, read once per process."""
    if "migrations" not in current_app.extensions:
        scripts = ScriptDirectory(migrate.directory)
        known = {script.revision for script in scripts.walk_revisions()}
        current_app.extensions["migrations"] = known, set(scripts.get_heads())
    found: tuple[set[str], set[str]] = current_app.extensions["migrations"]
    return found
