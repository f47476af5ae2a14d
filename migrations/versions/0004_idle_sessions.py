"""Index sessions by their last use, and add rotated_from.

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
    op.add_column("sessions", sa.Column("rotated_from", sa.String(45), nullable=True))
    op.create_index("ix_sessions_last_used_at", "sessions", ["last_used_at"])


def downgrade() -> None:
    op.drop_index("ix_sessions_last_used_at", "sessions")
    op.drop_column("sessions", "rotated_from")
