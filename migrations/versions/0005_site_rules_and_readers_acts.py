"""Versions of the site's rules; holds and overrides on the list; how restless the list is; which sources order everything as urgent."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

RULES = """
create table site_version (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    version text not null,
    digest text not null,
    body text not null,
    faults text[]                        -- null: accepted, and in force until the next one that is
);
"""

LIST = """
alter table worklist_item
    add column body_part text,
    add column policy text,
    add column held_until timestamptz,
    add column review_at timestamptz,
    add column overridden boolean not null default false,
    drop constraint worklist_item_check,
    add constraint worklist_item_not_late check (due_at <= target_at or overridden);
update worklist_item set body_part = convert_from(document, 'UTF8')::jsonb #>> '{study,body_part}' where not closed;
create index worklist_review on worklist_item (review_at) where review_at is not null and not closed;

alter table rank_change
    add column kind text not null default 'ranking',
    add column due_before timestamptz,
    add column in_top boolean not null default false;
create index rank_change_at on rank_change (at);
"""

# A move is a change of due_at, not of words alone; in_top: it began or ended among the first 20.
CHURN = """
create view list_churn as
select date_trunc('hour', at) as hour, count(*) as changes,
    count(*) filter (where due_before <> due_at) as moves,
    count(*) filter (where due_before <> due_at and in_top) as top_moves,
    count(distinct study_uid) as studies,
    count(*) filter (where kind = 'override') as overrides,
    count(*) filter (where kind = 'hold') as holds
from rank_change group by 1;
"""

# Of each order the newest word that names a priority; the ordering source is the sending system with the ward or clinic.
SOURCES = """
create view ordering_source as
with said as (
    select convert_from(body, 'UTF8')::jsonb as body, recorded_at from fact
    where topic = 'orders' and recorded_at >= now() - interval '28 days'
), newest as (
    select distinct on (body ->> 'order') body from said
    where body ? 'priority' and body ->> 'control' in ('new', 'change') order by body ->> 'order', recorded_at desc
), counted as (
    select body ->> 'source' as source, split_part(coalesce(body ->> 'location', ''), '^', 1) as place,
        count(*) as orders, count(*) filter (where body ->> 'priority' in ('stat', 'asap')) as pressing
    from newest group by 1, 2
)
select source, place, orders, pressing, pressing::float8 / orders as share,
    (sum(pressing) over ())::float8 / sum(orders) over () as department,
    (pressing::float8 / orders) / nullif((sum(pressing) over ())::float8 / sum(orders) over (), 0) as inflation
from counted;
"""

DOWN = """
drop view ordering_source, list_churn;
drop index rank_change_at;
alter table rank_change drop column kind, drop column due_before, drop column in_top;
update worklist_item set due_at = target_at where due_at > target_at;
drop index worklist_review;
alter table worklist_item
    drop constraint worklist_item_not_late,
    drop column body_part, drop column policy, drop column held_until, drop column review_at, drop column overridden,
    add constraint worklist_item_check check (due_at <= target_at);
drop table site_version;
"""


def upgrade() -> None:
    """What is on the list stays as it is, and is ranked again by the rules in force once an agent has said which these are."""
    for part in (RULES, LIST, CHURN, SOURCES):
        op.execute(part)


def downgrade() -> None:
    """Holds and overrides end; what was moved after its target goes back to it."""
    op.execute(DOWN)
