"""From pairs to a new version of the risk model: looked at, learned, tested, exported, written with its card. Nothing is overwritten."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from dataclasses import replace as varied
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from msgspec.structs import replace

from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.artefact import DISTRIBUTION_FILE, REFERENCE_FILE
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.domain import drift, model_inputs
from pipeline.domain.model_inputs import CONCEPTS
from pipeline.domain.order_words import BUCKETS
from pipeline.errors import StackError
from pipeline.models.artefacts import pretty
from pipeline.models.clinical.distribution import distribution
from pipeline.models.finetuning import card, evaluation, graph, head, verdict
from pipeline.models.finetuning.alignment import Aligned
from pipeline.models.finetuning.audit import Audit, require_enough
from pipeline.models.finetuning.fusion import Fused, Recipe, learn
from pipeline.models.finetuning.inputs import HEAD, Inputs, Mask, Matrix, Progress, gather, shipped_model
from pipeline.models.finetuning.pairs import Pair
from pipeline.models.finetuning.splits import held_out
from pipeline.models.finetuning.version import CARD_FILE, METRICS_FILE, FineTunedReference, LearnedFrom
from pipeline.models.onnx_export import OPSET

CACHE = ".seen"
"""In the output folder: what the encoder saw of each picture."""
TOLERANCE = 1e-4
THREADS = 2
_COMPARED = 16
"""Rows on which torch and ONNX are compared, and of pictures asked at once."""
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Site:
    """What the site says: the outcome in words, how to learn, where to write, pixels of a picture's side; and what films and reports
    without labels had in common before. finding: of the image head, where the outcome is one; its new version is written too."""

    outcome: str
    out: Path
    recipe: Recipe
    side: int = 224
    aligned: Aligned | None = None
    finding: str | None = None


def build(
    pairs: Sequence[Pair], found: Audit, site: Site, step: Step = lambda what: None, progress: Progress = lambda done, of: None
) -> tuple[Path, dict[str, Any]]:
    """Writes the next version below `site.out` and returns its folder and metrics. Raises StackError where there is too little."""
    require_enough(found)
    if site.finding is not None and site.recipe.adapt != "frozen":
        raise StackError(
            "an image head is fine-tuned with the encoder as it is", "leave --adapt out: its other findings and its check read it too"
        )
    torch.set_num_threads(THREADS)
    step("looking at the pictures")
    data = gather(pairs, shipped_model(), site.side, site.out / CACHE, progress)
    test = held_out(data.positive, data.patient, site.recipe.seed)
    step("testing on patients that were not learned from")
    tested = _tested(data, pairs, test, site.recipe, progress)
    alignment: dict[str, Any] = {}
    before = frozenset[str]()
    if site.aligned is not None:
        step("testing the same with films and reports aligned")
        favoured = varied(data, favoured=site.aligned.directions)
        beside = _tested(favoured, pairs, test, site.recipe, progress)
        gain = evaluation.gain(data, beside, tested)
        alignment = {"alignment": {**site.aligned.figures, "finetuning": gain, "used": evaluation.helps(gain)}}
        if evaluation.helps(gain):
            data, tested, before = favoured, beside, site.aligned.patients
    step("learning")
    fused = learn(data, np.ones(len(pairs), bool) if test is None else ~test, site.recipe)
    step("exporting")
    version = next_version(site.out)
    body, difference = _exported(fused, data, pairs, site.side, version)
    results = evaluation.report(data, pairs, tested)
    metrics = {
        **_described(fused, site, version, body),
        "pairs": {**asdict(found), "refusals": []},
        "never_asked_live": [name for name in data.own_values if name not in model_inputs.VALUES],
        "pictures_unlike_the_shipped_heads": int(data.seen.unlike.sum()),
        "split": _split(tested, results),
        "results": results,
        "sentences": verdict.sentences(results),
        **alignment,
        "onnx_max_difference": difference,
        "learned_from": LearnedFrom.of(pairs, hashlib.sha256(body).hexdigest(), before),
    }
    image: dict[str, bytes] = {}
    if site.finding is not None:
        step("learning the image head's read-out")
        image = head.files(data, site.finding, version, site.recipe.seed)
    reference = _reference(fused, data, site, version, body)
    risk = _said(OnnxModel(artefact.Artefact(reference, body)), data, pairs, site.side)
    made_on = drift.renewed(distribution(data.clinical, risk), _beyond_features(data, reference.side is not None))
    return _write(site.out, reference, body, metrics, made_on, image), metrics


def _said(model: OnnxModel, data: Inputs, pairs: Sequence[Pair], side: int) -> Matrix:
    """The risk of each pair, asked as in service: by all that is there. Drift is measured against it."""
    parts = (np.arange(start, min(start + _COMPARED, len(pairs))) for start in range(0, len(pairs), _COMPARED))
    asked = (question(data, pairs, rows, side, model.reference.side is not None, model.reference.buckets > 0) for rows in parts)
    return np.concatenate([model.run(one.pop("features"), one).risk[:, 0] for one in asked]).astype(np.float64)


def _beyond_features(data: Inputs, sees: bool) -> dict[str, list[float | None]]:
    """What else it is asked with live, for drift: the catalogue's further values, and whether there is a film."""
    columns = {name: data.values[:, data.value_names.index(name)] for name in model_inputs.VALUES}
    image = {model_inputs.IMAGE: np.where(data.has_image, 1.0, np.nan)} if sees else {}
    return {name: [None if np.isnan(one) else float(one) for one in column] for name, column in {**columns, **image}.items()}


def _tested(data: Inputs, pairs: Sequence[Pair], test: Mask | None, recipe: Recipe, progress: Progress) -> evaluation.Tested:
    if test is None:
        return evaluation.cross_validated(data, pairs, recipe, progress)
    return evaluation.on_held_out(data, pairs, test, recipe)


def next_version(out: Path) -> str:
    """One above the shipped version and everything that was written below `out`."""
    here = [folder.name for folder in out.glob("*/")] if out.is_dir() else []
    return str(1 + max(int(name) for name in (artefact.load_reference().version, *here) if name.isdecimal()))


def _exported(fused: Fused, data: Inputs, pairs: Sequence[Pair], side: int, version: str) -> tuple[bytes, float]:
    """The file, and by how much it differs from torch on the first rows with a picture and the first without."""
    image, join = graph.tower(fused), graph.Join(fused)
    body = graph.to_onnx(artefact.load().onnx, image, join, side, len(data.own_values), version)
    order = np.argsort(~data.has_image, kind="stable")
    rows = np.unique([*order[: _COMPARED // 2], *order[-_COMPARED // 2 :]])
    difference = compare(body, image, join, question(data, pairs, rows, side, image is not None, fused.text is not None))
    if not difference <= TOLERANCE:
        raise StackError(f"torch and ONNX differ by {difference:.1e}, more than {TOLERANCE:.0e}", "report it: nothing was written")
    return body, difference


def question(
    data: Inputs, pairs: Sequence[Pair], rows: Sequence[int] | Any, side: int, with_image: bool, with_words: bool = False
) -> dict[str, Any]:
    """The graph's inputs for some rows."""
    blank = np.zeros((side, side), np.uint8)
    values = data.values[rows][:, -len(data.own_values) :]
    pictures = np.stack([blank if (picture := pairs[row].picture) is None else picture for row in rows])
    return {
        "features": data.clinical[rows],
        **({"image": pictures} if with_image else {}),
        "has_image": data.has_image[rows][:, None].astype(np.float32),
        "values": values.astype(np.float32),
        "concepts": data.concepts[rows].astype(np.float32),
        **({"tokens": data.buckets[rows].astype(np.float32)} if with_words and data.buckets is not None else {}),
    }


def compare(body: bytes, image: graph.ImageTower | None, join: graph.Join, asked: dict[str, Any]) -> float:
    """The largest difference of a risk or a contribution between torch and the file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of every input that has a default
    theirs = onnxruntime.InferenceSession(body, options, providers=["CPUExecutionProvider"]).run(["risk", "contributions"], asked)
    risk, contributions = shipped_model().run(asked["features"])[:2]
    with torch.inference_mode():
        seen = torch.zeros((len(risk), 1)) if image is None else image(torch.from_numpy(asked["image"]))
        rest = (torch.from_numpy(asked[name]) for name in ("has_image", "values", "concepts", "tokens") if name in asked)
        ours = join(*(torch.from_numpy(part) for part in (risk, contributions, asked["features"])), seen, *rest)
    return max(float(np.abs(a.numpy() - b).max()) for a, b in zip(ours, theirs, strict=True))


def _described(fused: Fused, site: Site, version: str, body: bytes) -> dict[str, Any]:
    shipped = artefact.load_reference()
    return {
        "model": shipped.model,
        "version": version,
        "base_version": shipped.version,
        "outcome": site.outcome,
        "recipe": asdict(site.recipe),
        "epochs": 0 if fused.image is None else fused.image.epochs,
        "join": {name: round(weight, 4) for name, weight in fused.join.items()},
        **({} if fused.text is None else {"text": fused.text.described()}),
        "bytes": len(body),
        "opset": OPSET,
    }


def _split(tested: evaluation.Tested, results: dict[str, Any]) -> str:
    rows = f"{results['n']} rows of {results['patients']} patients"
    if tested.rows.all():
        times = f"{results['repeats']} times" if results["repeats"] > 1 else "once"
        return f"Cross-validated over patients, {times}: {rows}, each tested by what was learned on others. The file was learned on all."
    return f"A fifth of the patients was held out and used once, for this table: {rows}. The file was learned on the others."


def _reference(fused: Fused, data: Inputs, site: Site, version: str, body: bytes) -> FineTunedReference:
    shipped = artefact.load_reference()
    made = FineTunedReference(
        model=shipped.model,
        version=version,
        outcome=site.outcome,
        layout=shipped.layout,
        features=shipped.features,
        groups=shipped.groups,
        limits=shipped.limits,
        calibration={**{name: (round(weight, 5),) for name, weight in fused.join.items()}, "intercept": (round(fused.intercept, 5),)},
        sha256=hashlib.sha256(body).hexdigest(),
        base_version=shipped.version,
        adapt=site.recipe.adapt,
        side=site.side if graph.sees(fused) else None,
        values=data.own_values,
        concepts=CONCEPTS,
        buckets=0 if fused.text is None else BUCKETS,
    )
    return replace(made, groups=(*shipped.groups, *model_inputs.groups(made)))


def _write(
    out: Path,
    reference: FineTunedReference,
    body: bytes,
    metrics: dict[str, Any],
    made_on: drift.Reference,
    image: Mapping[str, bytes],
) -> Path:
    """All or nothing: the folder gets its name when everything is in it. image: files of the image head's new version, put below it."""
    fresh, target = out / f".{reference.version}.new", out / reference.version
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    (fresh / MODEL_FILE).write_bytes(body)
    (fresh / REFERENCE_FILE).write_bytes(pretty(reference))
    (fresh / DISTRIBUTION_FILE).write_bytes(pretty(made_on))
    (fresh / METRICS_FILE).write_bytes(pretty(metrics))
    (fresh / CARD_FILE).write_text(card.render(metrics))
    for name, content in image.items():
        (fresh / HEAD).mkdir(exist_ok=True)
        (fresh / HEAD / name).write_bytes(content)
    artefact.load(fresh)
    if target.exists():
        raise StackError(f"{target} is there already", "somebody else wrote it just now: run it again")
    fresh.rename(target)
    return target
