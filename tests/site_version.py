"""A site's own version of the risk model, put together from fixed numbers instead of pairs: it reads a film, words and further values."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.domain import features, model_inputs
from pipeline.domain.model_answer import ModelReference
from pipeline.domain.model_inputs import CONCEPTS, VALUES
from pipeline.domain.order_words import BUCKETS

SIDE = 64


def write(folder: Path, version: str = "901") -> Path:
    """Its folder below `folder`. Needs the extra `train`."""
    from pipeline.models.finetuning import graph
    from pipeline.models.finetuning.fusion import Fused, ValuePart
    from pipeline.models.finetuning.inputs import encoder_as_shipped
    from pipeline.models.finetuning.text import TextPart
    from pipeline.models.imaging.network import WIDTH

    rng, names = np.random.default_rng(1), (*features.OBSERVABLES, *VALUES)
    values = ValuePart(np.ones(len(names)), np.ones(len(names)), rng.normal(0, 0.5, len(names)))
    join = {"image": 1.0, "values": 0.7, "clinical": 0.5, "text": 0.6}
    concepts, weight = rng.normal(1, 0.2, len(CONCEPTS)), rng.normal(0, 0.05, WIDTH)
    text = TextPart(rng.uniform(1, 3, BUCKETS), rng.normal(0, 0.5, (BUCKETS, 2)), np.zeros(2), np.ones(2))
    fused = Fused(cast(Any, "learned elsewhere"), values, -2.0, join, concepts, -1.0, text)
    tower = graph.ImageTower(encoder_as_shipped(), weight, 0.3).eval()
    body = graph.to_onnx(artefact.load().onnx, tower, graph.Join(fused), SIDE, len(VALUES), version)
    told = {"version": version, "outcome": "made up", "sha256": hashlib.sha256(body).hexdigest()}
    made: ModelReference = msgspec.structs.replace(artefact.load_reference(), **told, side=SIDE, values=VALUES, concepts=CONCEPTS)
    made = msgspec.structs.replace(made, buckets=BUCKETS)
    made = msgspec.structs.replace(made, groups=(*features.GROUPS, *model_inputs.groups(made)))
    target = folder / f"site-{version}"
    target.mkdir()
    (target / MODEL_FILE).write_bytes(body)
    (target / artefact.REFERENCE_FILE).write_bytes(msgspec.json.encode(made))
    return target
