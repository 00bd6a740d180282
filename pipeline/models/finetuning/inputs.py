"""Pairs as arrays: clinical features with the shipped model's answer, values, words of the text, and the encoder's view of the pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.adapters.onnx import artefact, heads
from pipeline.adapters.onnx.pictures import OnnxHead
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.domain import features, model_inputs, order_words
from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.model_inputs import CONCEPTS
from pipeline.models.evaluation.calibration import logit
from pipeline.models.finetuning import requests
from pipeline.models.finetuning.pairs import Pair
from pipeline.models.imaging.export import round_weights
from pipeline.models.imaging.network import WIDTH, Encoder, Pooled, walk
from pipeline.models.imaging.recipe import HEAD as HEAD

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]
Progress = Callable[[int, int], None]
Kept = dict[str, NDArray[np.float64]]

_BATCH = 16


@dataclass(frozen=True, slots=True)
class Seen:
    """Pictures as the encoder sees them, row by row; zeros where there is none.

    features: [n, WIDTH]. maps: [n, 2, channels, h, w] after block BEFORE, of the picture and its mirror image.
    shipped: [n], the shipped head's first finding; unlike: [n], whether that head would refuse it. NaN, False without a head.
    """

    features: Matrix
    maps: NDArray[np.float32]
    shipped: Matrix
    unlike: Mask


@dataclass(frozen=True, slots=True)
class Inputs:
    """Row by row. favoured: directions [WIDTH, k] of the encoder's features, for `readout.fit`. buckets: [n, order_words.BUCKETS], those of
    the text's words; None where nobody has any.

    values: [n, len(value_names)] of which the first are the newest of features.OBSERVABLES; NaN where there is none."""

    positive: Mask
    patient: NDArray[np.str_]
    clinical: NDArray[np.float32]
    clinical_risk: Matrix
    values: Matrix
    value_names: tuple[str, ...]
    concepts: Matrix
    has_image: Mask
    has_text: Mask
    seen: Seen
    favoured: Matrix | None = None
    buckets: Mask | None = None

    @property
    def has_clinical(self) -> Mask:
        """Something that the shipped model reads."""
        return np.asarray(~np.isnan(self.clinical).all(axis=1), bool)

    @property
    def clinical_logit(self) -> Matrix:
        """0 where it knows nothing."""
        return np.where(self.has_clinical, logit(self.clinical_risk), 0.0)

    @property
    def own_values(self) -> tuple[str, ...]:
        """Names of the graph's input `values`, in its order."""
        return self.value_names[len(features.OBSERVABLES) :]


def gather(
    pairs: Sequence[Pair], model: OnnxModel, side: int, cache: Path | None = None, progress: Progress = lambda d, of: None
) -> Inputs:
    """Looks at every picture once; what was seen is kept in `cache` under the picture's digest."""
    clinical = features.matrix([requests.clinical(pair) for pair in pairs])
    names = value_names(pairs)
    return Inputs(
        positive=np.array([pair.outcome for pair in pairs]),
        patient=np.array([pair.patient for pair in pairs]),
        clinical=clinical,
        clinical_risk=model.run(clinical)[0][:, 0].astype(np.float64),
        values=_values(pairs, names),
        value_names=names,
        concepts=np.array([concepts(pair.text) for pair in pairs]),
        has_image=np.array([pair.picture is not None for pair in pairs]),
        has_text=np.array([bool(pair.text) for pair in pairs]),
        seen=_looked(pairs, side, cache, progress),
        buckets=buckets(pairs),
    )


def shipped_model() -> OnnxModel:
    """The clinical risk model that comes with Readfirst."""
    return OnnxModel(artefact.load())


def value_names(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """The clinical features' observables, the rest of the catalogue, the site's own."""
    own = {seen.name for pair in pairs for seen in pair.observations} - BY_NAME.keys()
    return (*features.OBSERVABLES, *model_inputs.VALUES, *sorted(own))


def buckets(pairs: Sequence[Pair]) -> Mask | None:
    """As `Inputs` has them."""
    found = np.zeros((len(pairs), order_words.BUCKETS), bool)
    for row, pair in zip(found, pairs, strict=True):
        row[list(order_words.buckets(pair.text))] = True
    return found if found.any() else None


def concepts(text: str) -> list[float]:
    """1 for each emergency that the words suspect."""
    return model_inputs.one_hot(model_inputs.suspected(text), CONCEPTS)


def _values(pairs: Sequence[Pair], names: Sequence[str]) -> Matrix:
    place, values = {name: index for index, name in enumerate(names)}, np.full((len(pairs), len(names)), np.nan)
    for row, pair in zip(values, pairs, strict=True):
        for name, value in requests.newest(pair).items():
            row[place[name]] = value
    return values


def look(films: Sequence[tuple[NDArray[np.uint8], str]], side: int, cache: Path | None, progress: Progress) -> Matrix:
    """The encoder's features [n, WIDTH] of pictures that are no pairs, each with its digest."""
    blank: dict[str, Any] = {"study": "", "patient": "", "outcome": False, "observations": (), "text": "", "age": None, "sex": "U"}
    blank |= {"date": None, "hospital": "", "projection": "", "scanner": ""}
    return _looked(
        [Pair(line=n, picture=one, digest=digest, **blank) for n, (one, digest) in enumerate(films)], side, cache, progress
    ).features


def _looked(pairs: Sequence[Pair], side: int, cache: Path | None, progress: Progress) -> Seen:
    rows = [row for row, pair in enumerate(pairs) if pair.picture is not None]
    encoder, head = encoder_as_shipped(), _head(side)
    channels, size = _map_shape(encoder, side)
    seen = Seen(
        np.zeros((len(pairs), WIDTH)),
        np.zeros((len(pairs), 2, channels, size, size), np.float32),
        np.full(len(pairs), np.nan),
        np.zeros(len(pairs), bool),
    )
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        for row, kept in zip(part, _batch([pairs[row] for row in part], encoder, head, side, cache), strict=True):
            seen.features[row], seen.maps[row] = kept["features"], kept["maps"]
            seen.shipped[row], seen.unlike[row] = kept["shipped"], kept["unlike"]
        progress(start + len(part), len(rows))
    return seen


def encoder_as_shipped() -> Encoder:
    """With its weights as a file holds them."""
    encoder = Encoder()
    round_weights(encoder)
    return encoder


def _head(side: int) -> OnnxHead | None:
    found = OnnxHead(heads.load(HEAD), threads=2) if HEAD in heads.names() else None
    return found if found is not None and found.reference.side == side else None


def _map_shape(encoder: Encoder, side: int) -> tuple[int, int]:
    with torch.inference_mode():
        shape = walk(encoder, torch.zeros(1, 1, side, side))[1].shape
    return int(shape[1]), int(shape[2])


def _batch(pairs: list[Pair], encoder: Encoder, head: OnnxHead | None, side: int, cache: Path | None) -> list[Kept]:
    """features, maps, shipped, unlike of each picture, from the cache where it is there."""
    files = [None if cache is None else cache / f"{pair.digest}-{side}-{'head' if head else 'bare'}.npz" for pair in pairs]
    fresh = [pair for pair, file in zip(pairs, files, strict=True) if file is None or not file.is_file()]
    new = dict(zip((pair.line for pair in fresh), _embedded(fresh, encoder, head), strict=True)) if fresh else {}
    found = []
    for pair, file in zip(pairs, files, strict=True):
        if pair.line in new:
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                np.savez(file, **new[pair.line])  # type: ignore[arg-type]
            found.append(new[pair.line])
        else:
            assert file is not None
            with np.load(file) as kept:
                found.append({name: kept[name] for name in kept.files})
    return found


def _embedded(pairs: list[Pair], encoder: Encoder, head: OnnxHead | None) -> list[Kept]:
    pictures = np.stack([pair.picture for pair in pairs if pair.picture is not None])
    tensor, nothing = torch.from_numpy(pictures).float()[:, None], torch.zeros((1, WIDTH))
    pooled, maps = [], []
    with torch.inference_mode():
        for view in (tensor, tensor.flip(3)):
            levels, kept = walk(encoder, view)
            pooled.append(Pooled()(levels, nothing)[0])
            maps.append(kept)
    features_, both = ((pooled[0] + pooled[1]) / 2).numpy(), torch.stack(maps, 1).contiguous().numpy()
    findings, unlikeness = head.run(pictures) if head is not None else (np.full((len(pairs), 1), np.nan), np.zeros((len(pairs), 1)))
    return [
        {"features": features_[row], "maps": both[row], "shipped": np.array(findings[row, 0]), "unlike": np.array(unlikeness[row, 0] > 1)}
        for row in range(len(pairs))
    ]
