"""What an image model said of one picture, or why it said nothing."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.time import Instant


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """Where in the picture a finding comes from, as a square map over the whole of what the model was shown (borders are cut off before).

    levels: `side` times `side` bytes, row by row from the upper left; 128 is neither for nor against, 255 is `peak` for the finding and
    1 is `peak` against it. peak: log odds; the mean of the map is the finding's, but for a constant.
    """

    side: int
    peak: float
    levels: bytes


class ImageFinding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A calibrated probability of what the label was.

    prevalence: share of the pictures with it where it was calibrated; a site's own share makes another probability of it.
    ranks: whether it may move a study up; the others are told only. spread: half the width of the probability between one standard
    deviation of the head's read-outs either way, had it learned from other patients; None where the head does not say it.
    """

    code: str
    label: str
    probability: float
    prevalence: float
    ranks: bool = False
    activation: Activation | None = None
    spread: float | None = None


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


ReportedWord = Literal["affirmed", "uncertain", "denied"]


class Reported(msgspec.Struct, frozen=True):
    """What a study's reports say of a finding. uncertain: they speak of it, and neither affirm nor deny it."""

    code: str
    word: ReportedWord
