-- name: open
-- Notes that messages are being worked on; those come back that were not known.
insert into intake.receipt (source, kind, identity) select * from unnest(%(source)s::text[], %(kind)s::text[], %(identity)s::text[])
on conflict do nothing returning source, kind, identity

-- name: find
-- What became of a message; that one which was accepted came again is counted.
update intake.receipt set repeats = repeats + (outcome is not distinct from 'accepted')::int
where source = %(source)s and kind = %(kind)s and identity = %(identity)s
returning outcome, reason, event_ids, received_at

-- name: close
-- Notes the outcome. What was accepted once stays accepted; that it was accepted again (sent twice at the same time) is counted.
with closed as (
    insert into intake.receipt (source, kind, identity, outcome, reason, event_ids, received_at, closed_at)
    values (%(source)s, %(kind)s, %(identity)s, %(outcome)s, %(reason)s, %(event_ids)s, %(received_at)s, clock_timestamp())
    on conflict (source, kind, identity) do update set
        outcome = excluded.outcome, reason = excluded.reason, event_ids = excluded.event_ids,
        received_at = excluded.received_at, closed_at = excluded.closed_at,
        repeats = receipt.repeats + (receipt.closed_at is not null)::int
    where receipt.outcome is distinct from 'accepted'
    returning true
)
update intake.receipt set repeats = repeats + 1
where source = %(source)s and kind = %(kind)s and identity = %(identity)s
    and not exists (select from closed)   -- no look at the outcome here: this statement may be older than it
