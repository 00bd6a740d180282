"""Pictures that the head must refuse, made from films and from nothing: what its out-of-distribution check is taught and tested on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.adapters.pictures.preparation import stretched
from pipeline.models.imaging.films import Pictures

Picture = NDArray[np.uint8]
Spoil = Callable[[Picture, np.random.Generator], Picture]


def spoiled(pictures: Pictures, names: tuple[str, ...], seed: int) -> Pictures:
    """Each picture spoiled once in each of the ways `names`."""
    rng = np.random.default_rng(seed)
    return np.stack([WAYS[name](picture, rng) for name in names for picture in pictures])


def _inverted(picture: Picture, rng: np.random.Generator) -> Picture:
    return 255 - picture


def _turned(quarters: int) -> Spoil:
    return lambda picture, rng: np.ascontiguousarray(np.rot90(picture, quarters))


def _upside_down(picture: Picture, rng: np.random.Generator) -> Picture:
    return np.ascontiguousarray(picture[::-1])


def _detail(picture: Picture, rng: np.random.Generator) -> Picture:
    """A quarter of it, enlarged: a shoulder, a belly."""
    side = len(picture)
    half = side // 3
    top, left = rng.integers(0, side - half, 2)
    return _resized(picture[top : top + half, left : left + half], side)


def _shuffled(picture: Picture, rng: np.random.Generator) -> Picture:
    """The right texture in the wrong places."""
    side, parts = len(picture), 4
    step = side // parts
    tiles = [picture[y : y + step, x : x + step] for y in range(0, step * parts, step) for x in range(0, step * parts, step)]
    order = rng.permutation(len(tiles))
    rows = [np.hstack([tiles[order[parts * row + column]] for column in range(parts)]) for row in range(parts)]
    return _resized(np.vstack(rows), side)


def _noise(picture: Picture, rng: np.random.Generator) -> Picture:
    side, coarse = len(picture), int(rng.choice([4, 8, 16, 64]))
    return stretched(np.asarray(_resized(rng.integers(0, 256, (coarse, coarse), dtype=np.uint8), side), np.float32))


def _slice(picture: Picture, rng: np.random.Generator) -> Picture:
    """Something round on black, as cross-sections are: an ellipse with ellipses in it."""
    side = len(picture)
    image = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(image)
    draw.ellipse(
        _box(rng, side, 0.5, 0.95), fill=int(rng.integers(60, 200)), outline=int(rng.integers(150, 256)), width=int(rng.integers(1, 10))
    )
    for _ in range(int(rng.integers(3, 12))):
        draw.ellipse(_box(rng, side, 0.05, 0.35), fill=int(rng.integers(0, 256)))
    grain = np.asarray(image, np.float32) + rng.normal(0, rng.uniform(0, 15), (side, side))
    return stretched(np.clip(grain, 0, 255).astype(np.float32))


def _screen(picture: Picture, rng: np.random.Generator) -> Picture:
    """Windows, lines and words, dark on bright or bright on dark."""
    side = len(picture)
    back = int(rng.choice([0, 20, 235, 255]))
    image = Image.new("L", (side, side), back)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 6))):
        draw.rectangle(_box(rng, side, 0.1, 0.7), fill=int(rng.integers(0, 256)), outline=255 - back)
    for _ in range(int(rng.integers(2, 20))):
        x, y = (int(place) for place in rng.integers(0, side, 2))
        draw.text((x, y), "ABC 123 xyz"[: int(rng.integers(3, 11))], fill=255 - back)
    return stretched(np.asarray(image, np.float32) + rng.normal(0, 0.5, (side, side)).astype(np.float32))


def _box(rng: np.random.Generator, side: int, least: float, most: float) -> list[float]:
    width, height = rng.uniform(least, most, 2) * side
    left, top = rng.uniform(0, side - width), rng.uniform(0, side - height)
    return [left, top, left + width, top + height]


def _resized(picture: NDArray[np.generic], side: int) -> Picture:
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((side, side), Image.Resampling.BILINEAR), np.uint8)


WAYS: dict[str, Spoil] = {
    "inverted": _inverted,
    "turned left": _turned(1),
    "turned right": _turned(3),
    "on its head": _turned(2),
    "upside down": _upside_down,
    "detail": _detail,
    "shuffled": _shuffled,
    "noise": _noise,
    "slice": _slice,
    "screen": _screen,
}
