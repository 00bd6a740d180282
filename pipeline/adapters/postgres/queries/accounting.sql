-- name: applied_events
-- Distinct events that are facts.
select count(distinct event_id) from fact where recorded_at >= %(since)s

-- name: facts_by_kind
-- Facts by what they are.
select kind, count(*) from fact where recorded_at >= %(since)s group by kind order by kind

-- name: ignored
-- Records without effect, by reason.
select reason, count(*) from ignored where noted_at >= %(since)s group by reason order by reason

-- name: receipts
-- What the gateways answered.
select source, kind, outcome, reason, count(*), sum(repeats)::int8 from intake.receipt
where coalesce(received_at, opened_at) >= %(since)s
group by source, kind, outcome, reason order by source, kind, outcome, reason

-- name: unaccounted
-- Events that a gateway acknowledged and that nothing has become of.
select distinct accepted.id
from intake.receipt, unnest(event_ids) as accepted (id)
where outcome = 'accepted' and received_at >= %(since)s
    and not accepted.id = any(%(dead_lettered)s::uuid[])
    and not exists (select from fact where fact.event_id = accepted.id)
    and not exists (select from ignored where ignored.event_id = accepted.id)

-- name: standing
-- The worklist in numbers.
select count(*), count(*) filter (where not closed), count(*) filter (where not closed and scorer in ('triton', 'onnxruntime')),
    count(*) filter (where degraded and not closed)
from worklist_item where ranked_at >= %(since)s

-- name: latencies
-- Seconds from the gateway's receipt to the committed rank that its event caused.
select extract(epoch from change.stored_at - receipt.closed_at)::float8
from intake.receipt, unnest(receipt.event_ids) as event (id)
join lateral (
    select min(stored_at) as stored_at from rank_change where event_id = event.id::text and stored_at >= %(since)s
) as change on change.stored_at is not null
where receipt.received_at >= %(since)s
