"""${message.rstrip(".")}.

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}

The previous release runs during this migration and after it (expand, then contract):
- Add columns that are nullable or have a server default. Never rename a column or change its type in place.
- Drop a column or a table only one release after the code stopped using it, and say so here on a separate line:
  `Contracts: items.colour, unused since 1.4.0.` (tests/databases/test_upgrade.py checks all of this).
- If the code fills a new column, rows of the previous release have the default: fill them again one release later.
- On PostgreSQL, create an index of a large table with `postgresql_concurrently=True`, in a separate migration.
- `downgrade` reverses `upgrade`, and both run on SQLite, PostgreSQL and MariaDB.
"""

import sqlalchemy as sa
from alembic import op
% if imports:
${imports}
% endif

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
