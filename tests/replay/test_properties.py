"""What no replay may depend on: restarts, batch sizes, resent messages, and the interleaving of partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.replay.digest import seen
from pipeline.replay.engine import Replayed, replay
from pipeline.replay.log_file import LoggedRecord
from pipeline.replay.play import play
from pipeline.replay.played import Played
from pipeline.replay.shuffle import restarted, shuffled
from pipeline.replay.small_log import SmallLog
from schemas import codec
from schemas.topics import WORKLIST
from tests.replay.make_corpus import FOLDER

LOGS = sorted(path.stem for path in FOLDER.glob("*.rfl"))
relaxed = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@cache
def log_of(name: str) -> SmallLog:
    """From the file."""
    return SmallLog.read(FOLDER / f"{name}.rfl")


@cache
def plain(name: str) -> Played:
    """Replayed without incident, by the rules and the scores that the log holds."""
    return play(log_of(name), scorer="recorded")


@pytest.mark.parametrize("name", LOGS)
def test_a_restart_at_any_point_changes_nothing(name: str) -> None:
    """After every single record, the workers die and come again: list and history are the same."""
    for point in range(len(log_of(name).records)):
        again = play(log_of(name), scorer="recorded", restarts=[point])
        assert again.digest == plain(name).digest, f"a restart after {point} records makes a difference"


@pytest.mark.parametrize("name", LOGS)
@relaxed
@given(data=st.data())
def test_batches_and_restarts_change_nothing(name: str, data: st.DataObject) -> None:
    """Several restarts, any batch size."""
    variation = data.draw(restarted(log_of(name)))

    assert variation.play(scorer="recorded").digest == plain(name).digest


@pytest.mark.parametrize("name", LOGS)
def test_a_replay_put_aside_and_taken_up_again_gives_the_same(name: str, tmp_path: Path) -> None:
    """Before its last record and at its middle one: what was open then is not touched again, or is. And a list that has been in a file says
    the same, to the last digit."""
    records = log_of(name).records
    whole = played(records)
    for number in (len(records) // 2, len(records) - 1):
        moment = datetime.fromtimestamp(records[number].timestamp / 1000, UTC) - timedelta(milliseconds=1)
        asyncio.run(replay(records, until=moment, save_state=tmp_path / f"{number}"))
        continued = asyncio.run(replay(records, from_state=tmp_path / f"{number}"))
        assert (continued.digest, continued.events) == (whole.digest, whole.events), f"put aside at {moment}"
    for item in whole.items:
        kept = codec.decode(WORKLIST, codec.encode(item))
        assert repr(seen(kept)) == repr(seen(item))


def played(records: Sequence[LoggedRecord]) -> Replayed:
    """By the rules, without incident."""
    return asyncio.run(replay(records))


@pytest.mark.parametrize("name", LOGS)
@relaxed
@given(data=st.data())
def test_any_interleaving_leads_to_the_same_list(name: str, data: st.DataObject) -> None:
    """Whatever partition is ahead, with resent messages, restarts and any batch size."""
    variation = data.draw(shuffled(log_of(name)))

    assert variation.play().state_digest == play(log_of(name)).state_digest


@pytest.mark.parametrize("name", LOGS)
@given(order=st.randoms(use_true_random=False))
@settings(max_examples=3, deadline=None)
def test_the_order_in_which_a_file_holds_its_partitions_is_no_matter(name: str, order: object) -> None:
    """Records handed over twice, and partition by partition in any order, are replayed as one log."""
    log = log_of(name)
    places = sorted({(record.topic, record.partition) for record in log.records})
    order.shuffle(places)  # type: ignore[attr-defined]
    mixed = [record for place in places for record in log.records if (record.topic, record.partition) == place]
    twice = SmallLog([*mixed, *mixed], log.day, log.names)

    assert play(twice, scorer="recorded").digest == plain(name).digest
