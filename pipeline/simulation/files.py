"""Files of HL7 v2, FHIR and DICOM as the messages they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from pipeline.simulation.messages import Outgoing

MESSAGE_START = re.compile(rb"(?:\A|(?<=[\r\n]))(?=MSH[^A-Za-z0-9\s])")
HL7_START = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*\x0b?(?:MSH|FHS|BHS)[^A-Za-z0-9\s]")
FHIR_START = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*[{<\[]")


def kind_of(body: bytes, name: str = "") -> str:
    """hl7, fhir or dicom, by content first and the file's name second."""
    if body[128:132] == b"DICM":
        return "dicom"
    if HL7_START.match(body[:64]):
        return "hl7"
    if FHIR_START.match(body[:64]) or body[:2] == b"\x1f\x8b" or name.endswith((".json", ".ndjson", ".json.gz", ".xml")):
        return "fhir"
    return "hl7" if name.endswith(".hl7") else "dicom"


def messages(path: Path, at: timedelta = timedelta()) -> Iterator[Outgoing]:
    """What to send of a file: each message of an HL7 batch, each line of an ndjson file, else the file as it is. Raises OSError."""
    body = path.read_bytes()
    kind = kind_of(body, path.name)
    if kind == "dicom":
        yield Outgoing(at, "dicom-file", file=body)
    elif kind == "hl7":
        yield from (Outgoing(at, "hl7-file", hl7=message) for message in split_hl7(body))
    else:
        lines = [line for line in body.splitlines() if line.strip()] if path.suffix == ".ndjson" else [body]
        yield from (Outgoing(at, "fhir-file", fhir=line) for line in lines)


def split_hl7(body: bytes) -> list[bytes]:
    """The messages of a batch file (FHS, BHS, BTS, FTS left out) or of several pasted together; one message stays as it is."""
    body = body.strip(b"\x0b\x1c")
    starts = [match.start() for match in MESSAGE_START.finditer(body)]
    if not starts:
        return [body]
    pieces = [body[start:end] for start, end in zip(starts, [*starts[1:], len(body)], strict=True)]
    return [re.sub(rb"(?:\A|(?<=[\r\n]))(?:BTS|FTS|BHS|FHS)[^\r\n]*[\r\n]*", b"", piece).strip(b"\x0b\x1c") for piece in pieces]
