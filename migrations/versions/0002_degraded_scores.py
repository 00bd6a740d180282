"""Scores to be made again outlive the worker that made them."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One row a patient."""
    op.execute("""
        create table degraded_score (
            patient text collate "C" primary key,
            context_version bigint not null,
            choice integer not null,
            trace_id text not null,
            request bytea not null           -- the record of topic assess
        )
    """)


def downgrade() -> None:
    """What waits is scored again with the patient's next change."""
    op.execute("drop table degraded_score")
