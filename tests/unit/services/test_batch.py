"""What of some batches is new, by the applied offset of each partition alone."""

from __future__ import annotations

from pipeline.ports import Received
from pipeline.services.batch import Done, Partly, SeekTo, unapplied
from schemas.topics import LABS, VITALS
from tests.store_fixtures import batch, place


def records(topic, partition, *offsets):
    return batch([Received(topic, partition, offset, b"k", b"{}") for offset in offsets])


def test_each_partition_stands_for_itself():
    """News, a resend, an overlap and a hole: each batch is told its own outcome, and only the hole is left out."""
    applied = {place(LABS, 0): -1, place(LABS, 1): 4, place(LABS, 2): 4, place(VITALS, 0): 4}
    batches = [records(LABS, 0, 0, 1), records(LABS, 1, 3, 4), records(LABS, 2, 4, 5, 6), records(VITALS, 0, 6, 7)]

    pending = unapplied(applied, batches)

    assert pending.outcomes == [Done(2), Done(0), Done(2), SeekTo(5)]
    assert [(record.topic, record.partition, record.offset) for record in pending.records] == [
        (LABS, 0, 0),
        (LABS, 0, 1),
        (LABS, 2, 5),
        (LABS, 2, 6),
    ]
    assert pending.offsets == {place(LABS, 0): 1, place(LABS, 2): 6}
    assert pending.applied == {place(LABS, 0): -1, place(LABS, 1): 4, place(LABS, 2): 4}


def test_what_is_broken_off_goes_on_where_it_stopped():
    """Of one partition nothing, of one a part, of one all: only what has taken effect moves its offset."""
    applied = {place(LABS, 0): -1, place(LABS, 1): 4, place(VITALS, 0): 4}
    batches = [records(LABS, 0, 0, 1), records(LABS, 1, 5, 6, 7), records(VITALS, 0, 5, 6)]

    pending = unapplied(applied, batches).before({place(LABS, 0): 0, place(LABS, 1): 7})

    assert pending.outcomes == [Partly(0), Partly(7), Done(2)]
    assert pending.offsets == {place(LABS, 1): 6, place(VITALS, 0): 6}
    assert [record.offset for record in pending.records] == [5, 6, 5, 6]
