"""From the data folder to figures, card and graph of the one network over events and films."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import torch

from pipeline.adapters.onnx import artefact, heads
from pipeline.adapters.onnx.pictures import FEATURES, OnnxHead
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.models.artefacts import pretty
from pipeline.models.clinical import masking
from pipeline.models.clinical.dataset import Matrix as Features
from pipeline.models.clinical.dataset import at_end
from pipeline.models.clinical.network import count_parameters
from pipeline.models.clinical.physionet import Stay, stays
from pipeline.models.imaging import films
from pipeline.models.imaging.films import Films
from pipeline.models.imaging.recipe import CARD_FILE, HEAD, METRICS_FILE
from pipeline.models.multimodal import calibration, card, comparison, members, rows, training
from pipeline.models.multimodal.export import ANSWERS, INPUTS, Answer, to_onnx
from pipeline.models.multimodal.members import Answers, Matrix, Progress
from pipeline.models.multimodal.recipe import Recipe
from pipeline.models.multimodal.rows import DEATH, PNEUMONIA, Rows
from pipeline.models.multimodal.shipped import Parts
from pipeline.models.onnx_export import OPSET

Step = Callable[[str], None]
_ASKED = 100
"""Rows by which graph and torch are compared."""


@dataclass(frozen=True, slots=True)
class _Films:
    """Films with their features, as the shipped head gives them: [n, WIDTH]."""

    films: Films
    features: Matrix

    def chosen(self, kept: rows.Mask) -> _Films:
        return _Films(self.films.chosen(kept), self.features[kept])


@dataclass(frozen=True, slots=True)
class _Data:
    """Both sets of stays, and the films."""

    train: Sequence[Stay]
    test: Sequence[Stay]
    nih: _Films
    nih_test: _Films
    hannover: _Films


def build(
    data: Path, out: Path, recipe: Recipe, step: Step = lambda what: None, progress: Progress = lambda done, of: None
) -> dict[str, Any]:
    """Writes graph, metrics and card into `out`, and returns the metrics. Raises NotFound without data."""
    read = _read(data, recipe, step)
    step("events")
    train = rows.joined([_stays(read.train, recipe), _nih(read.nih), rows.of_hannover(read.hannover.films, read.hannover.features)])
    test = rows.joined([rows.of_stays(read.test, 0, recipe.seed), _nih(read.nih_test)])
    step("training")
    answers = members.trained(members.material(train, test, recipe), progress)
    step("exporting")
    answer = Answer(answers.networks, calibration.table(answers.shared, train)).eval()
    body = to_onnx(answer)
    out.mkdir(parents=True, exist_ok=True)
    (out / MODEL_FILE).write_bytes(body)
    step("comparing")
    metrics = {
        "data": _counts(read, train),
        **_compared(read, train, test, answers),
        "shortcuts": _shortcuts(),
        "onnx_max_difference": difference(answer, body, test),
        "bytes": len(body),
        "opset": OPSET,
        "parameters": count_parameters(answers.networks[0].parameters()),
        "recipe": asdict(recipe),
        "versions": {"python": platform.python_version(), "torch": version("torch"), "onnxruntime": onnxruntime.__version__},
    }
    (out / METRICS_FILE).write_bytes(pretty(metrics))
    (out / CARD_FILE).write_text(card.render(metrics))
    return metrics


def difference(answer: Answer, body: bytes, asked: Rows) -> float:
    """The largest of a probability or spread between torch and the graph."""
    chosen = np.linspace(0, len(asked) - 1, min(_ASKED, len(asked))).astype(np.int64)
    tensors = training.inputs(asked, chosen)
    session = onnxruntime.InferenceSession(body, providers=["CPUExecutionProvider"])
    theirs = session.run(list(ANSWERS), dict(zip(INPUTS, (tensor.numpy() for tensor in tensors), strict=True)))
    with torch.inference_mode():
        ours = answer(*tensors)
    return max(float(np.abs(mine.numpy() - other).max()) for mine, other in zip(ours, theirs, strict=True))


def _read(data: Path, recipe: Recipe, step: Step) -> _Data:
    head = OnnxHead(heads.load(HEAD), threads=recipe.processes)
    step("looking at films")
    nih, hannover = (_seen(head, read(data, head.reference.side), recipe) for read in (films.nih, films.hannover))
    held = films.held_out(nih.films.patient, "nih")
    step("reading stays")
    train, test = (list(itertools.islice(stays(data, which), recipe.stays)) for which in ("a", "b"))
    return _Data(train, test, nih.chosen(~held), nih.chosen(held), hannover)


def _seen(head: OnnxHead, whole: Films, recipe: Recipe) -> _Films:
    """Of `recipe.films` a share of each kind: every so many-th."""
    if recipe.films is not None:
        whole = whole.chosen(np.arange(len(whole)) % max(1, len(whole) // recipe.films) == 0)
    return _Films(whole, head.run(whole.pictures, (FEATURES,))[0].astype(np.float64))


def _stays(read: Sequence[Stay], recipe: Recipe) -> Rows:
    return rows.of_stays(read, recipe.cuts, recipe.seed)


def _nih(part: _Films) -> Rows:
    return rows.of_nih(part.films, part.features)


def _counts(read: _Data, train: Rows) -> dict[str, Any]:
    ends = members.counted(train, DEATH)
    return {
        "stays": {"train": len(read.train), "test": len(read.test), "deaths": sum(stay.died for stay in read.train)},
        "nih": {"train": len(read.nih.films), "test": len(read.nih_test.films)},
        "hannover": {"films": len(read.hannover.films), "patients": len(set(read.hannover.films.patient))},
        "events_of_a_stay": round(float(np.diff(train.events.start)[ends].mean()), 1),
    }


def _compared(read: _Data, train: Rows, test: Rows, answers: Answers) -> dict[str, Any]:
    parts = Parts(artefact.SHIPPED)
    end, end_test = at_end(read.train), at_end(read.test)
    fold = train.fold[members.counted(train, DEATH)]
    everything = {output: list(rows.subsets(output))[-1] for output in (DEATH, PNEUMONIA)}
    ours = {name: told for (output, name), told in answers.shared.items() if output == PNEUMONIA}
    ours_test = {name: told for (output, name), told in answers.test.items() if output == PNEUMONIA}
    nih, nih_test = read.nih, read.nih_test
    return {
        "death_cross_validation": comparison.death(parts, end.x, end.died, answers.shared[DEATH, everything[DEATH]], fold),
        "death_set_b": comparison.death(parts, end_test.x, end_test.died, answers.test[DEATH, everything[DEATH]]),
        "pneumonia_cross_validation": comparison.pneumonia(nih.films, nih.features, ours),
        "pneumonia_held_out": comparison.pneumonia(nih.films, nih.features, ours_test, nih_test.films, nih_test.features),
        "by_subset": comparison.by_subset(train, test, answers, parts, _shown(end.x), read.hannover.films, read.hannover.features),
        "sharing": comparison.sharing(train, answers),
    }


def _shortcuts() -> dict[str, float]:
    """From the cards of what ships."""
    clinical = msgspec.json.decode((artefact.SHIPPED / METRICS_FILE).read_bytes())
    head = msgspec.json.decode((heads.HEADS / HEAD / METRICS_FILE).read_bytes())
    return {
        "missing": clinical["shortcuts"]["which inputs are missing, alone"]["auc"],
        "projection": head["hannover"]["projection_alone_auc"],
        "projection_nih": head["nih"]["projection_alone_auc"],
    }


def _shown(x: Features) -> dict[str, Features]:
    """The clinical features of each choice of a stay's inputs."""
    kinds = {"vitals": "vitals only", "labs": "labs only", "demographics": "demographics only"}
    return {
        name: masking.keep(x, np.any([masking.MODALITIES[kinds[part]] for part in chosen], axis=0))
        for name, chosen in rows.subsets(DEATH).items()
    }
