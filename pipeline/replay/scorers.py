"""Who scores in a replay: the shipped model in this process, the scores that the log holds, or nobody, which leaves the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.onnx.artefact import load_reference
from pipeline.adapters.onnx.scorer import OnnxScorer
from pipeline.errors import ReadfirstError, StackError
from schemas.assessments import AssessRequest, Risk

Scores = Literal["model", "recorded", "rules"]
_DIGITS = 3
"""Another processor adds in another order: the seventh digit may differ, the third does not."""


class ModelAbsent(ReadfirstError):
    """The log was scored by a model that is not here."""


class ReplayScorer(OnnxScorer):
    """The shipped model without a thread of its own, its answers to three digits."""

    async def score(self, requests: Sequence[AssessRequest], *, look: bool = True) -> Sequence[Risk]:
        """As Scorer.score; there is no film to look at."""
        return [_rounded(risk) for risk in self._score(requests)] if requests else []


def _rounded(risk: Risk) -> Risk:
    changes = [replace(one, change=round(one.change, _DIGITS)) for one in risk.contributions]
    probability = None if risk.probability is None else round(risk.probability, _DIGITS)
    return replace(risk, probability=probability, contributions=[one for one in changes if one.change])


def shipped() -> dict[str, str]:
    """name -> version of the models that can be asked here."""
    try:
        reference = load_reference()
    except StackError:
        return {}
    return {reference.model: reference.version}


def model_scorer(models: Mapping[str, str], clock: ManualClock) -> ReplayScorer:
    """For a log that was scored by `models` (none: any will do). Raises ModelAbsent."""
    here = shipped()
    if not here:
        raise ModelAbsent("no model can be asked here; replay by the rules alone with --scorer rules")
    if models and not models.items() & here.items():
        were = ", ".join(f"{name} {version}" for name, version in sorted(models.items()))
        have = ", ".join(f"{name} {version}" for name, version in sorted(here.items()))
        raise ModelAbsent(
            f"the log was scored by {were}, which is not here (here is {have}): replay by the rules alone with --scorer rules, "
            "with the scores that the log holds with --scorer recorded, or with what is here with --scorer model --any-model"
        )
    return ReplayScorer(clock)
