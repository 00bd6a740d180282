"""A copy that nothing marks: an idempotent producer may send what was under way again under a new sequence."""

from __future__ import annotations

import pytest

from pipeline.errors import Unavailable
from pipeline.ports import Record
from pipeline.services import admission
from schemas import codec
from schemas.topics import IMAGING
from tests.unit.services.test_context import ANN, BOB, Bench, image, vital


@pytest.mark.parametrize("apart", [True, False], ids=["in a later batch", "in the same batch"])
async def test_a_copy_without_a_mark_is_applied_once(apart: bool) -> None:
    """It is ignored and counted, wherever it stands behind the first one; the same value told anew is another event."""
    bench = Bench()
    await bench.send(vital("v0", 70, 0))  # of the first batch all are looked up
    sent = [vital("v1", 80, 0), vital("v2", 90, 1), vital("v1", 80, 0), vital("v3", 80, 0)]
    if apart:
        await bench.send(*sent)
    else:
        await bench.send(*sent, headers={})

    assert [fact.event_id for fact in bench.store.facts[1:]] == [sent[0].event_id, sent[1].event_id, sent[3].event_id]
    assert dict(bench.stage.ignored) == {"duplicate": 1}


async def test_a_marked_copy_that_was_quicker_leaves_the_first_one_without_effect() -> None:
    """Sent by another gateway, it may stand before what it is a copy of."""
    bench = Bench()
    await bench.send(vital("v0", 70, 0))
    await bench.send(vital("v1", 80, 0), headers={"redelivery": "1"})
    await bench.send(vital("v1", 80, 0))

    assert (len(bench.store.facts) - 1, dict(bench.stage.ignored)) == (1, {"duplicate": 1})


async def test_what_was_not_committed_is_no_copy_the_next_time() -> None:
    """A batch that failed comes again, and has its effect then."""
    bench = Bench()
    await bench.log.append([Record(IMAGING, ANN.encode(), codec.encode(image("i1", 1)), {"trace_id": "t"})])
    bench.log.fail_next()
    with pytest.raises(Unavailable):
        await bench.settle()
    assert bench.store.facts == []
    await bench.settle()

    assert (len(bench.store.facts), bench.stage.ignored.total()) == (1, 0)


async def test_a_copy_is_known_after_a_server_was_away_or_partitions_were_given_out_anew() -> None:
    """Which is just when producers time out: of the first batch after it all are looked up, of the next ones none."""
    bench = Bench()
    await bench.send(vital("v0", 70, 0), vital("v1", 80, 0))
    bench.stage.forget()
    await bench.send(vital("v2", 90, 1), vital("v1", 80, 0))

    assert (len(bench.store.facts), dict(bench.stage.ignored)) == (3, {"duplicate": 1})


async def test_two_patients_may_be_told_of_one_event() -> None:
    """A merge goes to both keys under one id."""
    bench = Bench()
    await bench.send(vital("v1", 80, 0, ANN), vital("v1", 80, 0, BOB))

    assert len(bench.store.facts) == 2


def test_no_more_than_twice_as_many_as_are_needed_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no fewer."""
    monkeypatch.setattr(admission, "RECENT", 10)
    recent = admission.Recent()
    for number in range(100):
        recent.update([(str(number), ANN)])
        assert all((str(before), ANN) in recent for before in range(max(0, number - 9), number + 1))
    assert sum((str(number), ANN) in recent for number in range(100)) <= 22
