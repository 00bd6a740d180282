"""Objects from the store to a head's input, in a process of its own: a decoder that hangs or crashes takes nobody with it."""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import structlog

from pipeline.errors import NotFound, UnfitPicture
from pipeline.ports import ObjectStore, Picture

log = structlog.get_logger()


def prepared(data: bytes, side: int) -> Picture:
    """As `decoding.prepared`, which is imported where it runs: whoever has a picture read needs no decoder."""
    from pipeline.adapters.pictures import decoding

    return decoding.prepared(data, side)


class PooledReader:
    """PictureReader over an object store. One picture at a time in one process, which is made at the first and made anew when it dies."""

    def __init__(self, objects: ObjectStore, limit_s: float = 30.0, stays: bool = True) -> None:
        """stays: that process waits for the next picture; else it ends with each, and its memory is given back."""
        self._objects = objects
        self._limit_s = limit_s
        self._stays = stays
        self._turn = asyncio.Lock()
        self._pool: ProcessPoolExecutor | None = None

    async def read(self, uri: str, side: int) -> Picture:
        """As PictureReader.read."""
        try:
            data = await self._objects.get(uri)
        except NotFound as error:
            raise UnfitPicture("gone", "the picture is no longer in the object store") from error
        async with self._turn:
            try:
                return await self._decoded(data, side)
            finally:
                if not self._stays:
                    self.close()

    async def _decoded(self, data: bytes, side: int) -> Picture:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        try:
            async with asyncio.timeout(self._limit_s):
                return await asyncio.get_running_loop().run_in_executor(self._pool, prepared, data, side)
        except TimeoutError as error:
            self._end()
            raise UnfitPicture("too-slow", f"the picture was not decoded within {self._limit_s:g} s") from error
        except BrokenProcessPool as error:
            self._end()
            raise UnfitPicture("undecodable", "the decoder crashed on the picture") from error

    def _end(self) -> None:
        """Kills the process: one that hangs would never end by itself."""
        if self._pool is None:
            return
        log.warning("picture_decoder_ended")
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None

    def close(self) -> None:
        """Ends the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
