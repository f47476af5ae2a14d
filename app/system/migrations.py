"""Which migrations the database has, and which there are."""

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app

from app.extensions import db, migrate


def current_migrations() -> set[str]:
    """Where the schema of the database is."""
    return set(MigrationContext.configure(db.session.connection()).get_current_heads())


def newest_migrations() -> set[str]:
    """The heads of the migration scripts, read once a process."""
    if "newest_migrations" not in current_app.extensions:
        current_app.extensions["newest_migrations"] = set(ScriptDirectory(migrate.directory).get_heads())
    heads: set[str] = current_app.extensions["newest_migrations"]
    return heads
