"""Every Scorer: the in-process one and the one behind a real Triton pass the same tests, and give the same numbers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.onnx.artefact import load_reference
from pipeline.adapters.onnx.scorer import OnnxScorer
from pipeline.adapters.triton.scorer import TritonScorer
from pipeline.domain import features
from pipeline.domain.readings import Reading
from pipeline.errors import Unavailable
from pipeline.ports import Scorer
from schemas.assessments import AssessRequest, Features

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SICK = {"gcs": 4, "lactate": 9.1, "systolic_bp": 71, "heart_rate": 139, "urea_nitrogen": 80, "ph": 7.08}
WELL = {"gcs": 15, "lactate": 0.9, "systolic_bp": 124, "heart_rate": 71, "urea_nitrogen": 12, "ph": 7.41}


def request(values: dict[str, float], urgency: int = 2, patient: str = "p", age: float | None = 66.0) -> AssessRequest:
    readings = {name: [Reading(NOW - timedelta(hours=1), value)] for name, value in values.items()}
    seen = features.extract(readings, NOW, age, "F") if values else Features()
    return AssessRequest(
        event_id="e", patient=patient, context_version=1, as_of=NOW, recorded_at=NOW, urgency=urgency, studies=[], features=seen
    )


@pytest.fixture(params=["onnxruntime", "triton"])
async def scorer(request: pytest.FixtureRequest) -> AsyncIterator[Scorer]:
    """Each of them over the shipped model."""
    if request.param == "onnxruntime":
        yield OnnxScorer(ManualClock(NOW))
        return
    served = TritonScorer(request.getfixturevalue("triton_server"), "clinical_risk", 10, ManualClock(NOW))
    yield served
    await served.close()


async def test_a_risk_for_each_in_order(scorer: Scorer, request: pytest.FixtureRequest) -> None:
    """The sick one is riskier than the well one, wherever each stands and whatever its urgency."""
    sick, well, again, other = await scorer.score([_sick(3), _well(1), _sick(2), _well(2)])

    assert sick.probability == pytest.approx(again.probability, abs=1e-4)
    assert well.probability == pytest.approx(other.probability, abs=1e-4)
    assert sick.probability is not None
    assert well.probability is not None
    assert 0 <= well.probability < 0.15 < 0.4 < sick.probability <= 1
    for risk in (sick, well):
        assert risk.scorer == request.node.callspec.params["scorer"]
        assert (risk.model, risk.model_version, risk.scored_at) == ("clinical_risk", load_reference().version, NOW)
        assert risk.outcome == "in-hospital death of ICU patients"
        assert risk.coverage == pytest.approx(8 / 35, abs=1e-3)
        assert risk.spread is not None
        assert 0 < risk.spread < 0.5
        assert risk.novelty is not None


async def test_contributions_name_what_moved_it(scorer: Scorer) -> None:
    """At most five, strongest first, each of an input that is there; the coma of the sick one raises its risk."""
    (risk,) = await scorer.score([_sick(1)])
    sizes = [abs(contribution.change) for contribution in risk.contributions]

    assert 1 <= len(sizes) <= 5
    assert sizes == sorted(sizes, reverse=True)
    assert {contribution.feature for contribution in risk.contributions} <= {*SICK, "age", "sex"}
    assert next(contribution.change for contribution in risk.contributions if contribution.feature == "gcs") > 0


async def test_nothing_known(scorer: Scorer) -> None:
    """A patient without any input gets a probability, no coverage and no contributions."""
    (risk,) = await scorer.score([request({}, age=None)])

    assert risk.probability is not None
    assert (risk.coverage, risk.contributions) == (0, [])


async def test_nobody_asked(scorer: Scorer) -> None:
    """No requests, no answers, no error."""
    assert list(await scorer.score([])) == []


async def test_many_at_once_and_side_by_side(scorer: Scorer) -> None:
    """More than Triton's largest batch, several calls at a time: each answer belongs to its request."""
    asked = [request({"lactate": 0.5 + index / 20, "gcs": 15}, urgency=1 + index % 3, patient=str(index)) for index in range(150)]
    first, second = await asyncio.gather(scorer.score(asked), scorer.score(asked[::-1]))

    assert [risk.probability for risk in first] == pytest.approx([risk.probability for risk in second[::-1]], abs=1e-4)
    assert len({risk.probability for risk in first}) > 50


async def test_a_missing_model_is_unavailable(tmp_path: Path) -> None:
    """Not an error of its own kind: the stage goes on with its next choice."""
    for broken in (OnnxScorer(ManualClock(NOW), lambda: tmp_path), TritonScorer("127.0.0.1:1", "clinical_risk", 0.3, ManualClock(NOW))):
        with pytest.raises(Unavailable):
            await broken.score([_well(2)])


def _sick(urgency: int) -> AssessRequest:
    return request(SICK, urgency)


def _well(urgency: int) -> AssessRequest:
    return request(WELL, urgency)
