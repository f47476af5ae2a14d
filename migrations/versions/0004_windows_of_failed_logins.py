"""Add the windows of failed_logins.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Defaults, so that the previous release can still insert its own counters.
    op.add_column("failed_logins", sa.Column("window_seconds", sa.Integer(), server_default="0", nullable=False))
    op.add_column("failed_logins", sa.Column("growth", sa.Integer(), server_default="0", nullable=False))
    op.add_column("failed_logins", sa.Column("resets_at", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("failed_logins", "resets_at")
    op.drop_column("failed_logins", "growth")
    op.drop_column("failed_logins", "window_seconds")
