"""Pictures to the encoder's features, in batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models.imaging.films import Pictures
from pipeline.models.imaging.network import WIDTH, Encoder, Pooled, thumbnail

Progress = Callable[[int, int], None]
"""Told how many pictures are done, and of how many."""
Matrix = NDArray[np.float64]
_BATCH = 32


def features(encoder: Encoder, pictures: Pictures, progress: Progress = lambda done, of: None) -> Matrix:
    """[n, WIDTH], each the mean of the picture and its mirror image."""
    nothing, parts = torch.zeros((1, WIDTH)), []
    with torch.inference_mode():
        for part in _tensor(pictures).split(_BATCH):
            both = [Pooled()(encoder(seen), nothing)[0] for seen in (part, part.flip(3))]
            parts.append((both[0] + both[1]) / 2)
            progress(min(len(parts) * _BATCH, len(pictures)), len(pictures))
    seen: Matrix = torch.cat(parts).double().numpy()
    return seen


def thumbnails(pictures: Pictures) -> Matrix:
    """[n, THUMBNAIL²]."""
    small: Matrix = thumbnail(_tensor(pictures)).double().numpy()
    return small


def _tensor(pictures: Pictures) -> Tensor:
    return torch.from_numpy(pictures).float()[:, None]
