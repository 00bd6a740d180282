-- name: applied
-- Where each stage stands.
select grp, topic, part, off from applied

-- name: open_studies
-- Whose studies wait.
select patient, count(*) from worklist_item where not closed group by patient

-- name: crowds
-- The open list by patient class and priority.
select coalesce(patient_class, ''), coalesce(convert_from(document, 'UTF8')::jsonb -> 'study' ->> 'priority', ''),
    count(*), count(*) filter (where due_at < %(now)s)
from worklist_item where not closed group by 1, 2 order by 1, 2

-- name: marks
-- What stands on the list with less than everything.
select count(*) filter (where degraded), count(*) filter (where provisional), count(*) filter (where unmatched), min(ready_at)
from worklist_item where not closed

-- name: oldest_score
-- The oldest model score near the top.
select min((convert_from(document, 'UTF8')::jsonb -> 'risk' ->> 'scored_at')::timestamptz)
from (select document from worklist_item where not closed order by due_at, study_uid limit 100) as top

-- name: escalations
-- Alerts whose reason holds.
select state, count(*) from alert where state in ('notified', 'escalated', 'acknowledged', 'suppressed') group by state

-- name: next_step
-- The first thing to be done.
select min(next_at) from alert where next_at is not null

-- name: site_faults
-- Why the newest site file is not in force, if it is not.
select coalesce((select cardinality(faults) from site_version order by id desc limit 1), 0)

-- name: newest_rank
-- Where the history of ranks ends.
select coalesce(max(id), 0) from rank_change

-- name: ranked_after
-- The rank that each event led to first.
select event_id, min(stored_at), max(id) from rank_change where id > %(mark)s and id <= %(end)s group by event_id

-- name: facts_of
-- When these events were true and when a gateway had them.
select distinct on (event_id) event_id, recorded_at, body from fact where event_id = any(%(event_ids)s)

-- name: sources
-- Messages of each source by hour. The kinds left out are the gateways' own conclusions.
select source, date_trunc('hour', opened_at), count(*), min(opened_at), max(opened_at)
from intake.receipt
where opened_at >= %(since)s and opened_at < %(until)s and kind in ('hl7', 'instance', 'fhir')
group by 1, 2

-- name: clock
-- The server's present.
select clock_timestamp()

-- name: settled
-- What people did about dead letters.
select part, off, outcome, reason, by_whom, at from settled_letter

-- name: settle
-- First come, first served.
insert into settled_letter (part, off, outcome, reason, by_whom, at)
values (%(partition)s, %(offset)s, %(outcome)s, %(reason)s, %(by)s, %(at)s) on conflict do nothing returning true
