"""Messages that the HL7 tests build theirs from."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.adapters.hl7v2.envelope import Site
from pipeline.adapters.hl7v2.reader import Ignored, Reader
from pipeline.services.intake import Arrival
from pipeline.settings import Gateways
from schemas.events import AnyEvent
from schemas.topics import Topic

KEY = b"k" * 32
RECEIVED = datetime(2026, 11, 24, 12, tzinfo=UTC)
PID = "PID|1||P1^^^HOSP^MR||Müller^Änne||19700102|F"


def message(
    kind: str, *segments: str, version: str = "2.5.1", control_id: str = "C1", more: str = "|||||UNICODE UTF-8", head: str = ""
) -> bytes:
    """`kind` is MSH-9; `more` follows MSH-12 (MSH-13 … 18)."""
    msh = head or f"MSH|^~\\&|LIS|HOSP|RF|HOSP|20261124100000+0100||{kind}|{control_id}|P|{version}|{more}"
    return "\r".join([msh, *segments, ""]).encode()


def read(raw: bytes, **settings: object) -> Arrival | Ignored:
    """By a site with default settings, Europe/Berlin."""
    return Reader(Site.of(KEY, Gateways(**settings))).read(raw, RECEIVED)  # type: ignore[arg-type]


def arrival(raw: bytes, **settings: object) -> Arrival:
    """A message that must be accepted."""
    understood = read(raw, **settings)
    assert isinstance(understood, Arrival), understood
    return understood


def only(raw: bytes, topic: Topic) -> AnyEvent:
    """The one event of a message that must have one."""
    events = arrival(raw).events
    assert [found.name for found, _ in events] == [topic.name]
    return events[0][1]
