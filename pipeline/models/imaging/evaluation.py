"""The figures of the chest head as it ships: by its ONNX file alone, on patients that its weights have not seen."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.onnx.pictures import FEATURES, FINDINGS, SPREAD, UNLIKENESS, OnnxHead
from pipeline.adapters.pictures.decoding import prepared
from pipeline.domain.image_answer import LIMIT
from pipeline.domain.site import DEFAULT
from pipeline.errors import NotFound, UnfitPicture
from pipeline.models.evaluation.bootstrap import bootstrap_difference, bootstrap_interval, rounded
from pipeline.models.evaluation.calibration import ece
from pipeline.models.evaluation.discrimination import auc, working_points
from pipeline.models.evaluation.summary import age_bands, figures, intervals, subgroups, thirds
from pipeline.models.imaging import films, foreign, readout
from pipeline.models.imaging.films import Films, Pictures
from pipeline.models.imaging.recipe import METRICS_FILE

Matrix = NDArray[np.float64]
DICOM = "dicom-dev"
_UNREADABLE_CHEST = ("malformed-real/966.dcm",)
"""A chest film, but broken: neither a foreign picture nor a film to be read."""
RIDGE_IMAGE, RIDGE_LABS, RIDGE_FUSION = 200.0, 3.0, 1.0
SUBSETS = {" + ".join(subset): subset for size in (1, 2, 3) for subset in itertools.combinations(("image", "labs", "blood gases"), size)}
_SAMPLES = 500
_SPOILED_EVERY = 10


@dataclass(frozen=True, slots=True)
class Answered:
    """Films with the probabilities [n] of what they are labelled with, and their spread; None where the head does not tell it."""

    films: Films
    probability: Matrix
    spread: Matrix | None = None


def held_out(head: OnnxHead, data: Path, most: int | None = None) -> Answered:
    """NIH's films of the fifth of the patients that was held out (of `most`, in a trial), and what the head says of pneumonia.

    Raises NotFound.
    """
    test, place = nih_held_out(data, head.reference.side, most), head.reference.codes.index("pneumonia")
    answers = head.run(test.pictures, (FINDINGS, SPREAD) if head.reference.spread else (FINDINGS,))
    return Answered(test, *(each[:, place].astype(np.float64) for each in answers))


def nih_held_out(data: Path, side: int, most: int | None = None) -> Films:
    """Raises NotFound."""
    whole = films.nih(data, side, most)
    return whole.chosen(films.held_out(whole.patient, "nih"))


def of_nih(asked: Answered, prevalence: float | None = None) -> dict[str, Any]:
    """Pneumonia against no finding. prevalence: at which the working points' PPV is told, by default the site file's default."""
    test = asked.films
    frontal = test.column("View Position", "AP")
    return {
        **_answered(asked, members(test), DEFAULT.prevalence("pneumonia") if prevalence is None else prevalence),
        "projection_alone_auc": round(auc(test.positive, frontal.astype(float)), 4),
        **({} if asked.spread is None else {"by_spread": subgroups(test.positive, asked.probability, thirds(asked.spread))}),
    }


def _answered(asked: Answered, belong: Mapping[str, films.Mask], share: float) -> dict[str, Any]:
    """What is told of any probabilities: discrimination, calibration, subgroups, working points with the PPV at `share`."""
    test, probability = asked.films, asked.probability
    return {
        **figures(test.positive, probability),
        **{f"{name}_95": pair for name, pair in intervals(test.positive, probability, test.patient, _SAMPLES).items()},
        "patients": len(set(test.patient)),
        "subgroups": subgroups(test.positive, probability, belong),
        "working_points": [
            {"sensitivity": round(p.sensitivity, 3), "specificity": round(p.specificity, 3), "ppv": round(p.ppv, 3), "prevalence": share}
            for p in working_points(test.positive, probability, prevalence=share)
        ],
    }


def held_out_uses(folder: Path) -> list[dict[str, Any]]:
    """How often NIH's patients held out were looked at up to the head in `folder`, as far as it was counted: why, and the AUC seen."""
    metrics: dict[str, Any] = msgspec.json.decode((folder / METRICS_FILE).read_bytes()) if (folder / METRICS_FILE).is_file() else {}
    return list(metrics.get("nih_held_out_uses", ()))


def members(test: Films) -> dict[str, films.Mask]:
    """The card's subgroups."""
    frontal, female = test.column("View Position", "AP"), test.column("Patient Gender", "F")
    bands = age_bands(np.array([float(row["Patient Age"]) for row in test.rows]))
    return {"AP": frontal, "PA": ~frontal, "F": female, "M": ~female, **{name: rows for name, rows in bands.items() if rows.any()}}


@dataclass(frozen=True, slots=True)
class Crossed:
    """Hannover's films: the encoder's features, and for each of SUBSETS calibrated logits, out of fold."""

    films: Films
    features: Matrix
    of_subset: dict[str, Matrix]


def hannover(head: OnnxHead, data: Path) -> Crossed:
    """Intensive care now or within seven days: image, laboratory and both, by cross-validation over patients. Raises NotFound."""
    whole = films.hannover(data, head.reference.side)
    return crossed(whole, head.run(whole.pictures, (FEATURES,))[0].astype(np.float64))


def crossed(whole: Films, features: Matrix) -> Crossed:
    """The read-outs are fitted anew in every fold; the encoder has never seen one of these films."""
    fold = films.folds(whole.patient, "hannover")
    return Crossed(whole, features, late_fusions(inputs(whole, features), SUBSETS, whole.positive, fold))


def of_subset(asked: Crossed, subset: str, prevalence: float | None = None) -> tuple[Answered, dict[str, Any]]:
    """Its probabilities, and what `of_nih` tells: by sex, projection and modality."""
    test, logits = asked.films, asked.of_subset[subset]
    named = (
        ("AP", "projection", "ap"),
        ("PA", "projection", "pa"),
        ("F", "sex", "f"),
        ("M", "sex", "m"),
        ("CR", "modality", "CR"),
        ("DX", "modality", "DX"),
    )
    belong = {name: test.column(column, value) for name, column, value in named}
    answered = Answered(test, 1 / (1 + np.exp(-logits)))
    return answered, _answered(answered, belong, DEFAULT.finding_share if prevalence is None else prevalence)


def of_hannover(asked: Crossed) -> dict[str, Any]:
    """What the card tells."""
    whole, features = asked.films, asked.features
    fold, positive, patient = films.folds(whole.patient, "hannover"), whole.positive, whole.patient
    frontal = whole.column("projection", "ap")
    laboratory = _scaled_labs(whole)
    image = readout.crossed(features, positive, fold, RIDGE_IMAGE)
    labs = readout.crossed(laboratory, positive, fold, RIDGE_LABS)
    fused = late_fusion([(features, RIDGE_IMAGE), (laboratory, RIDGE_LABS)], positive, fold)
    joint = readout.crossed(np.column_stack([features, 10 * laboratory]), positive, fold, RIDGE_IMAGE)
    logits = {"image": image, "labs": labs, "late_fusion": fused, "one_readout_of_both": joint}
    return {
        "films": len(whole),
        "patients": len(set(patient)),
        "positives": int(positive.sum()),
        "auc": {name: round(auc(positive, values), 4) for name, values in logits.items()},
        "auc_95": {name: rounded(bootstrap_interval(auc, positive, values, patient, _SAMPLES)) for name, values in logits.items()},
        "late_fusion_minus_image_95": minus(positive, fused, image, patient),
        "late_fusion_by_input": {name: calibrated(positive, values) for name, values in asked.of_subset.items()},
        "image_within_ap_auc": round(auc(positive[frontal], image[frontal]), 4),
        "projection_alone_auc": round(auc(positive, frontal.astype(float)), 4),
        "missing_labs_alone_auc": round(auc(positive, readout.crossed(np.isnan(laboratory).astype(float), positive, fold, RIDGE_LABS)), 4),
    }


def inputs(whole: Films, features: Matrix) -> dict[str, tuple[Matrix, float]]:
    """Hannover's inputs that may be there or not, each with the ridge of its read-out."""
    laboratory = _scaled_labs(whole)
    gases = np.isin(films.LABS, ("pco2", "po2"))
    return {
        "image": (features, RIDGE_IMAGE),
        "labs": (laboratory[:, ~gases], RIDGE_LABS),
        "blood gases": (laboratory[:, gases], RIDGE_LABS),
    }


def late_fusion(parts: Sequence[tuple[Matrix, float]], positive: films.Mask, fold: NDArray[np.int64]) -> Matrix:
    """Logits [n]: in each fold the parts' logits are joined by weights learned on the other folds, out of fold there too: calibrated."""
    named = {str(place): part for place, part in enumerate(parts)}
    return late_fusions(named, {"all": tuple(named)}, positive, fold)["all"]


def late_fusions(
    parts: Mapping[str, tuple[Matrix, float]], subsets: Mapping[str, Sequence[str]], positive: films.Mask, fold: NDArray[np.int64]
) -> dict[str, Matrix]:
    """The same of each subset of the parts, whose read-outs are made once."""
    logits = {name: np.full(len(positive), np.nan) for name in subsets}
    for one in np.unique(fold):
        rest, test = fold != one, fold == one
        inner = {name: readout.crossed(part[rest], positive[rest], fold[rest], ridge) for name, (part, ridge) in parts.items()}
        outer = {
            name: readout.fit(part[rest], positive[rest], ridge)(readout.filled(part[test], part[rest]))
            for name, (part, ridge) in parts.items()
        }
        for name, subset in subsets.items():
            join = readout.fit(np.column_stack([inner[part] for part in subset]), positive[rest], RIDGE_FUSION)
            logits[name][test] = join(np.column_stack([outer[part] for part in subset]))
    return logits


def calibrated(positive: films.Mask, logits: Matrix) -> dict[str, float]:
    """Discrimination and whether the probabilities come true."""
    return {"auc": round(auc(positive, logits), 4), "ece": round(ece(positive, 1 / (1 + np.exp(-logits))), 3)}


def minus(positive: films.Mask, logits: Matrix, other: Matrix, patient: NDArray[np.str_]) -> tuple[float, float]:
    """95 % by patient of the AUC's difference."""
    return rounded(bootstrap_difference(auc, positive, logits, other, patient, _SAMPLES))


@dataclass(frozen=True, slots=True)
class Looked:
    """Unlikeness of films of patients that the check has not seen, by data set, and of spoiled ones, by what was done to them."""

    films: dict[str, Matrix]
    spoiled: dict[str, Matrix]


def looked(head: OnnxHead, data: Path, most: int | None = None) -> Looked:
    """most: films of each set that are read, in a trial. Raises NotFound."""
    side, unseen = head.reference.side, {}
    for name, whole in (("nih", films.nih(data, side, most)), ("hannover", films.hannover(data, side, most))):
        unseen[name] = whole.chosen(films.held_out(whole.patient, name)).pictures
    spoiled = {way: _unlikeness(head, foreign.spoiled(unseen["nih"][::_SPOILED_EVERY], (way,), 5)) for way in foreign.WAYS}
    return Looked({name: _unlikeness(head, pictures) for name, pictures in unseen.items()}, spoiled)


def ood(head: OnnxHead, data: Path, seen: Looked | None = None) -> dict[str, Any]:
    """Shares refused: films of patients that the check has not seen, spoiled films, and the pictures of dicom-dev. Raises NotFound."""
    seen = looked(head, data) if seen is None else seen
    every = np.concatenate(list(seen.films.values()))
    return {
        "films": len(every),
        "films_refused": round(float((every > LIMIT).mean()), 4),
        "films_refused_by_set": {name: round(float((part > LIMIT).mean()), 4) for name, part in seen.films.items()},
        "spoiled_refused": {way: round(float((part > LIMIT).mean()), 3) for way, part in seen.spoiled.items()},
        **_dicom(head, data),
    }


def _dicom(head: OnnxHead, data: Path) -> dict[str, Any]:
    """By folder: `chest` holds frontal films, all others something else or nothing."""
    verdicts = {file: _verdict(head, (data / DICOM / file).read_bytes()) for file in _manifest(data)}
    chest = [verdict for file, verdict in verdicts.items() if file.startswith("chest/")]
    others = [verdict for file, verdict in verdicts.items() if not file.startswith("chest/") and file not in _UNREADABLE_CHEST]
    looked = [verdict for verdict in others if verdict in ("accepted", "out-of-distribution")]
    return {
        "dicom_chest_refused": f"{sum(verdict != 'accepted' for verdict in chest)} of {len(chest)}",
        "dicom_others": len(others),
        "dicom_others_refused": round(sum(verdict != "accepted" for verdict in others) / len(others), 4),
        "dicom_others_with_pixels": len(looked),
        "dicom_others_with_pixels_refused": round(sum(verdict != "accepted" for verdict in looked) / max(len(looked), 1), 4),
        "dicom_reasons": {reason: list(verdicts.values()).count(reason) for reason in sorted(set(verdicts.values()))},
    }


def _manifest(data: Path) -> list[str]:
    try:
        with (data / DICOM / "manifest.csv").open(newline="") as lines:
            return [row["file"] for row in csv.DictReader(lines)]
    except OSError as error:
        raise NotFound(f"{data / DICOM}/manifest.csv is not there") from error


def _verdict(head: OnnxHead, body: bytes) -> str:
    """ "accepted", or why not."""
    try:
        picture = prepared(body, head.reference.side)
    except UnfitPicture as unfit:
        return unfit.reason
    return "out-of-distribution" if _unlikeness(head, picture[None])[0] > LIMIT else "accepted"


def _unlikeness(head: OnnxHead, pictures: Pictures) -> Matrix:
    return head.run(pictures, (UNLIKENESS,))[0][:, 0].astype(np.float64)


def _scaled_labs(whole: Films) -> Matrix:
    """Logarithms: concentrations differ by factors. What lies beyond the laboratory's limits counts as not known."""
    values = films.labs(whole)
    return np.log1p(np.where(np.isfinite(values), np.clip(values, 0, None), np.nan))
