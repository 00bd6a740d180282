"""The rules in force: followed, refused, recalled; and the review that follows a change."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.site import MemorySiteRegister, MemorySiteSource
from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.adapters.site.file import parse
from pipeline.adapters.site.published import default_yaml
from pipeline.adapters.site.source import FileSiteSource
from pipeline.domain import adjustments
from pipeline.domain.ranking import rank
from pipeline.domain.readings import Reading
from pipeline.domain.site import DEFAULT
from pipeline.errors import Unavailable
from pipeline.ports import ItemChange, SiteRules
from pipeline.services import site_rules
from pipeline.services.reviews import PORTION, Review
from pipeline.services.site_rules import SiteRulesInForce
from schemas.assessments import Assessment, StudyState
from schemas.topics import WORKLIST

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY, NIGHT = "schema: site/1\nversion: day\n", "schema: site/1\nversion: night\nunordered: asap\n"
BAD = "schema: site/1\nversion: x\nunordered: never\n"


def read(text: str) -> SiteRules:
    found = parse(text, "site.yaml")
    return SiteRules(found.policy, found.digest, found.text)


class FlakyRegister(MemorySiteRegister):
    """A record that a test can take away."""

    down = False

    async def accept(self, rules: SiteRules, at: datetime) -> bool:
        """As SiteRegister.accept."""
        if self.down:
            raise Unavailable("ordered by the test")
        return await super().accept(rules, at)


@pytest.fixture
def register() -> FlakyRegister:
    """An empty one."""
    return FlakyRegister()


async def test_critical_limits_are_the_sites_at_once(register: FlakyRegister) -> None:
    """The next value is judged by the file that has just come into force: the context asks at each use."""
    source = MemorySiteSource(DAY, read)
    rules = SiteRulesInForce(source, register, ManualClock(NOON))
    found = []
    for text in (DAY, f"{NIGHT}critical_labs:\n- {{observable: potassium, unit: mmol/L, below: 3, above: 6}}\n"):
        source.text = text
        await rules.refresh()
        evidence = rules.gather({"potassium": [Reading(NOON, 6.1)]}, [], [], NOON, 60)
        found.append([one.label for one in evidence if one.kind == "critical-lab"])

    assert found == [[], ["K 6.1 mmol/L at 12:00Z, critical above 6"]]


async def test_a_change_is_followed_and_recorded(register: FlakyRegister) -> None:
    """The new file is in force at the next look, and on record once."""
    source = MemorySiteSource(DAY, read)
    rules = SiteRulesInForce(source, register, ManualClock(NOON))
    assert rules.policy() == DEFAULT
    await rules.refresh()
    await rules.refresh()
    source.text = NIGHT
    await rules.refresh()

    assert rules.policy().unordered == "asap"
    assert [line.version.partition("+")[0] for line in register.lines] == ["day", "night"]


async def test_a_bad_file_changes_nothing(register: FlakyRegister) -> None:
    """The old rules stay, the faults are told with their lines; the mended file ends that."""
    source = MemorySiteSource(DAY, read)
    rules = SiteRulesInForce(source, register, ManualClock(NOON))
    await rules.refresh()
    source.text = BAD
    for _ in range(3):
        await rules.refresh()

    assert rules.policy().version.startswith("day+")
    assert rules.faults == ["site.yaml:3:1: unordered: input should be 'stat', 'asap', 'urgent' or 'routine', not 'never'"]
    assert (rules.refused_at, rules.refusals) == (NOON, 1)
    assert register.lines[-1].faults == tuple(rules.faults)
    source.text = NIGHT
    await rules.refresh()
    assert rules.policy().version.startswith("night+") and rules.faults == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("B: inpatient", "Z: inpatient"),  # no class of HL7 table 0004
        ("urgent: {emergency: 120", "urgent: {emergency: -120"),
        ("senior: head", "senior: radiologist"),  # a cycle
        ("role: above, channel: page", "role: above, channel: pager"),  # no such channel
    ],
)
async def test_each_kind_of_fault_leaves_the_old_rules(register: FlakyRegister, right: str, wrong: str) -> None:
    """Refused with the line of the fault, once; what was in force stays."""
    good = default_yaml()
    assert right in good
    source = MemorySiteSource(DAY, read)
    rules = SiteRulesInForce(source, register, ManualClock(NOON))
    await rules.refresh()
    source.text = good.replace(right, wrong, 1)
    line = next(number for number, each in enumerate(source.text.splitlines(), 1) if wrong in each)
    await rules.refresh()

    assert rules.policy().version.startswith("day+") and rules.refusals == 1
    assert any(fault.startswith(f"site.yaml:{line}:") for fault in rules.faults), rules.faults


async def test_a_start_with_a_bad_file_recalls_the_record(register: FlakyRegister) -> None:
    """A worker that starts while the file is no good ranks as the others do."""
    await register.accept(read(NIGHT), NOON)
    rules = SiteRulesInForce(MemorySiteSource(BAD, read), register, ManualClock(NOON))
    await rules.refresh()

    assert rules.policy().version.startswith("night+") and rules.faults


async def test_a_record_that_is_away_delays_nothing(register: FlakyRegister) -> None:
    """Good rules come into force without it, and are recorded when it is back."""
    rules = SiteRulesInForce(MemorySiteSource(DAY, read), register, ManualClock(NOON))
    register.down = True
    await rules.refresh()
    assert rules.policy().version.startswith("day+") and not register.lines
    register.down = False
    await rules.refresh()

    assert len(register.lines) == 1


def test_a_file_is_read_when_it_changes(tmp_path: Path) -> None:
    """Told once a state: the same content written again is nothing new, a file that has gone is a fault."""
    file = tmp_path / "site.yaml"
    file.write_text(DAY)
    source = FileSiteSource(file)
    assert source.poll() is not None and source.poll() is None
    file.write_text(DAY)
    assert source.poll() is None
    file.write_text(NIGHT)
    assert source.poll().policy.unordered == "asap"
    file.unlink()
    with pytest.raises(Exception, match="No such file"):
        source.poll()
    assert source.poll() is None
    file.write_text(NIGHT)
    assert source.poll() is not None


def test_without_a_file_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told once, under their own name; whoever asks again does not have them written out again."""
    source = FileSiteSource(None)
    found = source.poll()

    assert found.policy == DEFAULT and source.read(found.text) == found
    monkeypatch.delattr("pipeline.adapters.site.source.default_yaml")
    assert source.poll() is None


# --- the review


class Department:
    """A list of some studies, its log, and a review under rules that a test changes."""

    def __init__(self, studies: int = 3) -> None:
        self.clock, self.log, self.worklist, self.policy = ManualClock(NOON), MemoryEventLog(), MemoryWorklist(), DEFAULT
        self.review = Review(self.worklist, self.log, self.clock, lambda: self.policy)
        for number in range(studies):
            study = StudyState(study_uid=f"1.{number}", ready_at=NOON, priority="routine", patient_class="I")
            told = Assessment(event_id="a", patient="p", context_version=1, as_of=NOON, recorded_at=NOON, studies=[study])
            self.worklist.write(ItemChange(rank(None, told, study, NOON), "arrived", "a"))

    def put(self, item: object) -> None:
        self.worklist.write(ItemChange(item, "x", "a"))  # type: ignore[arg-type]


async def test_other_rules_rank_the_whole_list_again() -> None:
    """Every open item moves to where the new rules say, with that as its cause, on the list, in the history and on the topic."""
    department = Department(PORTION + 1)
    department.policy = read(NIGHT.replace("unordered: asap", "places:\n  - {match: '*', targets: {routine: 60}}")).policy
    for item in [row.listed.item for row in department.worklist.rows.values()]:
        department.put(replace(item, study=replace(item.study, location="4W")))
    looked = [await department.review.once() for _ in range(3)]

    assert looked == [PORTION, 1, 0]
    assert {row.listed.item.due_at for row in department.worklist.rows.values()} == {NOON + 60 * MINUTE}
    assert (await department.worklist.history("1.0"))[0].cause.startswith("policy changed to night+")
    assert len(department.log.records(WORKLIST)) == PORTION + 1


async def test_a_hold_that_is_over_is_taken_off() -> None:
    """Within one look after its time, and nothing else is touched."""
    department = Department()
    await department.review.once()
    item = department.worklist.rows["1.1"].listed.item
    department.put(adjustments.hold(item, DEFAULT.holds[0], "Ada", NOON, 30, None, DEFAULT))
    assert await department.review.once() == 0
    department.clock.advance(30 * MINUTE)

    assert await department.review.once() == 1
    assert department.worklist.rows["1.1"].listed.item.adjustment.hold is None
    assert (await department.worklist.history("1.1"))[0].kind == "review"


async def test_the_same_rules_by_another_name_move_nothing() -> None:
    """Items then carry the new name, and no reader is told of anything."""
    department = Department()
    department.policy = read("schema: site/1\nversion: same\n").policy
    assert await department.review.once() == 3

    assert department.log.records(WORKLIST) == []
    assert {row.listed.item.policy for row in department.worklist.rows.values()} == {department.policy.version}
    assert await department.review.once() == 0


async def test_who_follows_the_rules_is_told_until_it_is_done(register: FlakyRegister, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a change; again where a server was away; never without one."""
    monkeypatch.setattr(site_rules, "POLL_S", 0.001)
    source = MemorySiteSource(DAY, read)
    rules = SiteRulesInForce(source, register, ManualClock(NOON))
    await rules.refresh()
    told: list[str] = []
    done = asyncio.Event()

    async def follow() -> None:
        told.append(rules.policy().version.partition("+")[0])
        if len(told) == 1:
            raise Unavailable("away")
        done.set()

    following = asyncio.create_task(rules.changes(follow))
    for text in (NIGHT, DAY):
        await asyncio.sleep(0)
        done.clear()
        source.text = text
        await rules.refresh()
        await asyncio.wait_for(done.wait(), 10)
    following.cancel()
    assert told == ["night", "night", "day"]
