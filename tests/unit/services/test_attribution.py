"""What single readings did to a risk, by the shipped model, of patients whose facts and items are as the stages leave them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.context_store import MemoryContextStore
from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.adapters.onnx.artefact import SHIPPED, load_reference
from pipeline.adapters.onnx.scorer import OnnxScorer
from pipeline.adapters.onnx.versions import ModelVersions, in_process
from pipeline.domain import features
from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.window import Window, derive
from pipeline.errors import NotFound, StackError, Unavailable
from pipeline.ports import Fact, ItemChange, Scorer
from pipeline.services import attribution
from pipeline.services.assessing import request, view
from pipeline.services.attribution import LOOK_BACK, MOST_WAITING, Attribution, RiskAttribution
from schemas.assessments import AssessRequest, Risk
from schemas.codec import encode
from schemas.codes import ObservationStatus
from schemas.events import AdtEvent, AnyEvent, Demographics, ImagingEvent, Observation, ObservationEvent
from schemas.time import Timestamp
from tests.store_fixtures import item
from tests.unit.models.test_versions import candidate

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STUDY, PATIENT = "1.2.3", "p"


def measured(hours: float, status: ObservationStatus = "final", told: float | None = None, **values: float) -> ObservationEvent:
    """Values of that many hours ago; `told` hours ago, a minute later where that is not said."""
    taken, known = NOW - timedelta(hours=hours), NOW - (timedelta(hours=hours, minutes=-1) if told is None else timedelta(hours=told))
    seen = [
        Observation(
            key=f"{name}{hours}", effective=Timestamp(taken), status=status, loinc=BY_NAME[name].loinc, value=value, unit=BY_NAME[name].unit
        )
        for name, value in values.items()
    ]
    return ObservationEvent(event_id=f"{known} {values}", patient=PATIENT, source="LIS", recorded_at=known, observations=seen)


def images(hours: float, number: int = 1) -> ImagingEvent:
    at = NOW - timedelta(hours=hours)
    person = Demographics(age=71.0, sex="F")
    return ImagingEvent(
        event_id=f"image{number}", patient=PATIENT, source="CT1", recorded_at=at, study_uid=STUDY, acquired=Timestamp(at),
        modality="CT", study_description="CT Head", demographics=person,
    )  # fmt: skip


class Site:
    """The stages' stores, and a service that asks the shipped model."""

    def __init__(self) -> None:
        self.context = MemoryContextStore()
        self.worklist = MemoryWorklist(self.context)
        self.scorer = OnnxScorer(ManualClock(NOW))
        self.asked = 0
        self.service = RiskAttribution(self.worklist, in_process(self._folder_of, ManualClock(NOW)))

    def learn(self, events: Sequence[AnyEvent]) -> None:
        """They become facts."""
        start = len(self.context.facts)
        facts = [Fact(one.patient, one.event_id, "k", one.recorded_at, "t", 0, start + at, encode(one)) for at, one in enumerate(events)]
        self.context.add(facts, [])

    async def scored(self, events: Sequence[AnyEvent], **changes: Any) -> Risk:
        """The model's answer to what these say, and the item that shows it."""
        window = derive(events)
        seen = view(window, window.open_studies, lambda *_: [], features.extract)
        (risk,) = await self.scorer.score([request(PATIENT, 1, seen, seen.as_of, None)])
        risk = msgspec.structs.replace(risk, **{"scored_at": seen.as_of + timedelta(seconds=1), **changes.pop("risk", {})})
        self.show(risk, as_of=seen.as_of, **changes)
        return risk

    def show(self, risk: Risk | None, **changes: Any) -> None:
        made = msgspec.structs.replace(item(STUDY), patient=PATIENT, risk=risk, **changes)
        self.worklist.write(ItemChange(made, "scored", "e"))

    async def told(self) -> Attribution:
        return await self.service.of_study(STUDY)

    def _folder_of(self, version: str) -> Any:
        if version != load_reference().version:
            raise NotFound(version)
        return SHIPPED


@pytest.fixture
def site() -> Site:
    """Nobody there yet."""
    return Site()


SICK = (
    images(9),
    measured(8, lactate=2.1, gcs=14, urea_nitrogen=40, heart_rate=88),
    measured(5, lactate=4.8, gcs=11, heart_rate=104),
    measured(1, lactate=9.6, gcs=6, heart_rate=131),
)


async def test_a_single_reading_moved_it_as_much_as_its_observable(site: Site) -> None:
    """The same number as the model itself tells, for each of them."""
    site.learn(events := [images(9), measured(2, lactate=7.5, gcs=7, urea_nitrogen=70, systolic_bp=82, heart_rate=126)])
    risk = await site.scored(events)
    told = await site.told()

    moved = {one.feature: one.change for one in risk.contributions if one.feature in BY_NAME}
    assert len(moved) >= 3
    assert {one.observable: one.change for one in told.effects} == pytest.approx(moved, abs=1e-4)
    assert (told.probability, told.model_version, told.as_of) == (
        risk.probability,
        risk.model_version,
        NOW - timedelta(hours=2, minutes=-1),
    )


async def test_each_reading_of_what_moved_it_is_told(site: Site) -> None:
    """With its time and source, the strongest first."""
    site.learn(SICK)
    risk = await site.scored(SICK)
    told = await site.told()
    moved = {one.feature for one in risk.contributions if one.feature in BY_NAME}

    assert {"lactate", "gcs", "urea_nitrogen"} <= moved
    assert len(told.effects) == sum(name in moved for name in ("lactate", "gcs", "heart_rate")) * 3 + 1
    sizes = [abs(one.change) for one in told.effects]
    assert sizes == sorted(sizes, reverse=True)
    newest = next(one for one in told.effects if (one.observable, one.value) == ("gcs", 6))
    assert (newest.at, newest.source) == (NOW - timedelta(hours=1), "LIS")
    assert newest.change > 0.02
    assert (told.newer, told.why_not) == (0, None)


@pytest.mark.parametrize(("name", "values"), [("gcs", (15, 10, 5)), ("urea_nitrogen", (10, 40, 90))])
async def test_the_worse_a_reading_the_more_it_raises_the_risk(name: str, values: Sequence[float]) -> None:
    """Against the same patient without it; a normal one lowers it."""
    changes = []
    for value in values:
        site = Site()
        before = measured(3, lactate=3.0, gcs=14, urea_nitrogen=30, heart_rate=90)
        site.learn(events := [images(9), before, measured(2, **{name: value})])
        await site.scored(events)
        changes += [one.change for one in (await site.told()).effects if (one.observable, one.value) == (name, value)]

    assert len(changes) == len(values)
    assert changes == sorted(changes)
    assert changes[0] < 0 < 0.02 < changes[-1]


async def test_a_device_whose_clock_is_ahead(site: Site) -> None:
    """Its reading is the newest that the score knew, although it is later than the score."""
    site.learn(events := [*SICK, measured(-1, told=0.5, gcs=4)])
    await site.scored(events, risk={"scored_at": NOW - timedelta(minutes=29)})
    told = await site.told()

    assert told.as_of == NOW + timedelta(hours=1)
    assert 4 in [one.value for one in told.effects]


async def test_older_readings_are_told_together(site: Site) -> None:
    """Those that the window has only tallies of."""
    events = [images(40), *(measured(hours, lactate=8.0, gcs=9) for hours in range(38, 24, -2)), measured(2, lactate=1.1)]
    site.learn(events)
    await site.scored(events)
    older = {one.observable: one for one in (await site.told()).effects if one.older}

    assert {name: (one.older, one.low, one.high) for name, one in older.items()} == {"lactate": (4, 8.0, 8.0), "gcs": (3, 9.0, 9.0)}


async def test_a_score_is_told_by_what_it_knew(site: Site) -> None:
    """Corrections and new values that came since are counted, not reckoned with; the item may be ahead of its score."""
    since = [
        measured(1, "corrected", 0.5, gcs=15),
        measured(0.2, lactate=1.0),
        *(images(0.4, number) for number in range(9, 9 + LOOK_BACK)),
    ]
    site.learn([*SICK, *since])
    risk = await site.scored(SICK)
    site.show(risk, as_of=NOW, context_version=2)
    told = await site.told()

    assert (told.as_of, told.newer) == (SICK[-1].recorded_at, 2)
    assert told.probability == risk.probability
    assert next(one for one in told.effects if one.observable == "gcs" and one.at == NOW - timedelta(hours=1)).value == 6


async def test_moments_without_weight_between_context_and_score_do_no_harm(site: Site) -> None:
    """A further image and a move came while the model was asked."""
    moved = AdtEvent(event_id="m", patient=PATIENT, source="ADT", recorded_at=SICK[-1].recorded_at, trigger="A02", occurred=Timestamp(NOW))
    between = [msgspec.structs.replace(images(1, 5), recorded_at=SICK[-1].recorded_at + timedelta(milliseconds=700)), moved]
    site.learn([*SICK, *between])
    risk = await site.scored(SICK)
    site.show(risk, as_of=NOW)

    assert (await site.told()).probability == pytest.approx(risk.probability, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "why_not"),
    [
        ({"probability": None}, "no-score"),
        ({"inputs": ("image",)}, "not-reproduced"),
        ({"model_version": "904"}, "version"),
        ({"probability": 0.111}, "not-reproduced"),
        ({"coverage": 0.99}, "not-reproduced"),
        ({"inputs": ("crp",)}, "not-reproduced"),
    ],
)
async def test_what_cannot_be_told_is_said(site: Site, change: dict[str, Any], why_not: str) -> None:
    """And nothing else."""
    site.learn(SICK)
    await site.scored(SICK, risk=change)

    assert await site.told() == Attribution(why_not=why_not)  # type: ignore[arg-type]


async def test_a_sites_own_version_tells_of_its_scores(site: Site, tmp_path: Path) -> None:
    """Whatever is served by now; gone, it says nothing, and the shipped one does not speak in its place."""
    site.learn(SICK)
    await site.scored(SICK, risk={"model_version": "901"})
    versions = ModelVersions(tmp_path / "site", "clinical_risk")
    version = versions.install(candidate(tmp_path, "901"))
    told = await RiskAttribution(site.worklist, in_process(versions.folder_of, ManualClock(NOW))).of_study(STUDY)
    assert (told.model_version, told.why_not) == (version, None)

    shutil.rmtree(versions.folder_of(version))
    gone = await RiskAttribution(site.worklist, in_process(versions.folder_of, ManualClock(NOW))).of_study(STUDY)
    assert gone == Attribution(why_not="version")


async def test_a_study_without_a_score(site: Site) -> None:
    """The rules spoke first, and the model has not answered yet."""
    site.show(None)
    assert (await site.told()).why_not == "no-score"


async def test_an_unknown_study_is_not_found(site: Site) -> None:
    """As everywhere."""
    with pytest.raises(NotFound):
        await site.told()


async def test_facts_that_are_gone_reproduce_nothing(site: Site) -> None:
    """Expired, or of a patient who was merged since."""
    await site.scored(SICK)
    assert (await site.told()).why_not == "not-reproduced"
    site.learn(SICK[:-1])
    assert (await site.told()).why_not == "not-reproduced"


class Refusing:
    """A scorer that answers the first so many requests."""

    def __init__(self, scorer: Scorer, answers: int) -> None:
        self.scorer, self.answers = scorer, answers

    async def score(self, requests: Sequence[AssessRequest], *, look: bool = True) -> Sequence[Risk]:
        """As Scorer.score."""
        self.answers -= 1
        if self.answers < 0:
            raise Unavailable("ordered by the test")
        return await self.scorer.score(requests, look=look)


@pytest.mark.parametrize("answers", [0, 1])
async def test_a_model_that_does_not_answer(site: Site, answers: int) -> None:
    """At the whole or at the parts; a version that is damaged is not there."""
    site.learn(SICK)
    await site.scored(SICK)
    broken = RiskAttribution(site.worklist, lambda _: Refusing(site.scorer, answers))
    assert (await broken.of_study(STUDY)).why_not == "no-answer"

    def damaged(_: str) -> Scorer:
        raise StackError("damaged", "install it again")

    assert (await RiskAttribution(site.worklist, damaged).of_study(STUDY)).why_not == "version"


async def test_side_by_side(site: Site) -> None:
    """Several readers ask: the same to all."""
    site.learn(SICK)
    await site.scored(SICK)
    first, *others = await asyncio.gather(*(site.told() for _ in range(4)))

    assert first.effects
    assert others == [first] * 3


class Counting:
    """A scorer that counts what it was asked."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.asked = scorer, 0

    async def score(self, requests: Sequence[AssessRequest], *, look: bool = True) -> Sequence[Risk]:
        """As Scorer.score."""
        self.asked += 1
        return await self.scorer.score(requests, look=look)


async def test_the_same_is_worked_out_once(site: Site) -> None:
    """Of another context it is worked out anew."""
    site.learn(SICK)
    risk = await site.scored(SICK)
    scorer = Counting(site.scorer)
    service = RiskAttribution(site.worklist, lambda _: scorer)
    first = await service.of_study(STUDY)
    once = scorer.asked

    assert await service.of_study(STUDY) is first
    assert scorer.asked == once
    site.show(risk, as_of=SICK[-1].recorded_at, context_version=2)
    assert await service.of_study(STUDY) == first
    assert scorer.asked == 2 * once


async def test_only_so_many_wait(site: Site) -> None:
    """Whoever asks beyond them is told at once; afterwards there is room again."""
    site.learn(SICK)
    await site.scored(SICK)
    answers = await asyncio.gather(*(site.told() for _ in range(MOST_WAITING + 3)))

    assert [one.why_not for one in answers] == [None] * MOST_WAITING + ["busy"] * 3
    assert (await site.told()).why_not is None


async def test_nobody_waits_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose turn does not come is told so, and holds up nobody."""
    site.learn(SICK)
    await site.scored(SICK)
    monkeypatch.setattr(attribution, "LONGEST_WAIT_S", 0.0)
    answers = await asyncio.gather(*(site.told() for _ in range(3)))

    assert [one.why_not for one in answers] == [None, "busy", "busy"]
    assert (await site.told()).why_not is None


def test_a_long_history_is_derived_anew_only_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its last moments corrects a value that only tallies tell of; the score is of the newest."""
    events: list[AnyEvent] = [images(40), *(measured(hours, lactate=8.0) for hours in range(38, 2, -2))]
    events += [measured(38, "corrected", 1 - minute / 60, lactate=8.0 + minute) for minute in range(20)]
    derived = 0

    def counted(of: Iterable[AnyEvent]) -> Window:
        nonlocal derived
        derived += len(known := list(of))
        return derive(known)

    monkeypatch.setattr(attribution, "derive", counted)
    monkeypatch.setattr(attribution, "MOST_DERIVED", 5 * len(events))
    made = msgspec.structs.replace(item(STUDY), patient=PATIENT, as_of=NOW)
    found = attribution.as_it_was(made, Risk(scorer="triton", probability=0.5, scored_at=NOW), events)

    assert [one.request.recorded_at for one in found] == [one.recorded_at for one in reversed(events[-5:])]
    assert 3 * len(events) < derived <= 6 * len(events)
