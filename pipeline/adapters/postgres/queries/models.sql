-- name: add_shadow
-- The same request again changes nothing.
insert into shadow_score (patient, context_version, scored_at, served_version, served, shadow_version, shadow)
select * from unnest(
    %(patients)s::text[], %(versions)s::bigint[], %(times)s::timestamptz[],
    %(served_versions)s::text[], %(served)s::float8[], %(shadow_versions)s::text[], %(shadow)s::float8[]
)
on conflict do nothing

-- name: shadow_since
-- The newest first.
select patient, context_version, scored_at, served_version, served, shadow_version, shadow
from shadow_score where scored_at >= %(moment)s order by scored_at desc limit %(limit)s

-- name: add_counts
-- Any number of workers count together; in the order of the key, so that two of them cannot wait for each other.
insert into drift_count as known (day, version, input, bin, rows)
select %(day)s, %(version)s, counted.* from unnest(%(inputs)s::text[], %(bins)s::int[], %(rows)s::bigint[]) as counted (input, bin, rows)
order by input, bin
on conflict (day, version, input, bin) do update set rows = known.rows + excluded.rows

-- name: counts_of
-- Of one day and version.
select input, bin, rows from drift_count where day = %(day)s and version = %(version)s
