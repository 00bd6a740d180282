"""A candidate model's scores beside the served ones, and what the model was asked, by day."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Neither is ever part of a rank."""
    op.execute("""
        create table shadow_score (
            patient text collate "C" not null,
            context_version bigint not null,
            scored_at timestamptz not null,
            served_version text not null,
            served double precision not null,
            shadow_version text not null,
            shadow double precision not null,
            primary key (patient, context_version, shadow_version)
        )
    """)
    op.execute("create index shadow_scored on shadow_score (scored_at)")
    op.execute("""
        create table drift_count (
            day date not null,
            version text not null,
            input text collate "C" not null,
            bin integer not null,              -- -1: missing
            rows bigint not null,
            primary key (day, version, input, bin)
        )
    """)


def downgrade() -> None:
    """Both are gone."""
    op.execute("drop table drift_count, shadow_score")
