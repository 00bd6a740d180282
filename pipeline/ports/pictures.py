"""Pictures, and the models that look at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:  # gateways import the ports, and start without numpy
    import numpy as np
    from numpy.typing import NDArray

Picture: TypeAlias = "NDArray[np.uint8]"
"""[side, side], as a head expects it."""


class Looked(NamedTuple):
    """What a head's graph says of one picture: calibrated probabilities in the order of its findings, unlikeness (1: the limit), and for
    each finding a square map of what the places of the picture contribute to it, row by row in log odds; no map where none was asked for.

    version: of the head that looked. spreads: half the width of each probability, one standard deviation of the head's read-outs either
    way; none of a head that does not say it.
    """

    version: str
    probabilities: tuple[float, ...]
    unlikeness: float
    activations: tuple[tuple[float, ...], ...] = ()
    spreads: tuple[float, ...] = ()


class PictureReader(Protocol):
    """Turns a claim check into a head's input."""

    async def read(self, uri: str, side: int) -> Picture:
        """Raises UnfitPicture (none that may be judged, or none any more, and it never will be), or Unavailable (try again)."""
        ...


class FilmSource(Protocol):
    """Films for a risk model, which answers with or without them."""

    async def get(self, uris: Iterable[str], side: int, within_s: float) -> Mapping[str, Picture | str]:
        """Of each that can be told by then the film, or the reason why there is none. Raises nothing; what comes later comes next time."""
        ...


class ImageModel(Protocol):
    """One head."""

    async def look(self, pictures: Sequence[Picture]) -> Sequence[Looked]:
        """One answer a picture, in order. Raises Unavailable when the model does not answer within its deadline."""
        ...
