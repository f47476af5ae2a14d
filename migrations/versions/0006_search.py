"""Index the grams of names, for the search.

A gram is a run of one, two or three characters.  `app/data/search.py` reads these indexes.  Triggers keep SQLite's, so
that the previous release's rows are found too.

Revision ID: 0006
Revises: 0005
"""

# ruff: noqa: S608 -- the statements consist of the constants below
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

COLUMNS = {"users": "username_key", "items": "name_key"}
LENGTH = 240  # characters; no column is longer

PG_GRAMS = """
CREATE FUNCTION search_grams(searched text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT array_agg(substr(searched, start, size))
    FROM generate_series(1, length(searched)) AS start, generate_series(1, 3) AS size
$$
"""


def upgrade() -> None:
    op.create_index("ix_items_name_name_key", "items", ["name", "name_key"])
    database = op.get_context().dialect.name
    if database == "postgresql":
        op.execute(PG_GRAMS)
        op.execute("SET LOCAL maintenance_work_mem = '256MB'")
    if database == "sqlite":
        op.execute("CREATE TABLE search_positions (position INTEGER PRIMARY KEY)")
        positions = ", ".join(f"({position})" for position in range(1, LENGTH + 1))
        op.execute(f"INSERT INTO search_positions VALUES {positions}")

    for table, column in COLUMNS.items():
        if database == "postgresql":
            add_to_postgresql(table, column)
        if database == "sqlite":
            add_to_sqlite(table, column)


def add_to_postgresql(table: str, column: str) -> None:
    op.execute(
        f'CREATE INDEX search_{table} ON {table} USING gin (search_grams({column} COLLATE "C")) '
        "WITH (gin_pending_list_limit = 256)"
    )  # kB; each search reads the list of what is not in the index yet
    op.execute(f"ALTER INDEX search_{table} ALTER COLUMN 1 SET STATISTICS 0")  # or ANALYZE would make grams of each row
    # The planner tries patterns on this sample.
    op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 1000")
    op.execute(f"ANALYZE {table} ({column})")


def add_to_sqlite(table: str, column: str) -> None:
    """Make a table of the run at each position, and the triggers that keep it.

    A shorter run is the beginning of one of three characters, or the end of the text.
    """
    index = f"search_{table}"
    op.execute(f"CREATE TABLE {index} (gram TEXT, id INTEGER, PRIMARY KEY (gram, id)) WITHOUT ROWID")
    grams = "SELECT DISTINCT substr({0}.{1}, position, 3) AS gram, {0}.id FROM search_positions"
    every = grams.format(table, column) + f" JOIN {table} ON position <= length({column})"
    op.execute(f"INSERT INTO {index} {every} ORDER BY 1, 2")
    new = grams.format("new", column) + f" WHERE position <= length(new.{column})"
    old = f"SELECT substr(old.{column}, position, 3) FROM search_positions WHERE position <= length(old.{column})"
    add = f"INSERT INTO {index} {new};"
    # By both columns of the key, or each deletion would read the whole index.
    remove = f"DELETE FROM {index} WHERE id = old.id AND gram IN ({old});"
    op.execute(f"CREATE TRIGGER {index}_insert AFTER INSERT ON {table} BEGIN {add} END")
    op.execute(f"CREATE TRIGGER {index}_delete AFTER DELETE ON {table} BEGIN {remove} END")
    op.execute(
        f"CREATE TRIGGER {index}_update AFTER UPDATE OF {column} ON {table} "
        f"WHEN old.{column} <> new.{column} BEGIN {remove} {add} END"
    )


def downgrade() -> None:
    database = op.get_context().dialect.name
    for table, column in COLUMNS.items():
        if database == "postgresql":
            op.execute(f"DROP INDEX IF EXISTS search_{table}")
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS -1")
        if database == "sqlite":
            for change in ("insert", "delete", "update"):
                op.execute(f"DROP TRIGGER IF EXISTS search_{table}_{change}")
            op.execute(f"DROP TABLE IF EXISTS search_{table}")
    if database == "postgresql":
        op.execute("DROP FUNCTION search_grams")
    if database == "sqlite":
        op.execute("DROP TABLE search_positions")
    op.drop_index("ix_items_name_name_key", "items")
