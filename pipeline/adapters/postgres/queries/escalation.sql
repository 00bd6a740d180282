-- name: take_turns
-- One transaction at a time on a patient: two of its studies on two partitions would each raise an alert for the same value.
select pg_advisory_xact_lock(hashtextextended(patient, 5)) from unnest(%(patients)s::text[]) as patient order by patient

-- name: of
-- The alerts of studies and of patients, locked in one order by everyone.
select document from alert where study_uid = any(%(studies)s) or patient = any(%(patients)s) order by id for update

-- name: of_subject
-- The alerts of what is no study.
select document from alert where subject = %(subject)s order by id for update

-- name: locked
-- One alert, locked.
select document from alert where id = %(id)s for update

-- name: usage
-- What a shift has borne: alerts that may wait, and how right the model's were.
select count(*) filter (where muted is null),
    count(*) filter (where trigger in ('finding', 'model-risk') and confirmed is not null),
    count(*) filter (where trigger in ('finding', 'model-risk') and confirmed)
from alert where raised_at >= %(since)s and category > 1

-- name: upsert
-- Alerts as they stand now.
insert into alert (
    id, subject, study_uid, patient, trigger, category, state, muted, raised_at, changed_at, next_at, confirmed, context_version, document
)
select * from unnest(
    %(id)s::text[], %(subject)s::text[], %(study_uid)s::text[], %(patient)s::text[], %(trigger)s::text[], %(category)s::int[],
    %(state)s::text[], %(muted)s::text[], %(raised_at)s::timestamptz[], %(changed_at)s::timestamptz[], %(next_at)s::timestamptz[],
    %(confirmed)s::boolean[], %(context_version)s::bigint[], %(document)s::bytea[]
)
on conflict (id) do update set
    patient = excluded.patient, category = excluded.category, state = excluded.state, muted = excluded.muted,
    raised_at = excluded.raised_at, changed_at = excluded.changed_at, next_at = excluded.next_at, confirmed = excluded.confirmed,
    context_version = excluded.context_version, document = excluded.document

-- name: add_history
-- What happened: shown to readers, and what the topic `alerts` still has to get.
insert into alert_history (alert_id, document) select * from unnest(%(alert_id)s::text[], %(document)s::bytea[])

-- name: due
-- What is to be done now and nobody else is doing.
select document from alert where next_at <= %(before)s order by next_at, id limit %(limit)s for update skip locked

-- name: mark
-- Committed before the message goes out: whoever finds the mark of a dead worker knows that the message may be out.
insert into alert_dispatch (key) select distinct unnest(%(keys)s::text[]) order by 1
on conflict (key) do update set tries = alert_dispatch.tries + (not alert_dispatch.told)::int, last_at = clock_timestamp()
returning key, tries, tries - 1 - refused > 0, told

-- name: told
-- Committed as soon as the receiver has answered: whoever takes over from a dead worker sends it no more.
update alert_dispatch set told = true where key = any(%(keys)s)

-- name: refused
-- Certainly not taken by anybody.
update alert_dispatch set refused = refused + 1 where key = any(%(keys)s)

-- name: unpublished
-- What the topic does not have; the lock keeps the order of the history.
select id, document from alert_history where not published order by id limit %(limit)s

-- name: lock_outbox
-- One publisher at a time.
select pg_try_advisory_xact_lock(hashtextextended('alert-outbox', 6))

-- name: published
-- The topic has them.
update alert_history set published = true where id = any(%(ids)s)

-- name: changed_items
-- Items that changed after a seq.
select document, context_version, claimed_by, seq from worklist_item where seq > %(since)s order by seq limit %(limit)s

-- name: overdue_items
-- Items whose deadline has passed, without an alert that says so.
select document, context_version, claimed_by, seq from worklist_item as item
where not closed and due_at <= %(now)s
    and not exists (select from alert where alert.study_uid = item.study_uid and alert.trigger = 'deadline')
order by due_at, study_uid limit %(limit)s

-- name: unsettled_items
-- Items that have left the list while an alert stands, and those with an alert that is silent for a reason that may be gone.
select item.document, item.context_version, item.claimed_by, item.seq from alert join worklist_item as item using (study_uid)
where (item.closed and alert.state in ('notified', 'escalated', 'acknowledged', 'suppressed'))
    or (not item.closed and alert.state = 'suppressed' and alert.muted in ('duplicate', 'budget'))
order by alert.changed_at limit %(limit)s

-- name: ahead_of
-- Changed in what is now the future.
select id from alert where changed_at > %(now)s and state in ('notified', 'escalated', 'acknowledged', 'suppressed') order by id

-- name: lock_items
-- Before the seq, as everyone who writes items.
select study_uid from worklist_item where study_uid = any(%(studies)s) order by study_uid for update

-- name: touch
-- The items look different now, though nothing in them has changed: the listeners are told at commit.
with touched as (update worklist_item set seq = nextval('worklist_seq') where study_uid = any(%(studies)s) returning seq)
select pg_notify('worklist', max(seq)::text) from touched having count(*) > 0

-- name: in_states
-- The most critical and oldest first.
select document from alert where state = any(%(states)s) order by category, raised_at, id limit %(limit)s

-- name: one
-- One alert.
select document from alert where id = %(id)s

-- name: history
-- Oldest first.
select document from alert_history where alert_id = %(id)s order by id

-- name: of_studies
-- For the rows of a page.
select document from alert where study_uid = any(%(studies)s) order by category, raised_at, id

-- name: counts
-- What stands above the list.
select count(*) filter (where state in ('notified', 'escalated')), count(*) filter (where state = 'suppressed') from alert
where state in ('notified', 'escalated', 'suppressed')
