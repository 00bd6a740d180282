"""A fine-tuned version on pairs that it was not made from: external validation, as the version is asked live. Needs onnxruntime only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from pipeline.adapters.onnx import artefact, heads
from pipeline.adapters.onnx.pictures import OnnxHead
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.domain import features, model_inputs
from pipeline.domain.image_answer import LIMIT
from pipeline.domain.model_inputs import IMAGE, WORDS, Declared
from pipeline.models.artefacts import pretty
from pipeline.models.evaluation import plots
from pipeline.models.evaluation.bootstrap import bootstrap_difference, bootstrap_interval, rounded
from pipeline.models.evaluation.calibration import calibration, slope_and_intercept
from pipeline.models.evaluation.decision_curve import decision_curve
from pipeline.models.evaluation.discrimination import Labels, auc, roc, working_points
from pipeline.models.evaluation.summary import FIGURES, figures, intervals, subgroups
from pipeline.models.evaluation.tables import table
from pipeline.models.finetuning import verdict
from pipeline.models.finetuning.audit import Audit
from pipeline.models.finetuning.pairs import Pair
from pipeline.models.finetuning.requests import members, request
from pipeline.models.finetuning.verdict import SHIPPED
from pipeline.models.finetuning.version import Version
from pipeline.models.imaging.recipe import HEAD
from schemas.assessments import AssessRequest

Matrix = NDArray[np.float64]
VALUES = "values"
LIVE = "without films that the image head refuses, as live"
_SAMPLES = 1000
_UNKNOWN = (
    "The version does not know whose pairs it was made from (it was written before that was kept): that none of these patients was among "
    "them, nobody has checked."
)


@dataclass(frozen=True, slots=True)
class Validated:
    """figures: what stands in metrics.json. probability, positive: of each pair; shipped: of the shipped models, where they have any."""

    figures: dict[str, Any]
    positive: Labels
    probability: Matrix
    shipped: Mapping[str, Matrix]


def validate(version: Version, pairs: Sequence[Pair], found: Audit, prevalence: float | None) -> Validated:
    """pairs: of others, as `version.others` leaves them, enough of each outcome. prevalence: for the PPV, by default that of the pairs."""
    model = OnnxModel(version.artefact)
    asked = [request(pair) for pair in pairs]
    films = {pair.digest: pair.picture for pair in pairs if pair.digest is not None and pair.picture is not None}
    positive, patient = np.array([pair.outcome for pair in pairs]), np.array([pair.patient for pair in pairs])
    probability = answers(model, asked, films)
    shipped, unlike = _shipped(asked, films)
    slope, intercept = slope_and_intercept(positive, probability)
    between = {f"{name}_95": pair for name, pair in intervals(positive, probability, patient, _SAMPLES).items()}
    reads = {part: _having(part, asked, model.reference) for part in _parts(model.reference)}
    told: dict[str, Any] = {
        **figures(positive, probability),
        **between,
        "patients": len(set(patient)),
        "patients_with_outcome": len(set(patient[positive])),
        "model": model.reference.model,
        "version": model.reference.version,
        "outcome": model.reference.outcome,
        "beside": {name: _beside(positive, probability, each, patient) for name, each in shipped.items()},
        "by_input": _by_input(model, asked, films, positive, reads, unlike),
        "calibration": [asdict(one) for one in calibration(positive, probability)],
        "calibration_slope": round(slope, 3),
        "calibration_intercept": round(intercept, 3),
        "working_points": [asdict(one) for one in working_points(positive, probability, prevalence=prevalence)],
        "decision_curve": [asdict(one) for one in decision_curve(positive, probability)],
        "subgroups": subgroups(positive, probability, members(pairs) | _lacking(reads)),
        "pictures_unlike_the_shipped_heads": int(unlike.sum()),
        "own_patients": {name: version.metrics["results"][name] for name in ("auc", "ece", "patients")},
        "patients_known": version.learned_from is not None,
        "pairs": {**asdict(found), "refusals": []},
    }
    return Validated({**told, "sentences": sentences(told)}, positive, probability, shipped)


def answers(model: OnnxModel, asked: Sequence[AssessRequest], films: Mapping[str, model_inputs.Film]) -> Matrix:
    """[n] probabilities. As in service: those with a film apart from the others, who then need none looked at."""
    found = np.zeros(len(asked))
    seen = np.array([model_inputs.film_of(one, model.reference, films) is not None for one in asked])
    for rows in (np.flatnonzero(seen).tolist(), np.flatnonzero(~seen).tolist()):
        if rows:
            part = [asked[row] for row in rows]
            given = model_inputs.arrays(part, model.reference, films)
            found[rows] = model.run(features.matrix([one.features for one in part]), given).risk[:, 0]
    return found


def keep(asked: AssessRequest, parts: frozenset[str]) -> AssessRequest:
    """As it would be asked with these parts alone; age and sex stay."""
    bare = replace(asked, values={}, picture=None, concepts=(), studies=[], features=replace(asked.features, values={}))
    own: dict[str, dict[str, Any]] = {
        IMAGE: {"picture": asked.picture},
        VALUES: {"values": asked.values, "features": asked.features},
        WORDS: {"concepts": asked.concepts, "studies": asked.studies},
    }
    return replace(bare, **{name: value for part in parts for name, value in own[part].items()})


def sentences(told: Mapping[str, Any]) -> list[str]:
    """What the figures prove, in the order of their weight."""
    own, (low, high) = told["own_patients"], told["auc_95"]
    lines = [] if told["patients_known"] else [_UNKNOWN]
    lines += verdict.size(told, told["auc_95"])
    lines.append(
        f"On its own {own['patients']} patients, tested by what had not learned from them, its AUC was {own['auc']:.3f} and its "
        f"calibration error {own['ece']:.3f}; on these {told['auc']:.3f} ({low:.3f} to {high:.3f}) and {told['ece']:.3f}."
    )
    lines += [verdict.beside(name, one["auc"], one["minus_95"]) for name, one in told["beside"].items()]
    return lines


def write(out: Path, found: Validated) -> None:
    """metrics.json, report.md and three plots (SVG)."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_bytes(pretty(found.figures))
    (out / "report.md").write_text("\n".join(_report(found.figures)) + "\n")
    positive, probability = found.positive, found.probability
    plots.plot_calibration(out / "calibration.svg", calibration(positive, probability))
    name = f"version {found.figures['version']}"
    plots.plot_roc(out / "roc.svg", {told: roc(positive, each) for told, each in {name: probability, **found.shipped}.items()})
    plots.plot_decision_curve(out / "decision.svg", decision_curve(positive, probability))


def _parts(reference: Declared) -> tuple[str, ...]:
    further = model_inputs.groups(reference)
    return (*((IMAGE,) if IMAGE in further else ()), VALUES, *((WORDS,) if WORDS in further else ()))


def _having(part: str, asked: Sequence[AssessRequest], reference: Declared) -> Labels:
    """[n]: whose request has something of it that the version reads."""
    if part == IMAGE:
        return np.array([one.picture is not None for one in asked])
    if part == WORDS:
        return np.array([WORDS in model_inputs.given(one, reference, {}) for one in asked])
    return np.array([bool(one.features.values) or not one.values.keys().isdisjoint(reference.values) for one in asked])


def _lacking(reads: Mapping[str, Labels]) -> dict[str, Labels]:
    """As subgroups, where some have a part and some have not."""
    return {f"no {part} given": ~having for part, having in reads.items() if having.any() and not having.all()}


def _by_input(
    model: OnnxModel,
    asked: Sequence[AssessRequest],
    films: Mapping[str, model_inputs.Film],
    positive: Labels,
    reads: Mapping[str, Labels],
    unlike: Labels,
) -> dict[str, dict[str, Any]]:
    """The same pairs, asked with less of what there is of them."""
    there = frozenset(part for part, having in reads.items() if having.any())
    kept = {"all": there, **{f"without {part}": there - {part} for part in sorted(there) if len(there) > 1}}
    kept |= {f"{part} alone": frozenset({part}) for part in sorted(there) if len(there) > 2}
    kept["age and sex alone"] = frozenset()
    found = {name: [keep(one, parts) for one in asked] for name, parts in kept.items()}
    if IMAGE in there and unlike.any():
        found[LIVE] = [replace(one, picture=None) if refused else one for one, refused in zip(asked, unlike, strict=True)]
    return {name: figures(positive, answers(model, each, films)) for name, each in found.items()}


def _shipped(asked: Sequence[AssessRequest], films: Mapping[str, model_inputs.Film]) -> tuple[dict[str, Matrix], Labels]:
    """What the shipped models say of these pairs (0.5 where the head has no film), and whose film the head would refuse."""
    found = {SHIPPED[0]: answers(OnnxModel(artefact.load()), asked, {})}
    unlike = np.zeros(len(asked), np.bool_)
    rows = np.array([row for row, one in enumerate(asked) if one.picture in films], np.int64)
    if not len(rows) or HEAD not in heads.names():
        return found, unlike
    pictures = np.stack([films[str(asked[row].picture)] for row in rows])
    head = OnnxHead(heads.load(HEAD), threads=2)
    if pictures.shape[1] == head.reference.side:
        findings, unlikeness = head.run(pictures)
        found[SHIPPED[1]] = np.full(len(asked), 0.5)
        found[SHIPPED[1]][rows], unlike[rows] = findings[:, 0], unlikeness[:, 0] > LIMIT
    return found, unlike


def _beside(positive: Labels, probability: Matrix, other: Matrix, patient: NDArray[np.str_]) -> dict[str, Any]:
    """Of another model: how it ranks. Its probabilities are of another outcome."""
    return {
        "auc": round(auc(positive, other), 4),
        "auc_95": rounded(bootstrap_interval(auc, positive, other, patient, _SAMPLES)),
        "minus_95": rounded(bootstrap_difference(auc, positive, probability, other, patient, _SAMPLES)),
    }


def _report(told: Mapping[str, Any]) -> Iterator[str]:
    pairs, (rows, patients) = told["pairs"], (f"{told['positives']} of {told['n']} rows", f"{told['patients_with_outcome']} of")
    yield f"# Version {told['version']} of {told['model']} on pairs that it was not made from\n"
    yield "**Not a medical device.** It orders a reading list; it does not diagnose, and it never moves a study down.\n"
    yield f"Outcome: *{told['outcome']}*: {rows}, {patients} {told['patients']} patients."
    yield f"Of {pairs['rows']} rows {sum(pairs['refused'].values())} are left out: {pairs['refused'] or 'none'}."
    yield f"The image head would refuse {told['pictures_unlike_the_shipped_heads']} of the pictures.\n"
    yield from (f"- {line}" for line in (*told["sentences"], *pairs["remarks"]))
    yield "\n## Result\n"
    yield from table([{"figure": name, "value": told[name], "95 % by patient": "{} to {}".format(*told[f"{name}_95"])} for name in FIGURES])
    yield "\n## Beside it: how the shipped models rank these rows (they were made for other outcomes)\n"
    yield from table(
        [
            {
                "model": name,
                "AUC": one["auc"],
                "95 %": "{} to {}".format(*one["auc_95"]),
                "difference, 95 %": "{:+} to {:+}".format(*one["minus_95"]),
            }
            for name, one in told["beside"].items()
        ]
    )
    for title, name in (("The same pairs, asked with less", "by_input"), ("Subgroups", "subgroups")):
        yield f"\n## {title}\n"
        yield from table([{"": part, **{each: one[each] for each in ("n", "positives", *FIGURES)}} for part, one in told[name].items()])
    yield f"\n## Calibration\n\nSlope {told['calibration_slope']}, intercept {told['calibration_intercept']}.\n"
    yield from table(told["calibration"])
    for title, name in (("Working points", "working_points"), ("Net benefit", "decision_curve")):
        yield f"\n## {title}\n"
        yield from table(told[name])
