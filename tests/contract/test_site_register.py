"""The contract of SiteRegister, and the figures that only a database makes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.site import MemorySiteRegister
from pipeline.adapters.postgres.context_store import PostgresContextStore
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.adapters.postgres.site import PostgresSiteRegister
from pipeline.domain.site import Churn, Policy
from pipeline.ports import Fact, SiteRegister, SiteRules
from pipeline.services.churn import ChurnWatch
from schemas import codec
from schemas.events import OrderEvent
from schemas.topics import ASSESSMENTS, ORDERS
from tests.store_fixtures import START, change, event_id, item, place


@pytest.fixture(params=["memory", "postgres"])
def register(request: pytest.FixtureRequest) -> SiteRegister:
    """An empty one."""
    if request.param == "postgres":
        return PostgresSiteRegister(request.getfixturevalue("database"))
    return MemorySiteRegister()


def rules(name: str) -> SiteRules:
    return SiteRules(Policy(version=name), digest=name * 2, text=f"text of {name}")


async def test_each_version_once_in_a_row(register: SiteRegister) -> None:
    """Ten workers that read one file make one line; going back to an older state is a line again."""
    assert await register.in_force() is None
    told = [await register.accept(rules(name), START) for name in ("a", "a", "b", "a")]

    assert told == [True, False, True, True]
    assert [line.version for line in await register.versions()] == ["a", "b", "a"]
    assert (await register.in_force()).text == "text of a"  # type: ignore[union-attr]


async def test_a_refusal_is_on_record_and_changes_nothing(register: SiteRegister) -> None:
    """What was in force stays so; one bad file is one line, however often it is seen."""
    await register.accept(rules("a"), START)
    for _ in range(3):
        await register.refuse("d", "", ["site.yaml:3:1: x", "site.yaml:4:1: y"], START + timedelta(minutes=1))

    assert (await register.in_force()).version == "a"  # type: ignore[union-attr]
    assert [line.faults for line in await register.versions()] == [("site.yaml:3:1: x", "site.yaml:4:1: y"), None]


async def test_churn(database: Database) -> None:
    """A move is a change of deadline; those among the first 20 are counted by themselves."""
    store, register = PostgresRankingStore(database), PostgresSiteRegister(database)

    async def rank(*items: object) -> None:
        async with store.begin("ranking", [place(ASSESSMENTS)]) as batch:
            await batch.store([change(one, number) for number, one in enumerate(items)])  # type: ignore[arg-type]

    await rank(*(item(f"1.{n}", due=n) for n in range(1, 31)))
    await rank(item("1.1", due=2.5, version=2), item("1.2", due=2, version=2, why="other words"), item("1.30", due=29.5, version=2))

    (hour,) = await register.churn(START - timedelta(hours=1))
    assert (hour.changes, hour.moves, hour.top_moves, hour.studies) == (33, 2, 1, 30)
    assert await register.churn(START + timedelta(hours=1)) == []
    watch = ChurnWatch(register, ManualClock(START + timedelta(minutes=30)), lambda: Policy(churn=Churn(1.0, 0.5)))
    await watch.look()
    assert watch.last is not None
    assert (watch.last.moves_per_study, watch.last.top_moves, watch.last.ratio) == (2 / 30, 1, 2.0)


async def test_inflation_by_ordering_source(database: Database) -> None:
    """The share of stat and asap of each place against the department's; of an order's messages the newest priority counts."""
    context, register, now = PostgresContextStore(database), PostgresSiteRegister(database), datetime.now(UTC)
    priorities = {"ER": ["stat"] * 8 + ["routine"] * 2, "4W": ["routine"] * 9 + ["asap"]}
    said = [(where, f"{where}{n}", priority) for where, row in priorities.items() for n, priority in enumerate(row)]
    said += [("4W", "4W1", "stat"), ("4W", "4W1", "routine")]
    facts = []
    for number, (where, order, priority) in enumerate(said):
        event = OrderEvent(
            event_id=event_id(number), patient="p1", source="RIS|HOSP", recorded_at=now + timedelta(seconds=number), control="new",
            order=order, priority=priority, location=f"{where}^1", modality="CT",
        )  # fmt: skip
        facts.append(Fact("p1", event.event_id, "order", event.recorded_at, ORDERS.name, 0, number, codec.encode(event)))
    async with context.begin("context", [place(ORDERS)]) as transaction:
        await transaction.append(facts, [])
        await transaction.advance({place(ORDERS): len(facts)})

    found = {source.place: source for source in await register.sources()}
    assert {name: (one.orders, one.pressing) for name, one in found.items()} == {"ER": (10, 8), "4W": (10, 1)}
    assert found["ER"].inflation == pytest.approx(0.8 / 0.45)
    assert [source.place for source in await register.sources()] == ["ER", "4W"]
