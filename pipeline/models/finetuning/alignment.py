"""Films and reports without labels, brought into one space: the directions in which films differ as their reports do.

A read-out that is learned from few pairs afterwards favours these directions (`readout.fit`). Films and reports belong together by study,
or only by patient; reports that say the same count as one. What a report says is its concepts (`domain.report_words`), not its wording.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.domain import report_words
from pipeline.errors import NotFound, StackError, UnfitPicture
from pipeline.models.evaluation.bootstrap import bootstrap_interval
from pipeline.models.finetuning.films import Film, Films
from pipeline.models.finetuning.inputs import Mask, Matrix, Progress

COLUMNS = ("study", "patient", "image", "text")
CODES = (*(finding.code for finding in report_words.FINDINGS), "nothing")
RECALL_AT = (1, 5, 10)
FEWEST_PATIENTS = 20
_SAYS = {"affirmed": 1.0, "uncertain": 0.5, "denied": -1.0}
_COMPONENTS, _SPACE = 32, 16
_STEPS, _RATE, _DECAY = 200, 1e-2, 0.1
_SHARPEST = 30.0
"""Largest factor on cosines before the softmax: the inverse of InfoNCE's temperature."""
_SAMPLES = 500

Look = Callable[[Sequence[Film], Progress], Matrix]
"""Films to the encoder's features [n, WIDTH]."""


@dataclass(frozen=True, slots=True)
class Told:
    """Films or reports, row by row, with their patients and studies ("": not known). values: features, or what the concepts are."""

    values: Matrix
    patient: NDArray[np.str_]
    study: NDArray[np.str_]

    def chosen(self, rows: Mask) -> Told:
        """Some of them."""
        return Told(self.values[rows], self.patient[rows], self.study[rows])


@dataclass(frozen=True, slots=True)
class Aligned:
    """directions [WIDTH, _SPACE] of the encoder's features. figures: what stands in metrics.json. patients: whose films or reports."""

    directions: Matrix
    figures: dict[str, Any]
    patients: frozenset[str]


def aligned(
    path: Path, films: Films, look: Look, others: Collection[str], seed: int, progress: Progress = lambda done, of: None
) -> Aligned:
    """From a manifest whose rows hold a film, a report or both (COLUMNS). others: patients of the pairs, who take no part.

    A fifth of the patients is held out for the figures; the directions are then learned on all. Raises StackError for too few.
    """
    pictures, reports, left = _read(path, films, others)
    seen = Told(look([film for film, _, _ in pictures], progress), *_names((patient, study) for _, patient, study in pictures))
    told = Told(np.array([said for said, _, _ in reports]), *_names((patient, study) for _, patient, study in reports))
    seen = seen.chosen(np.asarray(belongs(seen, told).any(1)))
    patients = np.unique(seen.patient)
    if len(patients) < FEWEST_PATIENTS:
        raise StackError(
            f"{len(patients)} patients with a film and a report are too few to align anything", f"bring at least {FEWEST_PATIENTS}"
        )
    held_out = np.random.default_rng(seed).permutation(patients)[: max(len(patients) // 5, 4)]
    test_films, test_reports = (part.chosen(np.isin(part.patient, held_out)) for part in (seen, told))
    rest = [part.chosen(np.isin(part.patient, held_out, invert=True)) for part in (seen, told)]
    figures = {
        **{"films": len(seen.values), "reports": len(told.values), "patients": len(patients), "left_out": dict(left)},
        "by_study": int((belongs(seen, told, loosely=False).any(1)).sum()),
        "held_out": {"films": len(test_films.values), "reports": len(test_reports.values), "patients": len(held_out)},
        "space": _SPACE,
        "recall": _recalls(
            _Space.learned(rest[0], rest[1], seed, 0), _Space.learned(rest[0], rest[1], seed), test_films, test_reports, rest[1]
        ),
    }
    return Aligned(_Space.learned(seen, told, seed).directions, figures, frozenset([*seen.patient.tolist(), *told.patient.tolist()]))


def belongs(films: Told, reports: Told, loosely: bool = True) -> Mask:
    """[films, reports]: of one study; `loosely`, of one patient where no report is of the film's study; and all reports that say the
    same."""
    same = (films.study[:, None] == reports.study) & (films.study[:, None] != "") & (films.patient[:, None] == reports.patient)
    if loosely:
        same |= (films.patient[:, None] == reports.patient) & ~same.any(1, keepdims=True)
    _, saying = np.unique(reports.values, axis=0, return_inverse=True)
    kinds = np.eye(saying.max() + 1, dtype=bool)[saying.ravel()]
    found: Mask = ((same.astype(int) @ kinds) > 0) @ kinds.T
    return found


def recall(scores: Matrix, positive: Mask, at: int) -> Matrix:
    """[films]: the chance that one of a film's own is among the first `at`, those of equal score in any order. Both [films, reports]."""
    found = np.zeros(len(scores))
    for row, (score, own) in enumerate(zip(scores, positive, strict=True)):
        best = score[own].max(initial=-np.inf)
        better, tied = int((score > best).sum()), int((score == best).sum())
        drawn = min(max(at - better, 0), tied)
        found[row] = 1 - comb(tied - int((score[own] == best).sum()), drawn) / comb(tied, drawn) if own.any() else 0.0
    return found


class _Space(nn.Module):  # type: ignore[misc]
    """Both sides projected linearly, compared by cosine."""

    def __init__(self, films: Told, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.mean, self.size = films.values.mean(0), films.values.std(0) + 1e-6
        _, spread, axes = np.linalg.svd((films.values - self.mean) / self.size, full_matrices=False)
        kept = min(_COMPONENTS, int((spread > 1e-6 * spread[0]).sum()))
        self.axes = axes[:kept].T / (spread[:kept] / np.sqrt(len(films.values))) / self.size[:, None]
        self.image, self.text = nn.Linear(kept, _SPACE, bias=False), nn.Linear(len(CODES), _SPACE)
        self.sharpness = nn.Parameter(torch.tensor(1.0))

    @classmethod
    def learned(cls, films: Told, reports: Told, seed: int, steps: int = _STEPS) -> _Space:
        """By InfoNCE both ways, each film's own reports sharing the target."""
        self, own = cls(films, seed), torch.tensor(belongs(films, reports), dtype=torch.float32)
        image, text = self._inputs(films, reports)
        ways = [part / part.sum(1, keepdim=True) for part in (own, own.T[own.any(0)])]
        optimizer = torch.optim.AdamW(self.parameters(), lr=_RATE, weight_decay=_DECAY)
        with _one_thread():
            for _ in range(steps):
                logits = self(image, text) * self.sharpness.exp().clamp(max=_SHARPEST)
                loss = sum(functional.cross_entropy(one, way) for one, way in zip((logits, logits.T[own.any(0)]), ways, strict=True))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return self

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Cosines [films, reports]."""
        cosines: Tensor = functional.normalize(self.image(image)) @ functional.normalize(self.text(text)).T
        return cosines

    @property
    def sharpest(self) -> float:
        """What a cosine is worth in log odds."""
        return float(self.sharpness.detach().exp().clamp(max=_SHARPEST))

    def scores(self, films: Told, reports: Told) -> Matrix:
        """The same; reports that say the same score the same."""
        with torch.inference_mode():
            cosines: Matrix = self(*self._inputs(films, reports)).double().numpy()
        return np.round(cosines, 6)

    @property
    def directions(self) -> Matrix:
        """Of the encoder's features."""
        directions: Matrix = self.axes @ self.image.weight.detach().double().numpy().T
        return directions

    def _inputs(self, films: Told, reports: Told) -> tuple[Tensor, Tensor]:
        image = (films.values - self.mean) @ self.axes
        return torch.tensor(image, dtype=torch.float32), torch.tensor(reports.values, dtype=torch.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sharing a product of two small matrices out costs more than it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _recalls(before: _Space, after: _Space, films: Told, reports: Told, learned: Told) -> dict[str, dict[str, Any]]:
    """Recall at RECALL_AT among what these reports say, each saying once; with intervals by patient. learned: reports that were.

    common: what those say most often comes first, whatever the film. both: that times what the film adds, as InfoNCE weighs them.
    """
    _, first = np.unique(reports.values, axis=0, return_index=True)
    count = (learned.values[:, None] == reports.values[first]).all(2).sum(0)
    kinds = Told(reports.values[first], reports.patient[first], reports.study[first])
    positive, found = belongs(films, reports)[:, first], {}
    every = {
        "chance": np.zeros(positive.shape),
        "common": np.broadcast_to(np.log1p(count), positive.shape),
        "untrained": before.scores(films, kinds),
        "aligned": after.scores(films, kinds),
    }
    every["both"] = every["common"] + after.sharpest * every["aligned"]
    for at in RECALL_AT:
        hits = {name: recall(scores, positive, at) for name, scores in every.items()}
        told: dict[str, Any] = {name: round(float(each.mean()), 4) for name, each in hits.items()}
        parts = {**hits, "aligned_minus_chance": hits["aligned"] - hits["chance"], "both_minus_common": hits["both"] - hits["common"]}
        found[str(at)] = {**told, "kinds": len(first), **{f"{name}_95": _interval(each, films.patient) for name, each in parts.items()}}
    return found


def _interval(values: Matrix, patient: NDArray[np.str_]) -> tuple[float, float]:
    low, high = bootstrap_interval(lambda _, each: float(each.mean()), np.ones(len(values), np.bool_), values, patient, _SAMPLES)
    return round(low, 4), round(high, 4)


def _read(
    path: Path, films: Films, others: Collection[str]
) -> tuple[list[tuple[Film, str, str]], list[tuple[list[float], str, str]], Counter[str]]:
    """Films and reports with patient and study, and what was left out, by reason."""
    pictures, reports, left = [], [], Counter[str]()
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = [{name: (row.get(name) or "").strip() for name in COLUMNS} for row in csv.DictReader(lines)]
    except OSError as error:
        raise NotFound(f"{path} cannot be read") from error
    for row in rows:
        patient, study = row["patient"], row["study"]
        if not patient or patient in others:
            left["without a patient" if not patient else "patients of the pairs"] += 1
            continue
        if row["text"]:
            if (said := concepts(row["text"])) is None:
                left["reports not understood"] += 1
            else:
                reports.append((said, patient, study))
        if row["image"]:
            try:
                pictures.append((films(row["image"]), patient, study))
            except (NotFound, UnfitPicture):
                left["pictures that cannot be read"] += 1
    if not pictures or not reports:
        words = f"{path} holds {len(pictures)} films and {len(reports)} reports that can be used"
        raise StackError(words, f"its columns are: {', '.join(COLUMNS)}")
    return pictures, reports, left


def concepts(text: str) -> list[float] | None:
    """What a report says of each of CODES: affirmed 1, uncertain 0.5, denied -1, not a word 0; None where nothing is understood."""
    if (found := report_words.said(text, ())) is None:
        return None
    said = {one.code: _SAYS[one.word] for one in found}
    return [*(said.get(code, 0.0) for code in CODES[:-1]), float(max(said.values(), default=0.0) <= 0)]


def _names(rows: Any) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    patients, studies = zip(*rows, strict=True)
    return np.array(patients), np.array(studies)
