-- name: note_image
-- A smaller count or an earlier time changes nothing.
insert into intake.study as known (study_uid, patient, source, last_image, instances)
values (%(study)s, %(patient)s, %(source)s, %(last_image)s, %(instances)s)
on conflict (study_uid) do update set
    patient = excluded.patient,
    source = excluded.source,
    last_image = greatest(known.last_image, excluded.last_image),
    instances = greatest(known.instances, excluded.instances)
returning study_uid, patient, source, last_image, instances, told

-- name: study
-- As it stands.
select study_uid, patient, source, last_image, instances, told from intake.study where study_uid = %(study)s

-- name: quiet
-- No image for a while, and not said to be complete with what it has.
select study_uid, patient, source, last_image, instances, told from intake.study
where told < instances and last_image <= %(since)s order by last_image limit %(limit)s

-- name: note_told
-- Never takes a word back.
update intake.study set told = greatest(told, %(instances)s) where study_uid = %(study)s

-- name: step
-- As it stands.
select step_uid, study_uid, patient, source, state from intake.step where step_uid = %(step)s

-- name: note_step
-- Only its state changes.
insert into intake.step (step_uid, study_uid, patient, source, state, changed_at)
values (%(step)s, %(study)s, %(patient)s, %(source)s, %(state)s, %(now)s)
on conflict (step_uid) do update set state = excluded.state, changed_at = excluded.changed_at
