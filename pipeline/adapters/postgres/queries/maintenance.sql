-- name: lock
-- One at a time.
select pg_advisory_xact_lock(hashtextextended('maintenance', 4))

-- name: partitions
-- The weekly partitions there are.
select child.relname from pg_inherits join pg_class child on child.oid = inhrelid
where inhparent = 'fact'::regclass and child.relname <> 'fact_default' order by child.relname

-- name: create_week
-- Beside the table first, so that the rows waiting in the default partition can move before it is attached.
create table {name} (like fact including defaults including constraints)

-- name: move_week
-- What came before its week existed.
with moved as (
    delete from fact_default where recorded_at >= {start} and recorded_at < {end} returning *
)
insert into {name} select * from moved

-- name: attach_week
-- Gets the indexes of the others.
alter table fact attach partition {name} for values from ({start}) to ({end})

-- name: drop_week
-- A whole week at once: no dead rows, no vacuum.
drop table {name}

-- name: expire_fact_default
-- Facts with a time that no week was made for.
delete from fact_default where recorded_at < %(oldest)s

-- name: expire_ignored
-- Counted, and counted long enough.
delete from ignored where noted_at < %(oldest)s

-- name: expire_receipt
-- A message resent after this time would be taken for a new one; its facts are gone too.
delete from intake.receipt where coalesce(received_at, opened_at) < %(oldest)s

-- name: expire_worklist_item
-- Studies that left the list; their rank history goes with them.
delete from worklist_item where closed and ranked_at < %(oldest)s

-- name: expire_study
-- Studies in progress that no image has reached for long, said to be complete or not.
delete from intake.study where last_image < %(oldest)s

-- name: expire_step
-- Performed procedure steps, ended or given up.
delete from intake.step where changed_at < %(oldest)s

-- name: expire_shadow_score
-- Long enough to judge a candidate by.
delete from shadow_score where scored_at < %(oldest)s

-- name: expire_alert
-- Alerts that are closed or silent; their history goes with them once the topic has it.
delete from alert where changed_at < %(oldest)s and next_at is null and state in ('resolved', 'withdrawn', 'suppressed')
    and not exists (select from alert_history where alert_id = alert.id and not published)

-- name: expire_alert_dispatch
-- No step is sent again after so long.
delete from alert_dispatch where last_at < %(oldest)s
