"""The contract of StudyLedger, held by the memory twin and by Postgres."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.adapters.memory.study_ledger import MemoryStudyLedger
from pipeline.adapters.postgres.study_ledger import PostgresStudyLedger
from pipeline.ports import Step, Study, StudyLedger
from tests.store_fixtures import START

MINUTE = timedelta(minutes=1)
STUDY = Study("1.2.3", "p1", "CT1", START, 4)


@pytest.fixture(params=["memory", "postgres"])
def ledger(request: pytest.FixtureRequest) -> StudyLedger:
    """Empty."""
    return MemoryStudyLedger() if request.param == "memory" else PostgresStudyLedger(request.getfixturevalue("database"))


async def test_an_image_is_remembered(ledger: StudyLedger) -> None:
    """What was noted comes back; nobody knows another study."""
    assert await ledger.note_image(STUDY) == STUDY
    assert await ledger.study("1.2.3") == STUDY
    assert await ledger.study("9.9") is None


async def test_a_late_note_takes_nothing_back(ledger: StudyLedger) -> None:
    """Two gateways note in any order: the largest count and the latest time stay, the newest patient counts."""
    await ledger.note_image(STUDY)
    late = replace(STUDY, patient="p2", last_image=START - MINUTE, instances=2)

    assert await ledger.note_image(late) == replace(STUDY, patient="p2")


async def test_quiet_studies_are_told_once(ledger: StudyLedger) -> None:
    """A study is quiet when no image came after the time, until it was told with as many images as it has."""
    await ledger.note_image(STUDY)
    await ledger.note_image(replace(STUDY, study_uid="1.2.4", last_image=START + MINUTE))
    assert [study.study_uid for study in await ledger.quiet(START)] == ["1.2.3"]
    assert [study.study_uid for study in await ledger.quiet(START + MINUTE)] == ["1.2.3", "1.2.4"]
    assert len(await ledger.quiet(START + MINUTE, limit=1)) == 1

    await ledger.note_told("1.2.3", 4)
    await ledger.note_told("1.2.3", 3)
    assert await ledger.quiet(START) == []
    await ledger.note_image(replace(STUDY, instances=5))
    assert await ledger.quiet(START) == [replace(STUDY, instances=5, told=4)]


async def test_a_step_keeps_what_it_began_with(ledger: StudyLedger) -> None:
    """N-SET changes the state alone."""
    step = Step("2.1", "1.2.3", None, "CT1", "IN PROGRESS")
    await ledger.note_step(step, START)
    await ledger.note_step(replace(step, study_uid="9.9", state="COMPLETED"), START + MINUTE)

    assert await ledger.step("2.1") == replace(step, state="COMPLETED")
    assert await ledger.step("2.2") is None
