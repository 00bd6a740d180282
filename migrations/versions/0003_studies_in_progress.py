"""What the DICOM gateways know of studies in progress, for all of them at once."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables in the intake's schema."""
    op.execute("""
        create table intake.study (
            study_uid text collate "C" primary key,
            patient text collate "C" not null,
            source text not null,                -- AE title
            last_image timestamptz not null,
            instances integer not null,
            told integer not null default 0      -- how many it had when it was last said to be complete
        )
    """)
    op.execute("create index study_waiting on intake.study (last_image) where told < instances")
    op.execute("""
        create table intake.step (
            step_uid text collate "C" primary key,   -- Modality Performed Procedure Step, PS3.4 F.7
            study_uid text collate "C" not null,
            patient text collate "C",
            source text not null,
            state text not null check (state in ('IN PROGRESS', 'COMPLETED', 'DISCONTINUED')),
            changed_at timestamptz not null
        )
    """)


def downgrade() -> None:
    """A study in progress is complete by its next image, or by nothing."""
    op.execute("drop table intake.step, intake.study")
