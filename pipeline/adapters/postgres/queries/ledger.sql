-- name: reads
-- What was reported, when a reader took it or the report came, and whether one had set its deadline.
select document, context_version, claimed_by, least(coalesce(claimed_at, ranked_at), ranked_at),
    exists (select from rank_change where rank_change.study_uid = worklist_item.study_uid and kind = 'override')
from worklist_item
where closed and ranked_at >= %(since)s and ranked_at < %(until)s

-- name: raised
-- Alerts on studies, and what readers said of them.
select raised_at, muted is not null, confirmed from alert
where study_uid is not null and raised_at >= %(since)s and raised_at < %(until)s

-- name: store
-- A day is told anew as reports come.
insert into ledger_day (day, document)
select * from unnest(%(days)s::date[], %(documents)s::jsonb[])
on conflict (day) do update set document = excluded.document

-- name: days
-- The newest first.
select document from ledger_day order by day desc limit %(limit)s
