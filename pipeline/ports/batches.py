"""Batches of topic partitions, and the transaction that several of them are applied in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import NamedTuple, Protocol

from schemas.topics import Topic


class Place(NamedTuple):
    """A partition of a topic (its name without the site's prefix). Applied offsets are kept by place, and locked in the order of places."""

    topic: str
    partition: int


class Received(NamedTuple):
    """A record as it came: its place (partition, offset), key, body and headers. A tuple, because there are so many."""

    topic: Topic
    partition: int
    offset: int
    key: bytes
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})

    @property
    def place(self) -> Place:
        """The partition it came from."""
        return Place(self.topic.name, self.partition)


class Batch(NamedTuple):
    """Records of one partition, at least one, at ascending offsets without a hole."""

    topic: Topic
    partition: int
    records: Sequence[Received]

    @property
    def place(self) -> Place:
        """The partition they came from."""
        return Place(self.topic.name, self.partition)


class BatchTransaction(Protocol):
    """The batches of some partitions, all or nothing. Their applied offsets are locked from begin to commit."""

    applied: Mapping[Place, int]
    """For each place the offset of the last record that has taken effect; -1 where there is none."""

    async def advance(self, offsets: Mapping[Place, int]) -> None:
        """Sets the applied offsets of places that are locked, once, the last thing before commit. Raises Fenced where one would go back."""
        ...


class OffsetStore(Protocol):
    """The applied offsets, for a stage whose only effect is what it produces."""

    def begin(self, group: str, places: Collection[Place]) -> AbstractAsyncContextManager[BatchTransaction]:
        """Opens a transaction and locks the places' applied offsets, in sorted order; commits on a clean exit, rolls back on an exception.

        Raises Unavailable when the store does not answer.
        """
        ...
