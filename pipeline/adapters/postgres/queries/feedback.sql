-- name: add
-- A resent word is known by its reader and moment.
insert into finding_feedback (study_uid, picture, finding, verdict, reader, at, head, version, probability, instead)
values (
    %(study_uid)s, %(picture)s, %(finding)s, %(verdict)s, %(reader)s, %(at)s, %(head)s, %(version)s, %(probability)s, %(instead)s
) on conflict do nothing

-- name: of_study
-- What stands beside the study's findings.
select study_uid, picture, finding, verdict, reader, at, head, version, probability, instead
from finding_feedback where study_uid = %(study_uid)s order by at

-- name: of_finding
-- What becomes pairs.
select study_uid, picture, finding, verdict, reader, at, head, version, probability, instead
from finding_feedback where finding = %(finding)s order by at
