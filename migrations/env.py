"""Run migrations for `flask db …`, one job at a time.

Unlike the template of Flask-Migrate, this file does not change the loggers and prints no warning.
"""

import math
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import click
from alembic import context
from alembic.autogenerate import renderers
from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations.ops import MigrateOperation
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import Connection, Engine, NullPool, Table, create_engine, text
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import TypeDecorator

LOCK = 7_239_001  # an arbitrary number, the same in every job


class KeepWhatReflectionMisses(SQLiteImpl):
    """Keeps AUTOINCREMENT and the triggers when batch mode rebuilds a table."""

    __dialect__ = "sqlite"  # Alembic now uses this class for SQLite
    triggers: Sequence[str] = ()  # of the table that is being rebuilt

    def create_table(self, table: Table, **options: Any) -> None:
        name = table.name.removeprefix("_alembic_tmp_")
        if name != table.name and self.connection is not None:
            query = text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :name")
            if "AUTOINCREMENT" in self.connection.execute(query, {"name": name}).scalar_one():
                table.dialect_options["sqlite"]["autoincrement"] = True
            query = text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :name")
            self.triggers = self.connection.execute(query, {"name": name}).scalars().all()
        super().create_table(table, **options)

    def rename_table(self, old_table_name: str, *names: Any, **options: Any) -> None:
        super().rename_table(old_table_name, *names, **options)
        if old_table_name.startswith("_alembic_tmp_"):
            for trigger in self.triggers:
                self._exec(text(trigger))


class RestoreAutoincrement(MigrateOperation):
    """Rebuilds an SQLite table that has lost AUTOINCREMENT."""

    def __init__(self, table: str) -> None:
        self.table = table

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """The text that `flask db check` prints."""
        lost = f"table {self.table} has lost AUTOINCREMENT and reuses ids"
        return ("restore_autoincrement", f"{lost}: `flask db migrate` writes the repair")


@renderers.dispatch_for(RestoreAutoincrement)
def render_restoration(_autogen: Any, operation: RestoreAutoincrement) -> str:
    table = f'"{operation.table}", recreate="always", table_kwargs={{"sqlite_autoincrement": True}}'
    return (
        'if op.get_context().dialect.name == "sqlite":\n'
        f"    with op.batch_alter_table({table}):\n"
        "        pass  # rebuilt with AUTOINCREMENT"
    )


def is_in_models(name: str | None, _kind: str, _parents: Any) -> bool:
    """Whether the models have a table or an index of this name.

    They do not have the indexes of searches.
    """
    return not (name or "").startswith("search_")


def import_models() -> None:
    """Import the models of every feature.

    A feature without a route has tables too.
    """
    for path in sorted(Path(current_app.root_path).glob("*/models.py")):
        import_module(f"{current_app.import_name}.{path.parent.name}.models")


def without_autoincrement(connection: Connection) -> Iterator[str]:
    """The tables that lack AUTOINCREMENT although their models have it."""
    query = text("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    made: dict[str, str] = {row.name: row.sql for row in connection.execute(query)}
    for table in current_app.extensions["migrate"].db.metadata.sorted_tables:
        wanted = str(CreateTable(table).compile(connection))
        if "AUTOINCREMENT" in wanted and "AUTOINCREMENT" not in made.get(table.name, wanted):
            yield table.name


def restore_autoincrement(migration: MigrationContext, _revision: Any, scripts: list[Any]) -> None:
    """Add lost AUTOINCREMENT to generated migrations and `flask db check`."""
    if migration.dialect.name == "sqlite" and migration.connection is not None:
        for name in without_autoincrement(migration.connection):
            scripts[0].upgrade_ops.ops.append(RestoreAutoincrement(name))
            scripts[0].downgrade_ops.ops.append(RestoreAutoincrement(name))


def render_item(kind: str, item: Any, autogen: Any) -> str | Literal[False]:
    """Render our column types as SQLAlchemy's.

    Old migrations must not depend on our code.
    """
    if kind != "type" or not isinstance(item, TypeDecorator):
        return False
    autogen.imports.add("from sqlalchemy.dialects import mysql")
    plain = item.impl_instance
    variants = (f".with_variant({_name(v)}, {dialect!r})" for dialect, v in sorted(plain._variant_mapping.items()))  # noqa: SLF001 -- there is no public way
    return _name(plain) + "".join(variants)


def _name(kind: Any) -> str:
    return f"{'mysql' if 'mysql' in type(kind).__module__ else 'sa'}.{kind!r}"


def engine() -> Engine:
    """A separate engine without a pool, so that the connection closes afterwards.

    The driver waits without limit, because building an index may take minutes.
    """
    every = current_app.config["SQLALCHEMY_ENGINE_OPTIONS"]
    options = {name: value for name, value in every.items() if not name.startswith(("pool_", "max_overflow"))}
    waits = ("read_timeout", "write_timeout")  # of PyMySQL
    options["connect_args"] = {name: value for name, value in every["connect_args"].items() if name not in waits}
    return create_engine(current_app.extensions["migrate"].db.engine.url, poolclass=NullPool, **options)


def begin_alone(connection: Connection) -> None:
    """Wait for other migration jobs, and lock them out until this ends.

    A statement of a migration has no time limit.
    """
    match connection.dialect.name:
        case "sqlite":
            raw: Any = connection.connection.dbapi_connection  # a BoundedConnection
            raw.seconds = math.inf
            # Batch mode drops and recreates tables, which must not trigger the foreign keys.
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.exec_driver_sql("PRAGMA busy_timeout = 60000")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        case "postgresql":
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("SET lock_timeout = '60s'"))
            connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        case "mysql" | "mariadb":
            is_mariadb = getattr(connection.dialect, "is_mariadb", False)
            limit = "max_statement_time" if is_mariadb else "max_execution_time"
            connection.execute(text(f"SET SESSION {limit} = 0"))
            lock = f"latchkey-{LOCK}"
            if connection.execute(text("SELECT GET_LOCK(:lock, 60)"), {"lock": lock}).scalar() != 1:
                raise CommandError("Another migration job is still running after a minute. Try again later.")


def has_nothing_to_do(connection: Connection) -> bool:
    """Whether a newer release has already migrated beyond the target."""
    try:
        wanted = context.get_revision_argument()
    except KeyError:  # a command without a target
        return False
    known = {script.revision for script in context.script.walk_revisions()}
    current = MigrationContext.configure(connection).get_current_heads()
    return wanted == context.get_head_revision() and not known.issuperset(current)


def run_migrations_online() -> None:
    if current_app.config["DATABASE_POOLER"]:
        raise CommandError(  # a connection of the pooler would keep the lock and every SET
            "Run migrations without the pooler: DATABASE_POOLER=false DATABASE_URL=<URL of the database> flask db …"
        )
    metadata = current_app.extensions["migrate"].db.metadata
    own_engine = engine()
    try:
        with own_engine.connect() as connection:
            begin_alone(connection)
            if has_nothing_to_do(connection):
                click.echo("The schema is of a newer release: nothing to do.")
                return
            one_by_one = connection.dialect.name == "postgresql"
            if one_by_one:
                connection.commit()  # or all migrations would run in this transaction
            context.configure(
                connection=connection,
                target_metadata=metadata,
                render_item=render_item,
                include_name=is_in_models,
                render_as_batch=True,
                compare_type=True,
                compare_server_default=True,
                process_revision_directives=restore_autoincrement,
                transaction_per_migration=one_by_one,
            )
            with context.begin_transaction():
                context.run_migrations()
            connection.commit()
    finally:
        own_engine.dispose()


def run_migrations_offline() -> None:
    """Write the SQL instead of running it (`flask db upgrade --sql`)."""
    context.configure(
        url=current_app.extensions["migrate"].db.engine.url.render_as_string(hide_password=False),
        target_metadata=current_app.extensions["migrate"].db.metadata,
        render_item=render_item,
        render_as_batch=True,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()


import_models()
if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
