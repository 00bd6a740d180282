"""The first tables: facts and applied offsets, the worklist, the gateways' receipts, the identity vault."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

CONTEXT = """
create sequence context_version as bigint;

create table fact (
    patient text collate "C" not null,   -- the pseudonym that the message named
    event_id uuid not null,
    kind text not null,
    recorded_at timestamptz not null,    -- when we learned it
    topic text not null,
    part integer not null,
    off bigint not null,
    body bytea not null                  -- the record as it came
) partition by range (recorded_at);
create index fact_patient on fact (patient, recorded_at);
create index fact_event on fact (event_id);
create table fact_default partition of fact default;

create table ignored (
    event_id uuid not null,
    reason text not null,
    topic text not null,
    part integer not null,
    off bigint not null,
    noted_at timestamptz not null default now()
);
create index ignored_event on ignored (event_id);
create index ignored_noted on ignored (noted_at);

create table applied (
    grp text not null,
    topic text not null,
    part integer not null,
    off bigint not null default -1,
    newest timestamptz,                  -- recorded_at of the newest fact from here: how fresh the feed is
    primary key (grp, topic, part)
) with (fillfactor = 50);

create table survivor (
    retired text collate "C" primary key,
    survivor text collate "C",           -- null: unmerged
    recorded_at timestamptz not null,
    event_id uuid not null,
    check (retired <> survivor)
);
create index survivor_members on survivor (survivor) where survivor is not null;
"""

WORKLIST = """
create sequence worklist_seq as bigint;

create table worklist_item (
    study_uid text collate "C" primary key,
    patient text collate "C" not null,
    due_at timestamptz not null,
    target_at timestamptz not null,
    ready_at timestamptz not null,
    ranked_at timestamptz not null,
    closed boolean not null,
    modality text,
    patient_class text,
    location text,
    degraded boolean not null,
    provisional boolean not null,
    unmatched boolean not null,
    scorer text,
    context_version bigint not null,
    seq bigint not null,
    search text not null,
    document bytea not null,
    claimed_by text,
    claimed_at timestamptz,
    acknowledged_by text,
    acknowledged_at timestamptz,
    check (due_at <= target_at),
    check ((claimed_by is null) = (claimed_at is null)),
    check ((acknowledged_by is null) = (acknowledged_at is null))
) with (fillfactor = 70);
create index worklist_open on worklist_item (due_at, study_uid) where not closed;
create index worklist_closed on worklist_item (due_at, study_uid) where closed;
create index worklist_patient on worklist_item (patient);
create index worklist_newest on worklist_item (seq);

create table rank_change (
    id bigint generated always as identity primary key,
    study_uid text collate "C" not null references worklist_item on delete cascade,
    at timestamptz not null,
    due_at timestamptz not null,
    cause text not null,
    event_id text not null,
    why text not null,
    stored_at timestamptz not null default clock_timestamp()
);
create index rank_change_study on rank_change (study_uid, id);
create index rank_change_event on rank_change (event_id);
"""

INTAKE = """
create schema intake;

create table intake.receipt (
    source text not null,
    kind text not null,
    identity text not null,
    outcome text check (outcome in ('accepted', 'ignored', 'refused')),   -- null: being worked on
    reason text,
    event_ids uuid[] not null default '{}',
    repeats integer not null default 0,                                   -- how often the same message came again
    received_at timestamptz,
    opened_at timestamptz not null default clock_timestamp(),
    closed_at timestamptz,
    primary key (source, kind, identity)
);
create index receipt_opened on intake.receipt (opened_at);
create index receipt_received on intake.receipt (received_at);
"""

VAULT = """
create schema vault;

create table vault.identity (pseudonym text primary key, sealed bytea);
create table vault.number (pseudonym text primary key, sealed bytea not null);
create table vault.link (number text primary key, patient text not null);
create table vault.audit (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    reader text not null,
    purpose text not null,
    what text not null check (what in ('identity', 'number')),
    pseudonyms text[] not null
);
create index audit_at on vault.audit (at);
"""

DOWN = """
drop schema vault cascade;
drop schema intake cascade;
drop table rank_change, worklist_item;
drop sequence worklist_seq;
drop table survivor, applied, ignored, fact;
drop sequence context_version;
"""


def upgrade() -> None:
    """Creates everything."""
    for part in (CONTEXT, WORKLIST, INTAKE, VAULT):
        op.execute(part)


def downgrade() -> None:
    """Drops everything, the identities too."""
    op.execute(DOWN)
