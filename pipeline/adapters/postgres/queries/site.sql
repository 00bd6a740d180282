-- name: lock
-- One change of the rules at a time.
select pg_advisory_xact_lock(hashtextextended('site', 5))

-- name: in_force
-- The newest version that was accepted.
select version, digest, body, at, faults from site_version where faults is null order by id desc limit 1

-- name: newest
-- The newest word, accepted or refused.
select version, digest, body, at, faults from site_version order by id desc limit 1

-- name: add
-- Kept for ever: which rules held when, and from which context version on.
insert into site_version (version, digest, body, at, faults, context_version)
values (%(version)s, %(digest)s, %(body)s, %(at)s, %(faults)s, nextval('context_version'))

-- name: versions
-- Newest first.
select version, digest, body, at, faults from site_version order by id desc limit %(limit)s

-- name: churn
-- The last hours of the list.
select hour, changes, moves, top_moves, studies, overrides, holds from list_churn where hour >= %(since)s order by hour

-- name: lately
-- The list from a moment on.
select %(since)s::timestamptz, count(*), count(*) filter (where due_before <> due_at),
    count(*) filter (where due_before <> due_at and in_top), count(distinct study_uid),
    count(*) filter (where kind = 'override'), count(*) filter (where kind = 'hold')
from rank_change where at >= %(since)s

-- name: sources
-- Who orders how much as stat or asap, the most inflated first.
select source, place, orders, pressing, share, department, inflation from ordering_source
order by inflation desc nulls last, orders desc, source, place limit %(limit)s
