"""What people did about dead letters, kept as an audit."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One row a letter, by its place on the topic dlq."""
    op.execute("""
        create table settled_letter (
            part integer not null,
            off bigint not null,
            outcome text not null check (outcome in ('redriven', 'purged')),
            reason text not null,
            by_whom text not null,
            at timestamptz not null,
            primary key (part, off)
        )
    """)


def downgrade() -> None:
    """Letters that were settled wait again."""
    op.execute("drop table settled_letter")
