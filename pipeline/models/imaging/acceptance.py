"""A head's acceptance test: pictures made from numbers, and what the shipped file says of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.adapters.onnx.pictures import FINDINGS, SPREAD, UNLIKENESS, OnnxHead
from pipeline.models.imaging.films import Pictures

ACCEPTANCE_FILE = "acceptance.json"
TOLERANCE = 1e-3
_PHASES = (0.0, 0.7, 1.9)


def pictures(side: int) -> Pictures:
    """[3, side, side]: two dark fields beside a bright middle, as lungs are, each crossed by other waves."""
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    lungs = np.exp(-((np.abs(x) - 0.2) ** 2 / 0.012 + (y + 0.05) ** 2 / 0.05))
    made = [210 - 150 * lungs + 20 * np.sin(9 * x + phase) * np.cos(14 * y + phase) for phase in _PHASES]
    return np.stack([np.clip(np.rint(one), 0, 255).astype(np.uint8) for one in made])


def expected(head: OnnxHead) -> dict[str, Any]:
    """What the head says of them now."""
    told = [FINDINGS, UNLIKENESS, *([SPREAD] if head.reference.spread else [])]
    return {name: answer.tolist() for name, answer in zip(told, head.run(pictures(head.reference.side), told), strict=True)}


def differs(head: OnnxHead, stored: dict[str, Any]) -> float:
    """The largest difference from the stored answers; to be below TOLERANCE."""
    now = expected(head)
    return max(float(np.abs(np.array(now[name]) - np.array(stored[name])).max()) for name in now)
