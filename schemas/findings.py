"""What an image model said of one picture, or why it said nothing."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.time import Instant


class ImageFinding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A calibrated probability of what the label was.

    prevalence: share of the pictures with it where it was calibrated; a site's own share makes another probability of it.
    ranks: whether it may move a study up; the others are told only.
    """

    code: str
    label: str
    probability: float
    prevalence: float
    ranks: bool = False


class ImageAssessment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of one head for one picture. Either findings, or `refused` (a short code) with `explanation` in words.

    unlikeness: how far the picture is from those the head knows; it looks at none beyond 1.
    """

    head: str
    version: str
    at: Instant
    scorer: Literal["triton", "onnxruntime"] | None = None
    findings: tuple[ImageFinding, ...] = ()
    unlikeness: float | None = None
    refused: str | None = None
    explanation: str | None = None
