"""What readers say of an image model's findings."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Append-only: a reader's last word counts, the ones before stay."""
    op.execute("""
        create table finding_feedback (
            study_uid text collate "C" not null,
            picture text collate "C" not null,     -- SOP Instance UID
            finding text collate "C" not null,
            verdict text not null,
            reader text not null,
            at timestamptz not null,
            head text not null,                    -- the model that had said it, its version, and how sure it was
            version text not null,
            probability double precision not null,
            instead text,                          -- what the picture shows, where the reader corrected
            primary key (study_uid, picture, finding, reader, at)
        )
    """)
    op.execute("create index finding_feedback_finding on finding_feedback (finding, at)")


def downgrade() -> None:
    """Gone."""
    op.execute("drop table finding_feedback")
