"""A batch of one topic partition, and the transaction it is applied in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import NamedTuple, Protocol

from schemas.topics import Topic


class Received(NamedTuple):
    """A record as it came: its place (partition, offset), key, body and headers. A tuple, because there are so many."""

    topic: Topic
    partition: int
    offset: int
    key: bytes
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


class BatchTransaction(Protocol):
    """One batch of one topic partition, all or nothing. The applied offset is locked from begin to commit."""

    applied: int
    """Offset of the last record of this partition that has taken effect; -1 when there is none."""

    async def advance(self, offset: int) -> None:
        """Sets the applied offset, the last thing before commit."""
        ...


class OffsetStore(Protocol):
    """The applied offsets, for a stage whose only effect is what it produces."""

    def begin(self, group: str, topic: Topic, partition: int) -> AbstractAsyncContextManager[BatchTransaction]:
        """Opens a transaction and locks the partition's applied offset; commits on a clean exit, rolls back on an exception.

        Raises Unavailable when the store does not answer.
        """
        ...
