-- name: open_places
-- First touch of partitions by a group.
insert into applied (grp, topic, part)
select %(group)s, * from unnest(%(topics)s::text[], %(partitions)s::int[]) on conflict do nothing

-- name: lock_places
-- The applied offsets, locked until commit: whoever lost a partition and does not know it waits here and then finds another offset.
-- In one order by everyone. And a new context version, drawn only once all locks are ours.
with place as materialized (
    select topic, part, off from applied
    where grp = %(group)s and (topic, part) in (select * from unnest(%(topics)s::text[], %(partitions)s::int[]))
    order by topic, part for update
)
select array_agg(topic), array_agg(part), array_agg(off), nextval('context_version') from place

-- name: advance
-- The last thing before commit.
update applied set off = reached.off, newest = greatest(applied.newest, reached.newest)
from unnest(%(topics)s::text[], %(partitions)s::int[], %(offsets)s::int8[], %(newest)s::timestamptz[]) as reached (topic, part, off, newest)
where applied.grp = %(group)s and applied.topic = reached.topic and applied.part = reached.part

-- name: survivors
-- Follows each patient's merges to their end.
with recursive chain (patient, holder) as (
    select s.retired, s.survivor from survivor s where s.retired = any(%(patients)s) and s.survivor is not null
    union all
    select chain.patient, s.survivor from chain join survivor s on s.retired = chain.holder where s.survivor is not null
) cycle holder set looped using path
select patient, holder from chain
where not looped and not exists (select from survivor s where s.retired = chain.holder and s.survivor is not null)

-- name: members
-- Everyone who lives on under each patient, through any number of merges, without the patient itself.
with recursive member (root, patient) as (
    select s.survivor, s.retired from survivor s where s.survivor = any(%(patients)s)
    union
    select member.root, s.retired from member join survivor s on s.survivor = member.patient
)
select root, patient from member

-- name: facts
-- The stored facts of these patients.
select patient, body from fact where patient = any(%(patients)s)

-- name: waiting
-- Patients on the list whose images came over these partitions; if asked, of those only who was judged before the rules in force.
select distinct patient from worklist_item as item
where not closed and (not %(behind)s or item.context_version < (
    select context_version from site_version where faults is null order by id desc limit 1
)) and exists (
    select from fact where fact.patient = item.patient and fact.topic = %(topic)s and fact.part = any(%(partitions)s::int[])
)

-- name: newest_facts
-- The timeline of a person.
select body from fact where patient = any(%(patients)s) and (%(topics)s::text[] is null or topic = any(%(topics)s)) order by recorded_at desc, off desc limit %(limit)s

-- name: known_events
-- Which of these events are facts already.
select distinct event_id from fact where event_id = any(%(event_ids)s)

-- name: lock_patients
-- Taken in the order given; released at commit.
select pg_advisory_xact_lock(hashtextextended(patient, 1)) from unnest(%(patients)s::text[]) as patient

-- name: lock_merges
-- One merge at a time in the whole site: only so can no two of them close a ring together.
select pg_advisory_xact_lock(hashtextextended('merges', 2))

-- name: statement
-- The newest thing said about an id.
select survivor, recorded_at, event_id from survivor where retired = %(retired)s

-- name: lives_on_under
-- Whether the chain that begins at one patient passes through another.
with recursive chain (holder) as (
    select %(patient)s::text collate "C"
    union
    select s.survivor from chain join survivor s on s.retired = chain.holder where s.survivor is not null
)
select exists (select from chain where holder = %(other)s)

-- name: say
-- Replaces the statement on an id.
insert into survivor (retired, survivor, recorded_at, event_id)
values (%(retired)s, %(survivor)s, %(recorded_at)s, %(event_id)s)
on conflict (retired) do update
set survivor = excluded.survivor, recorded_at = excluded.recorded_at, event_id = excluded.event_id

-- name: copy_facts
-- Appends facts.
copy fact (patient, event_id, kind, recorded_at, topic, part, off, body) from stdin (format binary)

-- name: copy_ignored
-- Appends counted ignored records.
copy ignored (event_id, reason, topic, part, off) from stdin (format binary)
