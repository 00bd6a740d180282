"""The ledger: one row a day, kept when the studies behind it have expired."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A document a day; and the index by which reads of a time are found."""
    op.execute("create table ledger_day (day date primary key, document jsonb not null)")
    op.execute("create index worklist_left on worklist_item (ranked_at) where closed")


def downgrade() -> None:
    """Days whose studies have expired cannot be told again."""
    op.execute("drop index worklist_left")
    op.execute("drop table ledger_day")
