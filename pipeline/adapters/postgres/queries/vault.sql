-- name: identities
-- The sealed particulars of these persons.
select pseudonym, sealed from vault.identity where pseudonym = any(%(pseudonyms)s) and sealed is not null

-- name: reserve
-- Makes the rows that are missing, so that they can be locked.
insert into vault.identity (pseudonym) select unnest(%(pseudonyms)s::text[]) on conflict do nothing

-- name: lock_identities
-- Two gateways that learn different things of one person take turns.
select pseudonym, sealed from vault.identity where pseudonym = any(%(pseudonyms)s) order by pseudonym for update

-- name: seal_identities
-- Stores sealed particulars.
update vault.identity set sealed = u.sealed
from unnest(%(pseudonyms)s::text[], %(sealed)s::bytea[]) as u (pseudonym, sealed)
where identity.pseudonym = u.pseudonym

-- name: numbers
-- Sealed accession and order numbers.
select pseudonym, sealed from vault.number where pseudonym = any(%(pseudonyms)s)

-- name: seal_numbers
-- A pseudonym is the keyed hash of its number: what is there is right.
insert into vault.number (pseudonym, sealed) select * from unnest(%(pseudonyms)s::text[], %(sealed)s::bytea[]) on conflict do nothing

-- name: link
-- The last word counts, but of two gateways that speak at once each sees what the other has said.
insert into vault.link (number, patient) values (%(number)s, %(meaning)s)
on conflict (number) do update set patient = excluded.patient where link.patient = %(instead_of)s::text

-- name: linked
-- Whose orders and accessions they are, and what FHIR references refer to.
select number, patient from vault.link where number = any(%(numbers)s)

-- name: note_access
-- Who looked at whom, when and why.
insert into vault.audit (at, reader, purpose, what, pseudonyms) values (%(at)s, %(reader)s, %(purpose)s, %(what)s, %(pseudonyms)s)

-- name: audit
-- Newest first.
select reader, purpose, at, what, pseudonyms from vault.audit order by id desc limit %(limit)s
