"""Where training computes."""

from __future__ import annotations

import torch


def fastest() -> torch.device:
    """The GPU where torch has one (CUDA; ROCm goes by the same name), else the processor. On a GPU the last digits are other ones."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
