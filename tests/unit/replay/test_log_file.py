"""The log file: what goes in comes out, and no damage goes unnoticed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.replay import log_format
from pipeline.replay.log_file import DamagedLog, LoggedRecord, LogHeader, LogReader, LogWriter, UnreadableLog
from pipeline.replay.order import in_order

HEADER = LogHeader(created_at=datetime(2026, 3, 1, tzinfo=UTC), schemas={"vitals": "observation/1"}, partitions=4)
EVENT = "3b5f3d86-268e-4c45-9c6b-f1e1a399f82a"


def records(count: int = 1_200, topics: tuple[str, ...] = ("vitals", "labs")) -> list[LoggedRecord]:
    """In four partitions of each topic, one a millisecond."""
    made, ends = [], dict[tuple[str, int], int]()
    for n in range(count):
        place = (topics[n % len(topics)], n // len(topics) % 4)
        ends[place] = ends.get(place, -1) + 1
        event = f"{EVENT[:28]}{n:08d}"
        body = f'{{"schema":"observation/1","event_id":"{event}","n":{n}}}'.encode()
        made.append(LoggedRecord(*place, ends[place], 1_000_000 + n, b"key", body, {"event_id": event, "trace_id": f"{n:032x}"}))
    return made


def written(path: Path, rows: list[LoggedRecord]) -> Path:
    with LogWriter(path, HEADER) as writer:
        for row in rows:
            writer.write(row)
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Of several chunks."""
    return written(tmp_path / "log.rfl", records())


def chunk_at(path: Path, number: int) -> tuple[int, int]:
    """Where a chunk's frame begins and ends."""
    chunks = LogReader(path).chunks
    ends = [*(chunk.position for chunk in chunks[1:]), LogReader(path).end]
    return chunks[number].position, ends[number]


def test_every_record_comes_back_as_it_was(log: Path) -> None:
    """Place, time, key, value and headers; each partition in its order."""
    assert sorted(LogReader(log)) == sorted(records())
    assert list(in_order(LogReader(log))) == records()


def test_odd_records_come_back_too(tmp_path: Path) -> None:
    """No value, no key, bytes that are no JSON, headers of other kinds, identifiers that are written otherwise than ours."""
    rows = [
        LoggedRecord("worklist", 0, 7, 5, b"k", None, {}),
        LoggedRecord("worklist", 0, 9, 4, b"", b"\x00\xff not JSON \x00", {"event_id": EVENT, "trace_id": "0" * 32, "more": "\x00"}),
        LoggedRecord("worklist", 1, 0, 4, b"k", b'{"event_id":"' + EVENT.upper().encode() + b'"}', {"event_id": EVENT.upper()}),
        LoggedRecord("worklist", 1, 3, 9, b"k", f"{EVENT}{EVENT}".encode(), {"event_id": EVENT, "trace_id": "f" * 32, "source": "ä|b"}),
    ]
    assert list(LogReader(written(tmp_path / "odd.rfl", rows))) == rows


def test_a_log_can_be_added_to(log: Path) -> None:
    """It goes on after its last record; what it has already is not written twice."""
    more = records(1_500)
    with LogWriter(log, HEADER, append=True) as writer:
        assert [writer.write(row) for row in more].count(True) == 300
    assert sorted(LogReader(log)) == sorted(more)


def test_a_recorder_that_died_leaves_its_whole_chunks(log: Path) -> None:
    """Without an index the log is refused, with words on what is good; salvage reads it, and it can be added to."""
    begin, end = chunk_at(log, 2)
    log.write_bytes(log.read_bytes()[: (begin + end) // 2])
    with pytest.raises(DamagedLog, match=r"chunk 3, at byte \d+\); good are the first 2 chunks \(1000 records\)"):
        LogReader(log)
    salvaged = LogReader(log, salvage=True)
    assert (salvaged.records, salvaged.damage is not None and salvaged.damage.chunks) == (1_000, 2)
    with LogWriter(log, HEADER, append=True) as writer:
        for row in records():
            writer.write(row)
    assert sorted(LogReader(log)) == sorted(records())


def test_a_flipped_bit_is_found_where_it_is(log: Path) -> None:
    """By the chunk's checksum, when the chunk is read; those before it are good."""
    begin, end = chunk_at(log, 1)
    content = bytearray(log.read_bytes())
    content[(begin + end) // 2] ^= 0x10
    log.write_bytes(content)
    reader = LogReader(log)
    with pytest.raises(DamagedLog, match="checksum does not fit \\(chunk 2"):
        list(reader)
    assert len(reader.read(0)) == 500


def test_every_truncation_is_noticed(log: Path) -> None:
    """Wherever the file is cut off, it is refused, or read up to the last good chunk: never as if it were whole."""
    content = log.read_bytes()
    for length in (*range(0, len(content), 997), len(content) - 1):
        log.write_bytes(content[:length])
        with pytest.raises((UnreadableLog, DamagedLog)):
            LogReader(log)


def test_swapped_chunks_are_noticed(tmp_path: Path) -> None:
    """Two chunks of the same length in each other's place, with and without the index."""
    log = written(tmp_path / "log.rfl", records(1_000, ("vitals",)))
    (a, b), (_, c) = chunk_at(log, 0), chunk_at(log, 1)
    content = log.read_bytes()
    log.write_bytes(content[:a] + content[b:c] + content[a:b] + content[c:])
    with pytest.raises(DamagedLog, match=r"reordered|cut off|checksum"):
        list(LogReader(log))
    log.write_bytes(log.read_bytes()[:c])
    with pytest.raises(DamagedLog, match="reordered"):
        LogReader(log)


def test_foreign_and_newer_files_are_refused(log: Path, tmp_path: Path) -> None:
    """With what they are, and what this program reads."""
    other = tmp_path / "other.rfl"
    for content in (b"", b"PK\x03\x04" + b"0" * 100, log.read_bytes().replace(b"\r\n", b"\n", 1)):
        other.write_bytes(content)
        with pytest.raises(UnreadableLog, match="no event log"):
            LogReader(other)
    content = bytearray(log.read_bytes())
    content[len(log_format.MAGIC) + 1] = 9
    other.write_bytes(content)
    with pytest.raises(UnreadableLog, match="log version 9; this program reads version 1"):
        LogReader(other)
    with pytest.raises(UnreadableLog, match="No such file"):
        LogReader(tmp_path / "none.rfl")


def test_the_file_is_a_quarter_of_its_json_at_most(tmp_path: Path) -> None:
    """Small messages with random identifiers are the worst case."""
    from pipeline.benchmarks.vitals import Load

    rows = [
        LoggedRecord("vitals", n % 8, n // 8, 1_772_323_200_000 + n, made.key, made.value, made.headers)
        for n, made in enumerate(Load(datetime(2026, 3, 1, tzinfo=UTC), events=4_000, patients=400).vitals())
    ]
    log = written(tmp_path / "log.rfl", rows)
    assert log.stat().st_size <= 0.25 * sum(len(row.value or b"") for row in rows)
