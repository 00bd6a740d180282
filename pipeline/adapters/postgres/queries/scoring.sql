-- name: all
-- Requests whose answer came from a lesser scorer.
select request, trace_id, choice from degraded_score order by context_version

-- name: note
-- Of each patient the newest request.
insert into degraded_score (patient, context_version, choice, trace_id, request)
select * from unnest(%(patients)s::text[], %(versions)s::bigint[], %(choices)s::int[], %(traces)s::text[], %(requests)s::bytea[])
on conflict (patient) do update set
    context_version = excluded.context_version, choice = excluded.choice, trace_id = excluded.trace_id, request = excluded.request
where degraded_score.context_version <= excluded.context_version

-- name: clear
-- What was answered well, unless something newer waits.
delete from degraded_score using unnest(%(patients)s::text[], %(versions)s::bigint[]) as answered (patient, version)
where degraded_score.patient = answered.patient and degraded_score.context_version <= answered.version
