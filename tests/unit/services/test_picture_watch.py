"""What is noted beside looking at pictures: what they were, what was said of them, and what a candidate says of the same ones."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest
from prometheus_client.openmetrics.exposition import generate_latest

from pipeline.adapters.memory.model_life import MemoryDriftCounts, MemoryShadowScores
from pipeline.adapters.onnx import heads
from pipeline.adapters.telemetry import exports
from pipeline.adapters.telemetry.metrics import Metrics
from pipeline.domain import drift
from pipeline.domain.image_drift import MODALITY, REFUSED, UNLIKENESS, VIEW
from pipeline.errors import StackError
from pipeline.ports import Looked
from pipeline.services import picture_watch
from pipeline.services.drift_tally import DriftTally
from pipeline.services.picture_watch import Candidate, PictureWatch
from tests.unit.services.test_pictures import NOW, REFERENCE, FakeModel, World, told

HEAD = "chest_frontal"
MADE_ON = heads.load_distribution(heads.HEADS / HEAD)


class Watched(World):
    """A picture stage that is watched."""

    def __init__(self) -> None:
        super().__init__()
        assert MADE_ON is not None
        self.scores, self.counts, self.theirs = MemoryShadowScores(), MemoryDriftCounts(), FakeModel(Looked("2", (0.6,), 0.5))
        self.candidate: Candidate | None = Candidate(msgspec.structs.replace(REFERENCE, version="2"), self.theirs)
        self.tally = DriftTally(self.counts, lambda: (f"{HEAD}/1", MADE_ON), self.clock)
        self.watch = PictureWatch(lambda head: self.candidate, self.scores, {HEAD: self.tally})
        self.stage._note = self.watch.note

    def drifts(self) -> dict[str, drift.Drift]:
        """As of the last flush."""
        return {one.input: one for one in self.tally.standing}


async def test_the_candidate_looks_at_what_was_looked_at() -> None:
    """Both probabilities of the same picture are kept; what could not be read, or was refused, is shown to nobody."""
    world = Watched()
    await world.handle(told(0), told(1, uri="object:bad/2/3"))
    world.triton.answer = Looked("1", (0.8,), 1.5)
    await world.handle(told(2, uri="object:1/2/9"))
    await world.watch.look()

    (score,) = await world.scores.since(datetime.min.replace(tzinfo=UTC))
    assert (score.patient, score.served, score.shadow) == ("p", 0.8, 0.6)
    assert (score.served_version, score.shadow_version) == (f"{HEAD}/1 pneumonia", f"{HEAD}/2 pneumonia")


async def test_a_candidate_that_is_away_or_none_costs_nothing() -> None:
    """What it did not see is counted; without one nothing piles up."""
    world = Watched()
    world.theirs.down = True
    await world.handle(told(0))
    await world.watch.look()
    world.candidate = None
    await world.handle(told(1, uri="object:1/2/4"))
    await world.watch.look()

    assert (world.watch.left_out, await world.scores.since(NOW)) == (1, [])


async def test_why_it_cannot_look_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And again where the reason changes, or comes back after it was mended: not every second."""
    told, reasons = list[str](), ["gone", "gone", "damaged", "", "damaged", "damaged"]
    monkeypatch.setattr(picture_watch, "log", SimpleNamespace(warning=lambda event, head, reason: told.append(f"{event} {head}: {reason}")))

    def candidate(head: str) -> None:
        if reason := reasons.pop(0):
            raise StackError(reason, "put it back")

    watch = PictureWatch(candidate, MemoryShadowScores(), {HEAD: Watched().tally})
    while reasons:
        await watch.look()
    assert told == [f"shadow_cannot_look {HEAD}: {reason}" for reason in ("gone", "damaged", "damaged")]


@pytest.mark.parametrize("view", ["PA", "AP"])
async def test_the_mix_of_views_drifts(view: str) -> None:
    """A day of one projection alone is another population; each picture counts once, told of twice."""
    world = Watched()
    for n in range(drift.LEAST):
        await world.handle(told(n, uri=f"object:1/2/{n}", view=view, modality="CR"))
    await world.handle(
        told(drift.LEAST, uri="object:1/2/0", view=view, modality="CR"), told(drift.LEAST + 1, uri="object:bad/2/3", view=None)
    )
    await world.watch.flush()
    found = world.drifts()

    assert found[VIEW].verdict == "another population"
    assert (found[VIEW].rows, found[VIEW].missing) == (drift.LEAST + 1, round(1 / (drift.LEAST + 1), 4))
    assert found["pneumonia"].rows == drift.LEAST
    assert found[UNLIKENESS].missing == round(1 / (drift.LEAST + 1), 4)
    assert found[REFUSED].verdict == "as made on"
    assert MODALITY in found


async def test_drift_is_served() -> None:
    """Rows always, an index only once there are enough of them."""
    world, metrics = Watched(), Metrics()
    exports.drift(HEAD, world.tally, metrics)
    for n in range(drift.LEAST - 1):
        await world.handle(told(n, uri=f"object:1/2/{n}"))
    await world.watch.flush()
    few = generate_latest(metrics.registry).decode()
    await world.handle(told(drift.LEAST - 1, uri="object:1/2/3000"))
    await world.watch.flush()
    served = generate_latest(metrics.registry).decode()

    labels = f'input="view",model="{HEAD}"'
    assert f"readfirst_drift_rows{{{labels}}} {drift.LEAST - 1}.0" in few
    assert "readfirst_drift_psi{" not in few
    psi = next(one.psi for one in world.tally.standing if one.input == VIEW)
    assert f"readfirst_drift_psi{{{labels}}} {psi}" in served
