"""The scoring stage: every request answered once, by the best scorer there is, and again when a better one is back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.degraded_scores import MemoryDegradedScores
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.errors import Unavailable
from pipeline.ports import Received
from pipeline.services.batch import Done, SeekTo
from pipeline.services.scoring import ScoringStage
from schemas import codec
from schemas.assessments import Assessment, AssessRequest, Evidence, Features, Risk, StudyState
from schemas.topics import ASSESS, ASSESSMENTS, DLQ
from tests.store_fixtures import batch, place

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GROUP = "scoring"


class FakeScorer:
    """Answers with a set probability, or not at all; remembers what it was asked."""

    def __init__(self, scorer: str, probability: float = 0.5) -> None:
        self.scorer = scorer
        self.probability = probability
        self.down = self.late = False
        self.puzzled_by: set[str] = set()
        self.asked: list[list[str]] = []
        self.looks: list[bool] = []
        self.while_asked: Callable[[], object] = lambda: None

    async def score(self, requests: Sequence[AssessRequest], *, look: bool = True) -> Sequence[Risk]:
        self.asked.append([request.patient for request in requests])
        self.looks.append(look)
        self.while_asked()
        if self.down:
            raise Unavailable("down (ordered by the test)")
        late = "late" if self.late else None
        known = Risk(scorer=self.scorer, probability=self.probability, model="m", model_version="1", unseen=late)  # type: ignore[arg-type]
        return [Risk(scorer="rules") if request.patient in self.puzzled_by else known for request in requests]


class World:
    """A stage with everything around it."""

    def __init__(self, primary: bool = True, fallback: bool = True) -> None:
        self.clock = ManualClock(NOW)
        self.log = MemoryEventLog()
        self.offsets = MemoryOffsets()
        self.triton = FakeScorer("triton")
        self.local = FakeScorer("onnxruntime")
        self.degraded = MemoryDegradedScores()
        self._scorers = (self.triton if primary else None, self.local if fallback else None)
        self.stage = self.new_stage()

    def new_stage(self) -> ScoringStage:
        """As a worker has it that has just started."""
        return ScoringStage(self.offsets, self.degraded, self.log, *self._scorers, self.clock, GROUP)

    async def handle(self, *records: Received) -> Done | SeekTo:
        [outcome] = await self.stage.handle([batch(records)])
        return outcome

    @property
    def assessments(self) -> list[Assessment]:
        return self.log.documents(ASSESSMENTS)

    @property
    def applied(self) -> int:
        return self.offsets.applied(GROUP, place(ASSESS))


def request(patient: str = "p", version: int = 1, urgency: int = 2) -> AssessRequest:
    return AssessRequest(
        event_id=f"{patient}-{version}",
        patient=patient,
        context_version=version,
        as_of=NOW - timedelta(minutes=1),
        recorded_at=NOW,
        urgency=urgency,
        studies=[StudyState(study_uid=f"1.2.{version}", ready_at=NOW)],
        features=Features(values={"potassium.last": 6.8, "potassium.age_h": 1.0}, age=70.0, sex="F"),
        evidence=[Evidence(kind="critical-lab", code="potassium", label="K 6.8", severity=0.9)],
        trigger="the-lab",
        sex="F",
        age=70.0,
    )


def received(offset: int, document: AssessRequest) -> Received:
    return Received(ASSESS, 0, offset, document.patient.encode(), codec.encode(document), {"trace_id": f"trace-{offset}", "source": "lab"})


async def test_the_assessment_is_the_request_with_its_risk() -> None:
    """Studies, evidence, time, version and trigger are the request's; key, trace and source are in the record."""
    world, asked = World(), request()

    assert await world.handle(received(0, asked)) == Done(1)

    (answer,), (record,) = world.assessments, world.log.records(ASSESSMENTS)
    for name in ("patient", "context_version", "as_of", "studies", "evidence", "trigger", "sex", "age"):
        assert getattr(answer, name) == getattr(asked, name)
    assert answer.risk is not None
    assert (answer.risk.scorer, answer.risk.probability, answer.degraded) == ("triton", 0.5, False)
    assert record.key == b"p"
    assert record.headers == {"event_id": answer.event_id, "trace_id": "trace-0", "source": "scoring"}
    assert world.applied == 0


async def test_who_looks_on_is_told_of_what_was_sent() -> None:
    """The newest request of each patient with its answer, once it is in the log; nothing of what could not be sent."""
    world, told = World(), []
    world.stage = ScoringStage(
        world.offsets, world.degraded, world.log, world.triton, world.local, world.clock, GROUP, lambda *answered: told.append(answered)
    )
    world.log.fail_next()
    with pytest.raises(Unavailable):
        await world.handle(received(0, request()))
    assert told == []

    await world.handle(received(0, request()), received(1, request(version=2)))
    (([asked], [risk]),) = told
    assert (asked.context_version, risk.probability) == (2, 0.5)


async def test_the_newest_version_of_a_patient_wins() -> None:
    """Older requests of the same batch are dropped and counted, whatever their order."""
    world = World()

    await world.handle(received(0, request(version=2)), received(1, request(version=3)), received(2, request(version=1)))

    assert [answer.context_version for answer in world.assessments] == [3]
    assert (world.stage.scored, world.stage.superseded, world.applied) == (1, 2, 2)


async def test_most_urgent_first() -> None:
    """Urgency 1 is asked and sent before 2 and 3, also beyond one chunk."""
    world = World()
    slow = [request(f"slow{i}", urgency=3) for i in range(70)]

    await world.handle(*(received(i, one) for i, one in enumerate([*slow, request("mid", urgency=2), request("first", urgency=1)])))

    assert world.triton.asked[0][:2] == ["first", "mid"]
    assert [len(chunk) for chunk in world.triton.asked] == [64, 8]
    assert world.triton.looks == [True, False], "only they may wait for films"


async def test_a_bad_record_is_dead_lettered_and_stops_nothing() -> None:
    """Not JSON, another major, the wrong key: each to the dlq with its reason under its own key; the good one is scored."""
    world, good = World(), request()
    body = codec.encode(good)
    records = [
        Received(ASSESS, 0, 0, b"k", b"{not json"),
        Received(ASSESS, 0, 1, b"p", body.replace(b"assess/1", b"assess/2")),
        Received(ASSESS, 0, 2, b"other", body),
        received(3, good),
    ]

    assert await world.handle(*records) == Done(4)

    assert sorted(letter.reason for letter in world.log.documents(DLQ)) == ["malformed", "unsupported-major", "wrong-key"]
    assert {record.key for record in world.log.records(DLQ)} == {b"k", b"p", b"other"}
    assert world.stage.dead_lettered == {"malformed": 1, "unsupported-major": 1, "wrong-key": 1}
    assert (len(world.assessments), world.applied) == (1, 3)


async def test_a_gap_is_read_again_and_a_repeat_has_no_effect() -> None:
    """The applied offset decides."""
    world = World()
    await world.handle(received(0, request()))

    assert await world.handle(received(2, request("q"))) == SeekTo(1)
    assert await world.handle(received(0, request())) == Done(0)
    assert len(world.assessments) == 1


async def test_nothing_is_applied_when_the_log_does_not_answer() -> None:
    """The batch comes again, and its answers have the same event ids."""
    world = World()
    world.log.fail_next(written=1)
    with pytest.raises(Unavailable):
        await world.handle(received(0, request()))
    assert (world.applied, world.stage.superseded) == (-1, 0)

    await world.handle(received(0, request()))

    assert world.applied == 0
    first, second = world.assessments
    assert first.event_id == second.event_id


async def test_the_second_choice_is_marked_degraded() -> None:
    """With Triton away the in-process model answers, and says so."""
    world = World()
    world.triton.down = True

    await world.handle(received(0, request()))

    (answer,) = world.assessments
    assert answer.risk is not None
    assert (answer.risk.scorer, answer.degraded, world.stage.degraded) == ("onnxruntime", True, 1)


async def test_a_row_without_a_probability_alone_goes_to_the_next() -> None:
    """Triton has none for one patient of a batch, nobody for another: those two are degraded and wait; the rest and the breaker don't."""
    world, patients = World(), ("a", "b", "c", "d")
    world.triton.puzzled_by, world.local.puzzled_by = {"b", "c"}, {"c"}
    for version in range(1, 5):
        await world.handle(*(received(4 * version - 4 + n, request(patient, version)) for n, patient in enumerate(patients)))

    said = {one.patient: (one.risk.scorer, one.degraded) for one in world.assessments if one.risk}
    assert said == {"a": ("triton", False), "b": ("onnxruntime", True), "c": ("rules", True), "d": ("triton", False)}
    assert (world.local.asked, world.stage.degraded, world.stage.waiting) == ([["b", "c"]] * 4, 8, 2)
    assert world.stage.tripped == [False, False]
    assert await world.stage.rescore() == 0

    world.triton.puzzled_by = set()
    assert await world.stage.rescore() == 2
    assert (world.stage.waiting, await world.degraded.all()) == (0, [])


async def test_in_process_alone_is_not_degraded() -> None:
    """Where no Triton is configured, the in-process model is the first choice."""
    world = World(primary=False)

    await world.handle(received(0, request()))

    assert [answer.degraded for answer in world.assessments] == [False]
    assert world.stage.waiting == 0


@pytest.mark.parametrize("configured", [True, False])
async def test_the_rules_alone_when_no_model_answers(configured: bool) -> None:
    """The list stays: evidence without a probability, marked, with the coverage and the time."""
    world = World(configured, configured)
    world.triton.down = world.local.down = True

    await world.handle(received(0, request()))

    (answer,) = world.assessments
    assert answer.risk == Risk(scorer="rules", coverage=answer.risk.coverage if answer.risk else 0, scored_at=NOW)
    assert answer.risk.coverage > 0
    assert answer.degraded
    assert answer.evidence == request().evidence


async def test_a_dead_scorer_is_not_asked_for_a_while() -> None:
    """After three failures in a row only the second choice is asked, until the pause is over."""
    world = World()
    world.triton.down = True
    for offset in range(5):
        await world.handle(received(offset, request(version=offset)))
    assert len(world.triton.asked) == 3

    world.triton.down = False
    world.clock.advance(timedelta(seconds=5))
    await world.handle(received(5, request(version=5)))

    assert world.assessments[-1].risk is not None
    assert world.assessments[-1].risk.scorer == "triton"


async def test_degraded_scores_are_replaced_when_the_model_is_back() -> None:
    """Each patient's newest request only, once, as a new event of the same context version."""
    world = World()
    world.triton.down = True
    await world.handle(received(0, request(version=1)), received(1, request("q", version=7)))
    await world.handle(received(2, request(version=2)))
    assert await world.stage.rescore() == 0
    assert world.stage.waiting == 2

    world.triton.down = False
    world.clock.advance(timedelta(seconds=5))

    assert await world.stage.rescore() == 2
    better = [answer for answer in world.assessments if not answer.degraded]
    assert {(answer.patient, answer.context_version) for answer in better} == {("p", 2), ("q", 7)}
    assert len({answer.event_id for answer in world.assessments}) == 5
    assert {record.headers["trace_id"] for record in world.log.records(ASSESSMENTS)} == {"trace-0", "trace-1", "trace-2"}
    assert (world.stage.waiting, await world.stage.rescore()) == (0, 0)


async def test_the_rules_are_replaced_by_the_second_choice_and_then_by_the_first() -> None:
    """Each step up is sent, none twice."""
    world = World()
    world.triton.down = world.local.down = True
    await world.handle(received(0, request()))
    world.local.down = False
    assert [await world.stage.rescore(), await world.stage.rescore(), await world.stage.rescore()] == [1, 0, 0]

    world.triton.down = False
    world.clock.advance(timedelta(seconds=5))
    assert await world.stage.rescore() == 1

    assert [answer.risk.scorer for answer in world.assessments if answer.risk] == ["rules", "onnxruntime", "triton"]


async def test_rescoring_waits_for_the_event_log() -> None:
    """What could not be sent is not forgotten."""
    world = World()
    world.triton.down = True
    await world.handle(received(0, request()))
    world.triton.down = False
    world.log.fail_next()

    assert await world.stage.rescore() == 0
    assert await world.stage.rescore() == 1


async def test_a_newer_score_ends_the_waiting_of_an_older_one() -> None:
    """A request that the model has answered meanwhile is not scored again."""
    world = World()
    world.triton.down = True
    await world.handle(received(0, request(version=1)))
    world.triton.down = False

    await world.handle(received(1, request(version=2)))

    assert (world.stage.waiting, await world.stage.rescore()) == (0, 0)


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the oldest goes."""
    monkeypatch.setattr("pipeline.services.scoring.MOST_REMEMBERED", 3)
    world = World()
    world.triton.down = True

    await world.handle(*(received(i, request(f"p{i}")) for i in range(5)))

    assert world.stage.waiting == 3


async def test_a_worker_that_dies_leaves_its_degraded_scores_to_the_next() -> None:
    """Scored again when the model is back, whoever is there then."""
    world = World()
    world.triton.down = True
    await world.handle(received(0, request()))
    world.triton.down = False
    successor = world.new_stage()
    world.clock.advance(timedelta(minutes=1))

    assert await successor.rescore() == 1
    assert [assessment.degraded for assessment in world.assessments] == [True, False]
    assert await world.degraded.all() == []


async def test_what_waits_in_hand_is_told_by_urgency() -> None:
    """The urgent go first, so they are the first that wait no more; nobody waits between batches, nor after a failure."""
    world = World(fallback=False)
    seen: list[dict[int, int]] = []
    world.triton.while_asked = lambda: seen.append(dict(world.stage.backlog))
    asked = [received(n, request(f"p{n}", urgency=1 + n % 3)) for n in range(99)]
    await world.handle(*asked)
    world.log.fail_next()
    with pytest.raises(Unavailable):
        await world.handle(received(99, request("late", urgency=1)))

    assert seen == [{1: 33, 2: 33, 3: 33}, {1: 0, 2: 2, 3: 33}, {1: 1, 2: 0, 3: 0}]
    assert world.stage.backlog == {1: 0, 2: 0, 3: 0}
