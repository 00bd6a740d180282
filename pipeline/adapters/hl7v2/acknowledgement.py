"""Acknowledgements: built byte for byte from the message that they answer (v2.8 section 2.9), and read."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import hl7

from pipeline.adapters.hl7v2.header import Header
from pipeline.adapters.hl7v2.message import split_batch
from pipeline.adapters.hl7v2.refusal import MEANINGS

Code = Literal["AA", "AE", "AR", "CA", "CE", "CR"]
"""HL7 table 0008. A: what the application says (original mode); C: what the receiving of it says (enhanced mode)."""

APPLICATION = b"READFIRST"
IGNORED = "ignored: "
"""Begins MSA-3 of a message that was understood and changes nothing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One ERR segment. code: table 0357. location: ERR-2 (`PID^1^3`). text: for a person."""

    code: str
    location: str
    text: str


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a receiver answered. text: MSA-3, or the person's text of the first ERR."""

    code: str
    control_id: str
    text: str = ""
    error_code: str | None = None
    location: str | None = None

    @property
    def outcome(self) -> Literal["accepted", "ignored", "refused"]:
        """As `readfirst send` names it."""
        if self.code not in ("AA", "CA"):
            return "refused"
        return "ignored" if self.text.startswith(IGNORED) else "accepted"

    @property
    def try_again(self) -> bool:
        """The receiver could not store the message now (207 with AE or CE)."""
        return self.code in ("AE", "CE") and self.error_code == "207"


def build(header: Header | None, code: Code, now: datetime, text: str = "", faults: Sequence[Fault] = ()) -> bytes:
    """MSH, MSA and, from 2.5 on, ERR. header None: the frame held no message, and MSA-2 stays empty."""
    header = header or Header()
    sign = header.separator
    component = header.encoding[:1]
    said = text or (faults[0].text if faults else "")
    msa = [b"MSA", code.encode(), header.control_id, _safe(said, header)]
    segments = [_msh(header, now), sign.join(msa).rstrip(sign) if not said else sign.join(msa)]
    if header.version >= (2, 5):
        segments += [_err(fault, header, component) for fault in faults]
    return b"\r".join(segments) + b"\r"


def batch(answers: Sequence[bytes]) -> bytes:
    """The answers to a batch, as a batch (v2.8 section 2.10.3)."""
    return b"BHS|^~\\&|READFIRST\r" + b"".join(answers) + b"BTS|" + str(len(answers)).encode() + b"\r"


def read(raw: bytes) -> list[Acknowledgement]:
    """The acknowledgements in an answer, one or a batch. Raises ValueError for anything else."""
    return [_read(message) for message in split_batch(raw)]


def _read(raw: bytes) -> Acknowledgement:
    text = raw.decode("utf-8", "surrogateescape").replace("\r\n", "\r").replace("\n", "\r")
    try:
        message = hl7.parse(text)
        msa = message.segment("MSA")
    except (KeyError, IndexError, AssertionError, hl7.HL7Exception) as error:
        raise ValueError("not an acknowledgement") from error
    err = next((segment for segment in message if str(segment[0]) == "ERR"), None)
    code = _component(err, 3, 0) if err is not None else None
    location = _field(err, 2) if err is not None else None
    return Acknowledgement(
        _field(msa, 1), _field(msa, 2), _field(msa, 3) or (_field(err, 8) if err else ""), code or None, location or None
    )


def _field(segment: hl7.Segment, number: int) -> str:
    return str(segment[number]).strip() if len(segment) > number else ""


def _component(segment: hl7.Segment, number: int, place: int) -> str:
    parts = _field(segment, number).split(segment.separators[3])
    return parts[place] if place < len(parts) else ""


def _msh(header: Header, now: datetime) -> bytes:
    """MSH-3 to 6 change sides; MSH-11, 12 and 18 come back as they were."""
    component = header.encoding[:1]
    event = header.field(9).split(component)[1:2]
    kind = [b"ACK", *event] if header.version >= (2, 3) else [b"ACK"]
    if header.version >= (2, 3, 1) and event and event[0]:
        kind.append(b"ACK")
    fields = [
        header.field(5) or APPLICATION,
        header.field(6),
        header.field(3),
        header.field(4),
        now.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000").encode(),
        b"",
        component.join(kind),
        f"RF{uuid.uuid4().hex[:18]}".encode(),
        header.field(11) or b"P",
        header.field(12) or b"2.5.1",
        *[b""] * 5,
        header.field(18),
    ]
    return b"MSH" + header.separator + header.separator.join([header.encoding, *fields]).rstrip(header.separator)


def _err(fault: Fault, header: Header, component: bytes) -> bytes:
    meaning = MEANINGS.get(fault.code, MEANINGS["207"])
    coded = component.join(part.encode() for part in (fault.code, meaning, "HL70357"))
    location = component.join(part.encode() for part in fault.location.split("^"))
    fields = [b"ERR", b"", location, coded, b"E", b"", b"", b"", _safe(fault.text, header)]
    return header.separator.join(fields)


def _safe(text: str, header: Header) -> bytes:
    """Our own words, without anything that this message's delimiters would read as theirs."""
    plain = text.encode("ascii", "replace")
    for sign in (header.separator, *(header.encoding[at : at + 1] for at in range(len(header.encoding))), b"\r", b"\n"):
        plain = plain.replace(sign, b" ")
    return plain
