"""Whatever bytes come, the HL7 reader understands, ignores or refuses them; nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.hl7v2 import acknowledgement
from pipeline.adapters.hl7v2.envelope import Site
from pipeline.adapters.hl7v2.header import read_header
from pipeline.adapters.hl7v2.message import split_batch
from pipeline.adapters.hl7v2.reader import Ignored, Reader, origin_of
from pipeline.errors import Refused
from pipeline.services.intake import Arrival
from pipeline.settings import Gateways
from schemas import codec

NOW = datetime(2026, 11, 24, tzinfo=UTC)
READER = Reader(Site.of(b"k" * 32, Gateways()))

MESSAGES = [
    "MSH|^~\\&|LIS|HOSP|RF|HOSP|20261124||ORU^R01|1|P|2.5|||||UNICODE UTF-8\rPID|1||P1^^^HOSP^MR||Müller^Änne||19700102|F\r"
    "OBR|1|PL|FI|CH^Chem^L|||20261124080000|||||||||||||||20261124||CH|F\rOBX|1|NM|2823-3^K^LN||6.8|mmol/L|3-5|HH|||F\r"
    "OBX|2|SN|6598-7^T^LN||<^0.01|ng/mL|||||F\r",
    "MSH|^~\\&|RIS|HOSP|RF|HOSP|20261124||ORM^O01|2|P|2.3\rPID|1|P1|||Doe\rPV1|1|E|ED^1^2\rORC|NW|PL1|FI1||||^^^20261124^^S\r"
    "OBR|1|PL1|FI1|CT^CT head^L||||||||||||||ACC||||||CT|||^^^^^TM30\rNTE|1||fall \\F\\ head\rZDS|1.2.3^X\r",
    "MSH|^~\\&|ADT|HOSP|RF|HOSP|20261124||ADT^A40|3|P|2.4\rEVN|A40|20261124\rPID|1||P1^^^HOSP\rMRG|P2^^^HOSP\r",
    "MSH|^~\\&|RIS|HOSP|RF|HOSP|20261124||ORU^R01|4|P|2.5\rPID|1||P1\rOBR|1||FI|CT^CT^L||||||||||||||A1||||||RAD|F\r"
    "OBX|1|TX|A&ADT^Report||text\\.br\\more||||||F\r",
    "MSH|^~\\&|RIS|HOSP|RF|HOSP|20261124||SIU^S13|5|P|2.5\rSCH|PL|FI|||||||||^^30^20261125093000\rPID|1||P1\rRGS|1\r"
    "AIS|1||99214^Visit^CPT|20261125093000\r",
]
FRAGMENTS = [
    "|",
    "^",
    "~",
    "\\",
    "&",
    "\r",
    "\n",
    '""',
    "\x00",
    "MSH|",
    "PID|",
    "OBX|1|NM|",
    "ORC|",
    "BHS|",
    "\\X41\\",
    "\\.sp9\\",
    "1e999",
    "-",
    "ü",
    "9" * 30,
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real message with pieces cut out, doubled, replaced and put in."""
    text = draw(st.sampled_from(MESSAGES))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        piece = draw(st.sampled_from(FRAGMENTS) | st.text(max_size=6) | st.just(text[start:end] * 2))
        text = text[:start] + piece + text[end:]
    raw = text.encode("utf-8", "surrogatepass")
    return raw if draw(st.booleans()) else raw[: draw(st.integers(0, len(raw)))]


def taken(raw: bytes) -> None:
    """One of three outcomes, with events that their topics can carry, and an answer that can be read."""
    header = read_header(raw)
    try:
        understood = READER.read(raw, NOW)
    except Refused as refusal:
        assert refusal.reason
        if header is not None:
            msgspec.json.encode(origin_of(header, raw).source)
            answer = acknowledgement.build(header, "AE", NOW, faults=[acknowledgement.Fault("207", "PID^1^3", "no")])
            assert answer.split(b"\r")[1].split(header.separator)[2] == header.control_id
        return
    assert isinstance(understood, Arrival | Ignored)
    if isinstance(understood, Arrival):
        assert understood.events
        for topic, event in understood.events:
            assert codec.decode(topic, codec.encode(event)) == event


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_a_damaged_message_is_understood_ignored_or_refused(raw: bytes) -> None:
    """Mutations of real messages, each part of a batch too."""
    taken(raw)
    for part in split_batch(raw):
        taken(part)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: b"MSH|^~\\&|" + tail))
def test_any_bytes_are_understood_ignored_or_refused(raw: bytes) -> None:
    """Not HL7 at all."""
    taken(raw)
