"""${message.rstrip(".")}.

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}

The release before this one runs while this migration does, and after it
(expand, then contract):
- add columns that are nullable or have a server default; never rename one, never change its type in place;
- drop a column or a table only one release after the code has ceased to use it, and say so here, in a line of its own:
  `Contracts: items.colour, unused since 1.4.0.` (tests/databases/test_upgrade.py holds all of this);
- a column that the code fills has the default where the release before writes: fill it again one release later;
- on PostgreSQL, make an index of a large table with `postgresql_concurrently=True`, in a migration of its own;
- `downgrade` undoes `upgrade`, and both run on SQLite, PostgreSQL and MariaDB.
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
