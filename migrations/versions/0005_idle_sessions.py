"""Index sessions by their last use, and add rotated_from.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("rotated_from", sa.String(45), nullable=True))
    op.create_index("ix_sessions_last_used_at", "sessions", ["last_used_at"])


def downgrade() -> None:
    op.drop_index("ix_sessions_last_used_at", "sessions")
    op.drop_column("sessions", "rotated_from")
