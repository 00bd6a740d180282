"""Records of every version read for ever; what is no document of a topic says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.topics import BY_NAME, INPUTS, ORDERS, TOPICS, VITALS

GOLDEN = Path(__file__).parent / "golden"
"""`<topic>.<major>.json`: a record as that version wrote it. Never edited; a new major adds files."""


def golden(topic: str) -> bytes:
    """The topic's record of the first major version."""
    return (GOLDEN / f"{topic}.1.json").read_bytes().strip()


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_an_old_record_reads_and_says_the_same(file: Path) -> None:
    """Everything that was written is read, and written again the same (fields that have their default value may be left out)."""
    topic = BY_NAME[file.stem.split(".")[0]]
    written = json.loads(file.read_bytes())
    again = json.loads(codec.encode(codec.decode(topic, file.read_bytes())))

    assert {name: again[name] for name in written} == written


def test_there_is_a_golden_record_of_every_topic() -> None:
    """A topic without one could change unnoticed."""
    assert {path.stem.split(".")[0] for path in GOLDEN.glob("*.json")} == {topic.name for topic in TOPICS}


@pytest.mark.parametrize("topic", [topic.name for topic in INPUTS])
def test_a_newer_minor_version_reads(topic: str) -> None:
    """Unknown fields are passed over; the record's bytes keep them."""
    record = {**json.loads(golden(topic)), "added_later": {"deep": [1]}}

    assert codec.decode(BY_NAME[topic], json.dumps(record).encode()) == codec.decode(BY_NAME[topic], golden(topic))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "malformed"),
        (b"\xff", "malformed"),
        (b"{}", "invalid"),
        (golden("orders"), "wrong-topic"),
        (golden("vitals").replace(b"observation/1", b"observation/2"), "unsupported-major"),
        (golden("vitals").replace(b"observation/1", b"weather/1"), "unknown-schema"),
        (golden("vitals").replace(b"observation/1", b"nonsense"), "unknown-schema"),
    ],
)
def test_what_is_no_document_of_the_topic_says_why(body: bytes, reason: str) -> None:
    """The dead letter's reason code."""
    with pytest.raises(codec.UndecodableRecord) as caught:
        codec.decode(VITALS, body)

    assert caught.value.reason == reason
    assert caught.value.explanation


def test_a_time_without_an_offset_is_refused() -> None:
    """All moments in documents are UTC; a naive one would be read differently on every machine."""
    record = json.loads(golden("orders"))
    record["recorded_at"] = "2026-11-24T14:00:00"
    with pytest.raises(codec.UndecodableRecord, match="timezone"):
        codec.decode(ORDERS, json.dumps(record).encode())


@given(st.binary(max_size=300))
def test_noise_never_raises_anything_else(body: bytes) -> None:
    """One bad record must not stop a stream."""
    for topic in TOPICS:
        with pytest.raises(codec.UndecodableRecord):
            codec.decode(topic, body)
