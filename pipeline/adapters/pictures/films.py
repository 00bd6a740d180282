"""Films for a risk model: read and prepared beside the score, kept a while, and never waited for longer than the score can."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping

import structlog

from pipeline.errors import UnfitPicture
from pipeline.ports import Picture, PictureReader

log = structlog.get_logger()

KEPT = 256
"""Films in memory, 50 KB each at 224 pixels; of those that cannot be read, the reason."""
READ_AT_ONCE = 2
"""Objects held in memory while they wait for the one decoder."""
BEGUN = 64
"""Films on their way; beyond it the next ones come late."""


class KeptFilms:
    """FilmSource over a reader. One for the process, so that every scorer is given the same films."""

    def __init__(self, reader: PictureReader, kept: int = KEPT) -> None:
        self._reader = reader
        self._most = kept
        self._kept: OrderedDict[tuple[str, int], Picture | str] = OrderedDict()
        self._begun: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(READ_AT_ONCE)

    async def get(self, uris: Iterable[str], side: int, within_s: float) -> Mapping[str, Picture | str]:
        """As FilmSource.get."""
        keys = [(uri, side) for uri in dict.fromkeys(uris)]
        for key in keys:
            if key not in self._kept and key not in self._begun and len(self._begun) < BEGUN:
                self._begun[key] = asyncio.create_task(self._read(key), name="film")
        if waiting := [self._begun[key] for key in keys if key in self._begun]:
            await asyncio.wait(waiting, timeout=within_s)
        return {key[0]: found for key in keys if (found := self._found(key)) is not None}

    def close(self) -> None:
        """Gives up what is on its way."""
        for task in self._begun.values():
            task.cancel()

    def _found(self, key: tuple[str, int]) -> Picture | str | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    async def _read(self, key: tuple[str, int]) -> None:
        try:
            async with self._places:
                self._keep(key, await self._reader.read(*key))
        except UnfitPicture as unfit:
            self._keep(key, unfit.reason)
        except Exception as error:  # the score is given without it, and it is asked for again with the next one
            log.warning("film_unavailable", reason=f"{type(error).__name__} {error}")
        finally:
            del self._begun[key]

    def _keep(self, key: tuple[str, int], found: Picture | str) -> None:
        self._kept[key] = found
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
