"""The contract of IdentityVault, held by the memory twin and by Postgres; and what only the sealed one promises."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from pipeline.adapters.identity.records import AuditEntry
from pipeline.adapters.identity.sealing import Sealer
from pipeline.adapters.identity.vault import PostgresVault
from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.adapters.postgres.database import Database
from pipeline.errors import StackError
from pipeline.ports import Identity

KEY = bytes(range(32))
JANE = Identity("p1", "4711", "HOSP", "Doe^Jane", "19700102", "F")

Vault = MemoryVault | PostgresVault


@pytest.fixture
def clock() -> ManualClock:
    """Stands still."""
    return ManualClock()


@pytest.fixture(params=["memory", "postgres"])
def vault(request: pytest.FixtureRequest, clock: ManualClock) -> Vault:
    """Empty."""
    return MemoryVault(clock) if request.param == "memory" else PostgresVault(request.getfixturevalue("database"), KEY, clock)


async def test_persons_come_back_as_they_were(vault: Vault) -> None:
    """Those asked for and known, no others."""
    other = Identity("p2", "4712", "HOSP", "Müller^Jörg\0", None, None)
    await vault.remember([JANE, other])

    assert await vault.reveal(["p1", "p2", "p3"], "ada", "reading") == {"p1": JANE, "p2": other}


async def test_none_never_overwrites(vault: Vault) -> None:
    """A message without a name does not take it away; a new name replaces the old one; within one call too."""
    await vault.remember([JANE])
    await vault.remember([Identity("p1", "4711", "HOSP"), Identity("p1", "4711", "HOSP", "Roe^Jane")])

    assert (await vault.reveal(["p1"], "ada", "reading"))["p1"] == Identity("p1", "4711", "HOSP", "Roe^Jane", "19700102", "F")


async def test_two_gateways_at_once(vault: Vault) -> None:
    """What each learns of one person is kept, whoever is first."""
    await asyncio.gather(
        vault.remember([Identity("p1", "4711", "HOSP", name="Doe^Jane"), Identity("p0", "1", "HOSP")]),
        vault.remember([Identity("p0", "1", "HOSP", sex="M"), Identity("p1", "4711", "HOSP", birth_date="19700102")]),
        *(vault.remember([Identity("p1", "4711", "HOSP", sex="F")]) for _ in range(10)),
    )

    assert (await vault.reveal(["p1"], "ada", "reading"))["p1"] == JANE


async def test_numbers(vault: Vault) -> None:
    """Accession and order numbers, by their pseudonym; remembering them again changes nothing."""
    await vault.remember([], {"n1": "ACC-1", "n2": "ORD-2"})
    await vault.remember([], {"n1": "ACC-1"})

    assert await vault.numbers(["n1", "n2", "n3"], "ada", "reading") == {"n1": "ACC-1", "n2": "ORD-2"}


async def test_the_last_link_counts(vault: Vault) -> None:
    """An order belongs to the patient last named with it, unless somebody else has said so in between."""
    assert await vault.linked(["n1"]) == {}
    assert await vault.link("n1", "p1")
    assert not await vault.link("n1", "p2")
    assert not await vault.link("n1", "p2", instead_of="p3")
    assert await vault.linked(["n1", "n2"]) == {"n1": "p1"}
    assert await vault.link("n1", "p2", instead_of="p1")

    assert await vault.linked(["n2", "n1"]) == {"n1": "p2"}
    assert await vault.linked([]) == {}


async def test_every_look_leaves_an_entry(vault: Vault, clock: ManualClock) -> None:
    """Who, why, when and whom, also when nobody was found; remembering and linking are not looks."""
    await vault.remember([JANE], {"n1": "ACC-1"})
    await vault.link("n1", "p1")
    first = clock.now()
    await vault.reveal(["p1", "p9"], "ada", "reading")
    later = clock.advance(timedelta(minutes=1))
    await vault.numbers(["n1"], "bob", "telephone")
    await vault.reveal([], "eve", "nothing")

    assert await vault.audit_entries() == [
        AuditEntry("bob", "telephone", later, "number", ("n1",)),
        AuditEntry("ada", "reading", first, "identity", ("p1", "p9")),
    ]


async def test_nothing_readable_is_stored(database: Database, clock: ManualClock) -> None:
    """The rows of the vault hold no name, id, birth date or number in the clear."""
    await PostgresVault(database, KEY, clock).remember([JANE], {"n1": "ACC-1"})
    async with database.connection() as connection:
        rows = await (await connection.execute("select sealed from vault.identity union all select sealed from vault.number")).fetchall()

    assert len(rows) == 2
    for (sealed,) in rows:
        assert not any(word in bytes(sealed) for word in (b"Doe", b"4711", b"1970", b"HOSP", b"ACC-1"))


async def test_another_key_opens_nothing(database: Database, clock: ManualClock) -> None:
    """It says so, and leaves what is there."""
    await PostgresVault(database, KEY, clock).remember([JANE])
    other = PostgresVault(database, bytes(32), clock)
    with pytest.raises(StackError, match="site key"):
        await other.reveal(["p1"], "ada", "reading")
    with pytest.raises(StackError, match="site key"):
        await other.remember([JANE])

    assert await PostgresVault(database, KEY, clock).reveal(["p1"], "ada", "reading") == {"p1": JANE}


def test_a_sealed_value_opens_in_its_own_row_only() -> None:
    """Moved, cut, changed or never ours: refused. The same text is sealed differently each time."""
    sealer = Sealer(KEY)
    sealed = sealer.seal_identity(JANE)

    assert sealer.unseal_identity("p1", sealed) == JANE
    assert sealer.seal_identity(JANE) != sealed
    for row, broken in (
        ("p2", sealed),
        ("p1", sealed[:-1]),
        ("p1", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        ("p1", b"\x02" + sealed[1:]),
        ("p1", b""),
    ):
        with pytest.raises(StackError):
            sealer.unseal_identity(row, broken)


def test_a_short_site_key_is_refused() -> None:
    """An empty or guessable key protects nothing."""
    with pytest.raises(StackError, match="shorter"):
        Sealer(b"short")
