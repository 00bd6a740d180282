"""The ranking stage: every assessment has its effect once, and the list only hears of what a reader sees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.domain.image_heads import Scope
from pipeline.errors import Unavailable
from pipeline.ports import Received
from pipeline.services.batch import Done, SeekTo
from pipeline.services.ranking import RankingStage
from schemas import codec
from schemas.assessments import Assessment, Evidence, Risk, StudyState
from schemas.topics import ASSESSMENTS, DLQ, WORKLIST
from tests.store_fixtures import batch

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STUDY = StudyState(study_uid="1.2.3", ready_at=NOON, priority="routine", patient_class="I")
NEWS2 = Evidence(kind="news2", code="news2", label="NEWS2 9 (7 of 7)", severity=0.83, value=9)


class Noon:
    def now(self):
        return NOON


class Bench:
    """A stage over the in-memory ports, fed at ascending offsets."""

    def __init__(self):
        self.worklist, self.log = MemoryWorklist(), MemoryEventLog()
        self.stage = RankingStage(self.worklist, self.log, Noon(), "ranking")
        self.offset = 0

    async def feed(self, *bodies, key=b"p", start=None):
        first = self.offset if start is None else start
        records = [
            Received(ASSESSMENTS, 0, first + index, key, body, {"trace_id": "t", "source": "scoring"}) for index, body in enumerate(bodies)
        ]
        [outcome] = await self.stage.handle([batch(records)])
        self.offset = max(self.offset, first + len(records))
        return outcome

    async def item(self, uid="1.2.3"):
        return (await self.worklist.get(uid)).item


@pytest.fixture
def bench():
    return Bench()


def assessment(version, evidence=(), probability=None, studies=(STUDY,), **fields):
    risk = None if probability is None else Risk(scorer="triton", outcome="death", probability=probability, model="m")
    return codec.encode(
        Assessment(
            event_id=f"a{version}",
            patient="p",
            context_version=version,
            as_of=NOON,
            recorded_at=NOON,
            studies=list(studies),
            evidence=list(evidence),
            risk=risk,
            **fields,
        )
    )


async def test_an_assessment_becomes_an_item(bench):
    """The item stands in the store and on the topic, with the assessment's trace."""
    assert await bench.feed(assessment(1, [NEWS2])) == Done(1)

    [record] = bench.log.records(WORKLIST)
    assert (record.key, dict(record.headers)) == (b"1.2.3", {"event_id": "a1", "trace_id": "t", "source": "ranking"})
    assert bench.log.documents(WORKLIST) == [await bench.item()]
    assert (await bench.worklist.history("1.2.3"))[0].cause == "images arrived"


async def test_redelivery_has_no_second_effect(bench):
    """A batch that comes again is not applied again."""
    await bench.feed(assessment(1), assessment(2, [NEWS2]))

    assert await bench.feed(assessment(1), assessment(2, [NEWS2]), start=0) == Done(0)
    assert len(bench.log.records(WORKLIST)) == 1


async def test_a_gap_is_read_again(bench):
    """Missing records before the batch: nothing is applied, the stage asks for them."""
    await bench.feed(assessment(1))

    assert await bench.feed(assessment(3), start=5) == SeekTo(1)
    assert (await bench.item()).context_version == 1


async def test_one_change_for_a_batch(bench):
    """Several assessments of a study in one batch are one change, and an older score among them is not lost."""
    await bench.feed(assessment(1), assessment(1, probability=0.8), assessment(2, [NEWS2]))

    item = await bench.item()
    assert (item.context_version, item.risk.probability, len(bench.log.records(WORKLIST)), bench.stage.ranked) == (2, 0.8, 1, 1)


async def test_outdated_is_ignored_and_counted(bench):
    """A late assessment of an older context changes nothing."""
    await bench.feed(assessment(5, [NEWS2]))
    await bench.feed(assessment(4, probability=0.9))

    assert ((await bench.item()).risk, bench.stage.outdated) == (None, 1)


async def test_unchanged_is_not_told(bench):
    """What no reader could see is noted by version only."""
    await bench.feed(assessment(1, [NEWS2]))
    seq = (await bench.worklist.get("1.2.3")).seq
    await bench.feed(assessment(2, [NEWS2]))

    listed = await bench.worklist.get("1.2.3")
    assert (listed.item.context_version, listed.seq, bench.stage.unchanged, len(bench.log.records(WORKLIST))) == (2, seq, 1, 1)


async def test_bad_values_are_ranked_by_rule_and_counted(bench):
    """A score that is no probability, a deadline that had passed, a study that is there twice: the list stands, and each is counted."""
    stat = msgspec.structs.replace(STUDY, priority="stat")
    late = msgspec.structs.replace(STUDY, study_uid="1.2.4", deadline=NOON - timedelta(days=1))
    await bench.feed(assessment(1, probability=8.1, studies=[STUDY, late, stat]))

    assert dict(bench.stage.odd) == {"score-out-of-range": 1, "deadline-passed": 1, "study-twice": 1}
    assert (await bench.item()).target_at == NOON + timedelta(minutes=60)
    assert (await bench.item()).risk.probability is None
    assert (await bench.item("1.2.4")).due_at == NOON + timedelta(minutes=5)
    assert bench.stage.dead_lettered == {}


async def test_a_naive_time_is_a_counted_dead_letter(bench):
    """Read on another machine it would be another moment; the others of its batch are ranked."""
    naive = assessment(1).replace(b'"as_of":"2026-03-01T12:00:00Z"', b'"as_of":"2026-03-01T12:00:00"')
    assert naive != assessment(1)
    await bench.feed(naive, assessment(2))

    assert bench.stage.dead_lettered.total() == 1
    assert "timezone" in bench.log.documents(DLQ)[0].explanation
    assert (await bench.item()).context_version == 2


async def test_closed_study_leaves_the_topic(bench):
    """A reported study becomes a tombstone, and a late assessment does not bring it back."""
    await bench.feed(assessment(1))
    await bench.feed(assessment(3, studies=[msgspec.structs.replace(STUDY, closed="reported")]))
    await bench.feed(assessment(2, [NEWS2]))

    assert [record.value is None for record in bench.log.records(WORKLIST)] == [False, True]
    assert (await bench.item()).state == "closed"


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"{", "malformed"), (b'{"schema":"assessment/2"}', "unsupported-major"), (b'{"schema":"assessment/1"}', "invalid")],
)
async def test_bad_record_is_dead_lettered_and_the_rest_goes_on(bench, body, reason):
    """A record that cannot be understood goes to the dlq with its place; its neighbours are ranked."""
    assert await bench.feed(assessment(1), body, assessment(2, [NEWS2])) == Done(3)

    [letter] = bench.log.documents(DLQ)
    assert (letter.reason, letter.offset, letter.body, (await bench.item()).context_version) == (reason, 1, body, 2)
    assert bench.stage.dead_lettered == {reason: 1}


async def test_wrong_key(bench):
    """An assessment under another patient's key is not believed."""
    await bench.feed(assessment(1), key=b"q")

    assert [letter.reason for letter in bench.log.documents(DLQ)] == ["wrong-key"]


async def test_kafka_down_leaves_everything_as_it_was(bench):
    """When the log does not answer nothing is stored; the same batch has its effect later."""
    bench.log.fail_next()
    with pytest.raises(Unavailable):
        await bench.feed(assessment(1))

    assert await bench.feed(assessment(1)) == Done(1)
    assert (await bench.item()).context_version == 1


async def test_two_studies_of_one_patient(bench):
    """One assessment ranks all of the patient's studies."""
    other = StudyState(study_uid="9", ready_at=NOON, priority="stat", patient_class="I")
    await bench.feed(assessment(1, studies=[STUDY, other]))

    assert (await bench.item("9")).due_at < (await bench.item()).due_at


async def test_a_picture_s_word_is_waited_for_where_there_is_a_model(bench):
    """Which there are is asked once a batch: a version that looks at more needs no restart."""
    hand = Scope(modalities=("CR",), body_parts=("HAND",), views=(None,))
    study = replace(STUDY, modality="CR", body_part="HAND")
    for version, heads in enumerate(({}, {"hand": hand}), 1):
        bench.stage._heads = lambda heads=heads: heads
        await bench.feed(assessment(version, studies=(study,)))
        assert ("image assessment: no image model for CR HAND" in (await bench.item()).missing) == (not heads)
