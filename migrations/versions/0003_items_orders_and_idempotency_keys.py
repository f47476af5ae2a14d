"""Add indexes and name_key to items, and create idempotency_keys.

Revision ID: 0003
Revises: 0002
"""

import unicodedata
from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BATCH = 1000  # rows
big_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
instant = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
options: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    # A default, so that the previous release can still insert items.
    op.add_column("items", sa.Column("name_key", sa.String(240), server_default=sa.text("''"), nullable=False))
    if not context.is_offline_mode():
        fill_name_keys()
    if op.get_context().dialect.name == "postgresql":
        # Sort by code points, like the other databases, whatever collation this database has.
        op.execute('ALTER TABLE items ALTER COLUMN name TYPE VARCHAR(80) COLLATE "C"')
    op.create_index("ix_items_price_id", "items", ["price", "id"])
    op.create_index("ix_items_created_at_id", "items", ["created_at", "id"])
    op.create_index("ix_items_owner_id_id", "items", ["owner_id", "id"])
    op.create_index("ix_items_owner_id_name", "items", ["owner_id", "name"])
    op.create_index("ix_items_owner_id_price_id", "items", ["owner_id", "price", "id"])
    op.create_index("ix_items_owner_id_created_at_id", "items", ["owner_id", "created_at", "id"])
    op.drop_index("ix_items_owner_id", "items")
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("user_id", big_id, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("expires_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_idempotency_keys_user_id", ondelete="CASCADE"),
        **options,
    )
    op.create_index("ix_idempotency_keys_user_id", "idempotency_keys", ["user_id"])
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])


def fill_name_keys() -> None:
    """Fold the names like `app.items.models.name_key`.  In Python, because each database folds differently."""
    items = sa.table("items", sa.column("id", sa.BigInteger), sa.column("name"), sa.column("name_key"))
    fill = items.update().where(items.c.id == sa.bindparam("of")).values(name_key=sa.bindparam("folded"))
    connection, last = op.get_bind(), 0
    while rows := connection.execute(
        sa.select(items.c.id, items.c.name).where(items.c.id > last).order_by(items.c.id).limit(BATCH)
    ).all():
        connection.execute(fill, [{"of": row.id, "folded": folded(row.name)} for row in rows])
        last = rows[-1].id


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.create_index("ix_items_owner_id", "items", ["owner_id"])
    for columns in ("owner_id_created_at_id", "owner_id_price_id", "owner_id_name", "owner_id_id", "created_at_id"):
        op.drop_index(f"ix_items_{columns}", "items")
    op.drop_index("ix_items_price_id", "items")
    if op.get_context().dialect.name == "postgresql":
        op.execute('ALTER TABLE items ALTER COLUMN name TYPE VARCHAR(80) COLLATE "default"')
    op.drop_column("items", "name_key")
