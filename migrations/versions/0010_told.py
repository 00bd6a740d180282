"""Which steps of an escalation were taken by their receiver, known before the alert itself is written."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A sender that dies between the two repeats nothing that was answered."""
    op.execute("alter table alert_dispatch add column told boolean not null default false")


def downgrade() -> None:
    """Then it repeats it, marked as a repeat."""
    op.execute("alter table alert_dispatch drop column told")
