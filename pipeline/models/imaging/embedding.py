"""Pictures to the encoder's features, in batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models.device import fastest
from pipeline.models.imaging.films import Pictures
from pipeline.models.imaging.network import WIDTH, Encoder, Pooled, thumbnail, walk

Progress = Callable[[int, int], None]
"""Told how many pictures are done, and of how many."""
Matrix = NDArray[np.float64]
_BATCH = 32


def embedded(encoder: Encoder, pictures: Pictures, progress: Progress = lambda done, of: None) -> tuple[Matrix, NDArray[np.float32]]:
    """Features [n, WIDTH], the mean of the picture and its mirror image, and the maps [n, 2, channels, h, w] of both after block BEFORE."""
    place, parts, maps = fastest(), [], []
    nothing = torch.zeros((1, WIDTH), device=place)
    encoder.to(place)
    with torch.inference_mode():
        for part in _tensor(pictures).split(_BATCH):
            shown = part.to(place)
            both = [walk(encoder, seen) for seen in (shown, shown.flip(3))]
            parts.append(torch.stack([Pooled()(levels, nothing)[0] for levels, _ in both]).mean(0).cpu())
            maps.append(torch.stack([early for _, early in both], 1).cpu())
            progress(min(len(parts) * _BATCH, len(pictures)), len(pictures))
    encoder.cpu()
    return torch.cat(parts).double().numpy(), torch.cat(maps).numpy()


def thumbnails(pictures: Pictures) -> Matrix:
    """[n, THUMBNAIL²]."""
    small: Matrix = thumbnail(_tensor(pictures)).double().numpy()
    return small


def _tensor(pictures: Pictures) -> Tensor:
    return torch.from_numpy(pictures).float()[:, None]
