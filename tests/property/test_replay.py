"""The digest of a replay is that of the log: no interleaving, batch size, duplicate or restart changes it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.replay.engine import Replayed, replay
from pipeline.replay.log_file import LoggedRecord, milliseconds
from schemas.events import AnyEvent
from tests.property.logs import interleaved, logged
from tests.property.test_context import histories

relaxed = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def played(records: Sequence[LoggedRecord], **options: Any) -> Replayed:
    return asyncio.run(replay(records, **options))


@relaxed
@given(st.data(), histories)
def test_interleaving_and_batch_size_change_nothing(data: st.DataObject, history: list[AnyEvent]) -> None:
    """Each partition keeps its order; how they are mixed, and how many records go through the stages together, is not seen."""
    records = logged(history)
    alone = played(records, batch_size=1)
    together = played(data.draw(interleaved(records)), batch_size=data.draw(st.integers(2, 50)))

    assert together.history_as_text() == alone.history_as_text()
    assert together.digest == alone.digest


@relaxed
@given(st.data(), histories)
def test_a_restart_at_any_point_changes_nothing(data: st.DataObject, history: list[AnyEvent]) -> None:
    """What the workers had in memory is lost, as after a crash; what they had committed is not."""
    records = logged(history)
    straight = played(records)
    restarts = data.draw(st.sets(st.integers(1, len(records)), min_size=1))
    broken = played(records, restarts=restarts)

    assert broken.history_as_text() == straight.history_as_text()
    assert broken.digest == straight.digest


@relaxed
@given(st.data(), histories)
def test_a_record_that_is_read_twice_counts_once(data: st.DataObject, history: list[AnyEvent]) -> None:
    """A recorder that reads a partition again from an earlier offset."""
    records = logged(history)
    again = [record for record in records for _ in range(data.draw(st.integers(1, 2)))]

    assert played(again).digest == played(records).digest


def after(records: Sequence[LoggedRecord], until: int) -> list[LoggedRecord]:
    """Of each partition what comes from its first later record on."""
    begun, found = set(), []
    for record in records:
        if record.timestamp > until:
            begun.add((record.topic, record.partition))
        if (record.topic, record.partition) in begun:
            found.append(record)
    return found


@relaxed
@given(st.data(), histories)
def test_a_replay_taken_up_again_gives_the_same(data: st.DataObject, history: list[AnyEvent]) -> None:
    """Stopped at any time, its state written to a file, and continued from there by another process."""
    records = logged(history)
    moments = sorted({record.timestamp for record in records})
    until = datetime.fromtimestamp(data.draw(st.sampled_from(moments)) / 1000, UTC)
    with TemporaryDirectory() as folder:
        played(records, until=until, save_state=Path(folder) / "state")
        continued = played(data.draw(st.sampled_from((records, after(records, milliseconds(until))))), from_state=Path(folder) / "state")

    assert continued.digest == played(records).digest
    assert continued.events == len(records)
