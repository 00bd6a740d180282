"""Pictures, and the models that look at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:  # gateways import the ports, and start without numpy
    import numpy as np
    from numpy.typing import NDArray

Picture: TypeAlias = "NDArray[np.uint8]"
"""[side, side], as a head expects it."""


class Looked(NamedTuple):
    """What a head's graph says of one picture: calibrated probabilities in the order of its findings, and unlikeness (1: the limit)."""

    probabilities: tuple[float, ...]
    unlikeness: float


class PictureReader(Protocol):
    """Turns a claim check into a head's input."""

    async def read(self, uri: str, side: int) -> Picture:
        """Raises UnfitPicture (no picture that may be judged; it is never going to be one), NotFound, or Unavailable (try again)."""
        ...


class ImageModel(Protocol):
    """One head."""

    async def look(self, pictures: Sequence[Picture]) -> Sequence[Looked]:
        """One answer a picture, in order. Raises Unavailable when the model does not answer within its deadline."""
        ...
