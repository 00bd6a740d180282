"""Why a message is refused, in the words of HL7 table 0357 and of our own reasons."""

from __future__ import annotations

from typing import Literal

from pipeline.errors import Refused

Severity = Literal["AE", "AR"]

MEANINGS = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "207": "Application internal error",
}
"""HL7 table 0357, message error condition codes; those we send.

Not among them are 204 (unknown key identifier), 205 (duplicate key identifier) and 206 (application record locked). They speak of records,
and a message is not applied to a record here but kept as a fact. A cancellation, discharge or merge of something unheard of may only be
ahead of it, on another line: it takes effect when that comes. A number known already is a change, or a resend, which is answered AA.
And nothing is locked for a sender: what cannot be stored now is 207 with AE.
"""


class Hl7Refused(Refused):
    """code: table 0357. location: ERR-2, as `PID^1^3` (segment, its sequence, field). answer: AR says that sending again is of no use."""

    def __init__(self, reason: str, explanation: str, code: str, location: str = "", answer: Severity = "AE") -> None:
        super().__init__(reason, explanation)
        self.code = code
        self.location = location
        self.answer: Severity = answer


def malformed(explanation: str, location: str = "") -> Hl7Refused:
    """Not an HL7 message, or its segments are not where they must be."""
    return Hl7Refused("malformed", explanation, "100", location, "AR")


def missing_segment(segment: str) -> Hl7Refused:
    """A segment that this event can't do without."""
    return Hl7Refused("malformed", f"the message has no {segment} segment", "100", f"{segment}^1")


def missing_field(location: str, reason: str = "missing-identifier") -> Hl7Refused:
    """A field that this event can't do without."""
    segment, _, field = location.partition("^")
    return Hl7Refused(reason, f"{segment}-{field.rpartition('^')[2]} is empty", "101", location)


def wrong_type(location: str, explanation: str) -> Hl7Refused:
    """A value that does not fit its data type."""
    return Hl7Refused("invalid", explanation, "102", location)


def unsupported(code: str, location: str, explanation: str) -> Hl7Refused:
    """A message type, event, processing id or version that this gateway does not take."""
    return Hl7Refused("unsupported-type", explanation, code, location, "AR")
