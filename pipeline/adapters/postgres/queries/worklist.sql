-- name: lock_items
-- The stored items of these studies, locked in one order by everyone.
select study_uid, context_version, claimed_by, document from worklist_item
where study_uid = any(%(studies)s) order by study_uid for update

-- name: lock_seq
-- Drawn under this lock, seq grows in the order of commits: a reader who has seen n has missed nothing below n.
select pg_advisory_xact_lock(hashtextextended('worklist', 3))

-- name: upsert
-- Writes items, which the listeners are told at commit, and says which; a claim stays. The condition matters only for a study that two
-- partitions see for the first time at once.
with written as (insert into worklist_item (
    study_uid, patient, due_at, target_at, ready_at, ranked_at, closed, modality, patient_class, location,
    degraded, provisional, unmatched, scorer, context_version, search, document, body_part, policy, held_until, review_at, overridden, seq
)
select u.*, nextval('worklist_seq') from unnest(
    %(study_uid)s::text[], %(patient)s::text[], %(due_at)s::timestamptz[], %(target_at)s::timestamptz[], %(ready_at)s::timestamptz[],
    %(ranked_at)s::timestamptz[], %(closed)s::boolean[], %(modality)s::text[], %(patient_class)s::text[], %(location)s::text[],
    %(degraded)s::boolean[], %(provisional)s::boolean[], %(unmatched)s::boolean[], %(scorer)s::text[], %(context_version)s::bigint[],
    %(search)s::text[], %(document)s::bytea[], %(body_part)s::text[], %(policy)s::text[], %(held_until)s::timestamptz[],
    %(review_at)s::timestamptz[], %(overridden)s::boolean[]
) as u
on conflict (study_uid) do update set
    patient = excluded.patient, due_at = excluded.due_at, target_at = excluded.target_at, ready_at = excluded.ready_at,
    ranked_at = excluded.ranked_at, closed = excluded.closed, modality = excluded.modality, patient_class = excluded.patient_class,
    location = excluded.location, degraded = excluded.degraded, provisional = excluded.provisional, unmatched = excluded.unmatched,
    scorer = excluded.scorer, context_version = excluded.context_version, search = excluded.search, document = excluded.document,
    body_part = excluded.body_part, policy = excluded.policy, held_until = excluded.held_until, review_at = excluded.review_at,
    overridden = excluded.overridden, seq = excluded.seq
where worklist_item.context_version <= excluded.context_version
returning study_uid, seq)
select study_uid, pg_notify('worklist', (max(seq) over ())::text) from written

-- name: note_versions
-- Nothing that a reader sees has moved.
update worklist_item set context_version = u.context_version
from unnest(%(study_uid)s::text[], %(context_version)s::bigint[]) as u (study_uid, context_version)
where worklist_item.study_uid = u.study_uid and worklist_item.context_version < u.context_version

-- name: add_rank_changes
-- The history of why each study stood where it stood, with the deadline before, and whether the move touched the first 20 of the list.
with change as (
    select u.*, (select r.due_at from rank_change r where r.study_uid = u.study_uid order by r.id desc limit 1) as due_before
    from unnest(
        %(study_uid)s::text[], %(at)s::timestamptz[], %(due_at)s::timestamptz[], %(cause)s::text[], %(event_id)s::text[], %(why)s::text[],
        %(kind)s::text[]
    ) as u (study_uid, at, due_at, cause, event_id, why, kind)
)
insert into rank_change (study_uid, at, due_at, cause, event_id, why, kind, due_before, in_top)
select change.*, least(due_at, due_before) <= coalesce(
    (select i.due_at from worklist_item i where not i.closed order by i.due_at, i.study_uid offset 19 limit 1), 'infinity')
from change

-- name: restate
-- What a reader did to the deadline of an item that is locked already, or what a review left as it was.
update worklist_item set
    due_at = %(due_at)s, target_at = %(target_at)s, ranked_at = %(ranked_at)s, document = %(document)s, policy = %(policy)s,
    held_until = %(held_until)s, review_at = %(review_at)s, overridden = %(overridden)s, search = %(search)s
where study_uid = %(study_uid)s

-- name: take_due
-- Open items whose time for another look has come, the most urgent first; what another worker looks at is passed over.
select study_uid, context_version, claimed_by, document from worklist_item
where not closed and review_at <= %(now)s order by review_at, study_uid limit %(limit)s
for update skip locked

-- name: ask_for_review
-- The rules in force are others: every open item that was ranked by another version.
update worklist_item set review_at = %(now)s
where not closed and policy is distinct from %(version)s and review_at is distinct from %(now)s

-- name: tell
-- Reaches the listeners when the transaction commits.
select pg_notify('worklist', %(seq)s::text)

-- name: newest_seq
-- Where the list stands.
select coalesce(max(seq), 0) from worklist_item

-- name: page
-- Most urgent first, after the cursor. {standing} is one of five fixed conditions, so that the planner can use the partial indexes.
select document, context_version, seq, claimed_by, claimed_at, acknowledged_by, acknowledged_at,
    (select count(*) from worklist_item other where other.patient = worklist_item.patient and not other.closed
        and other.study_uid <> worklist_item.study_uid)
from worklist_item
where {standing}
    and (due_at, study_uid) > (%(after_due_at)s::timestamptz, %(after_study_uid)s::text)
    and (%(modality)s::text is null or modality = %(modality)s)
    and (%(patient_class)s::text is null or patient_class = %(patient_class)s)
    and (%(location)s::text is null or location = %(location)s)
    and (%(patient)s::text is null or patient = %(patient)s)
    and (%(modalities)s::text[] is null or modality = any(%(modalities)s))
    and (%(body_parts)s::text[] is null or upper(body_part) = any(%(body_parts)s))
    and (%(patient_classes)s::text[] is null or patient_class = any(%(patient_classes)s))
    and (%(locations)s::text[] is null or location ilike any(%(locations)s))
    and (%(overdue_at)s::timestamptz is null or due_at < %(overdue_at)s)
    and (%(text)s::text is null or position(%(text)s in search) > 0)
order by due_at, study_uid
limit %(limit)s
{locking}

-- name: item
-- One item.
select document, context_version, seq, claimed_by, claimed_at, acknowledged_by, acknowledged_at,
    (select count(*) from worklist_item other where other.patient = worklist_item.patient and not other.closed
        and other.study_uid <> worklist_item.study_uid)
from worklist_item
where study_uid = %(study_uid)s

-- name: item_for_update
-- One item, locked: of two readers the second sees what the first did.
select document, context_version, seq, claimed_by, claimed_at, acknowledged_by, acknowledged_at,
    (select count(*) from worklist_item other where other.patient = worklist_item.patient and not other.closed
        and other.study_uid <> worklist_item.study_uid)
from worklist_item
where study_uid = %(study_uid)s for update

-- name: mark
-- What a reader did to an item that is locked already.
update worklist_item set
    claimed_by = %(claimed_by)s, claimed_at = %(claimed_at)s,
    acknowledged_by = %(acknowledged_by)s, acknowledged_at = %(acknowledged_at)s,
    review_at = case when claimed_by is not null and %(claimed_by)s::text is null then least(review_at, %(now)s) else review_at end,
    seq = nextval('worklist_seq')
where study_uid = %(study_uid)s
returning document, context_version, seq, claimed_by, claimed_at, acknowledged_by, acknowledged_at,
    (select count(*) from worklist_item other where other.patient = worklist_item.patient and not other.closed
        and other.study_uid <> worklist_item.study_uid)

-- name: history
-- Newest first.
select at, due_at, cause, event_id, why, kind from rank_change where study_uid = %(study_uid)s order by id desc limit %(limit)s

-- name: summary
-- What stands above the list.
select count(*), count(*) filter (where due_at < %(now)s), count(*) filter (where degraded), count(*) filter (where unmatched),
    min(ready_at), count(*) filter (where held_until > %(now)s)
from worklist_item where not closed

-- name: feeds
-- How fresh each input is.
select topic, max(newest) from applied where newest is not null group by topic
