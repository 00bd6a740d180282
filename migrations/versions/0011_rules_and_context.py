"""How far the context was when the site's rules came into force: what has an older version was judged by others."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of the rules accepted so far it is not known: nothing is judged again because of them."""
    op.execute("alter table site_version add column context_version bigint not null default 0")


def downgrade() -> None:
    """Then rules that change while no context worker runs are asked with each patient's next event."""
    op.execute("alter table site_version drop column context_version")
