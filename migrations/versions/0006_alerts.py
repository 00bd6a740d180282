"""Alerts: their state, their history (which the topic alerts is fed from), and what is on its way."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Empty tables."""
    op.execute("""
        create table alert (
            id text collate "C" primary key,
            subject text collate "C" not null,
            study_uid text collate "C",
            patient text collate "C",
            trigger text not null,
            category integer not null check (category between 1 and 3),
            state text not null check (state in ('notified', 'escalated', 'acknowledged', 'suppressed', 'resolved', 'withdrawn')),
            muted text,
            raised_at timestamptz not null,
            changed_at timestamptz not null,
            next_at timestamptz,                 -- when something is to be done; null: nothing
            confirmed boolean,
            context_version bigint not null,
            document bytea not null,
            unique (subject, trigger)
        ) with (fillfactor = 70);
        create index alert_due on alert (next_at, id) where next_at is not null;
        create index alert_study on alert (study_uid);
        create index alert_patient on alert (patient);
        create index alert_standing on alert (category, raised_at, id)
            where state in ('notified', 'escalated', 'acknowledged', 'suppressed');
        create index alert_raised on alert (raised_at);

        create table alert_history (
            id bigint generated always as identity primary key,
            alert_id text collate "C" not null references alert on delete cascade,
            published boolean not null default false,
            document bytea not null              -- the record of topic alerts
        );
        create index alert_history_alert on alert_history (alert_id, id);
        create index alert_history_unpublished on alert_history (id) where not published;

        create table alert_dispatch (
            key text collate "C" primary key,    -- the step's idempotency key
            tries integer not null default 1,
            refused integer not null default 0,  -- tries that certainly reached nobody
            first_at timestamptz not null default clock_timestamp(),
            last_at timestamptz not null default clock_timestamp()
        );
        create index alert_dispatch_last on alert_dispatch (last_at);
    """)


def downgrade() -> None:
    """Alerts are raised anew from the list after an upgrade."""
    op.execute("drop table alert_dispatch, alert_history, alert")
