"""What a demo said that names a person: read from the very messages that it sent, to be looked for in everything that comes out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from pydicom.dataset import Dataset

from pipeline.simulation.hospital import Hospital, Plan
from pipeline.simulation.messages import Outgoing

# segment -> field -> components, as the simulated hospital fills them
_HL7 = {
    "PID": {3: (1,), 5: (1, 2), 7: (1,), 11: (1,), 13: (1,)},
    "PV1": {19: (1,)},
    "MRG": {1: (1,)},
    "ORC": {2: (1,), 3: (1,)},
    "OBR": {2: (1,), 18: (1,)},
}
_DICOM = ("PatientID", "AccessionNumber", "StudyID", "PatientBirthDate")
_NOBODY = {"Unknown", "Patient"}
"""The name under which somebody is admitted whom nobody knows."""


class Identifiers:
    """Names, record, order, accession and visit numbers, birth dates, addresses and telephone numbers of messages that were sent."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.messages = 0

    @classmethod
    def of_the_demo(cls, run: str) -> Identifiers:
        """Those of `readfirst demo --once`: the same seed gives the same people, `run` their numbers."""
        found = cls()
        for _ in found.noted(Hospital(Plan(observations=36), lambda at: datetime.now(UTC) - timedelta(hours=3) + at, run).messages()):
            pass
        return found

    def noted(self, messages: Iterable[Outgoing]) -> Iterator[Outgoing]:
        """The same messages, on their way."""
        for message in messages:
            self.messages += 1
            self.known.update(_of_hl7(message.hl7.decode()) if message.hl7 is not None else ())
            self.known.update(_of_dicom(message.dicom) if message.dicom is not None else ())
            yield message

    def within(self, text: str) -> list[str]:
        """Those that stand in a text, as they were sent or as JSON or Python would write them; as whole words."""
        words = set(re.findall(r"\w+", text))
        return sorted(name for name in list(self.known) if any(_stands(form, words, text) for form in _forms(name)))


def _forms(name: str) -> set[str]:
    """ "Müller" is also `M\\u00fcller` and `M\\xc3\\xbcller`; a birth date also has hyphens."""
    date = {f"{name[:4]}-{name[4:6]}-{name[6:]}"} if re.fullmatch(r"(19|20)\d{6}", name) else set()
    return {name, json.dumps(name)[1:-1], repr(name.encode())[2:-1], *date}


def _stands(form: str, words: set[str], text: str) -> bool:
    parts = re.findall(r"\w+", form)
    if parts == [form] or not words.issuperset(parts):
        return form in words
    return re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text) is not None


def _of_hl7(message: str) -> Iterator[str]:
    for segment in message.split("\r"):
        fields = segment.split("|")
        for number, components in _HL7.get(fields[0], {}).items():
            parts = fields[number].split("^") if number < len(fields) else []
            yield from (parts[n - 1] for n in components if n <= len(parts) and parts[n - 1] and parts[n - 1] not in _NOBODY)


def _of_dicom(dataset: Dataset) -> Iterator[str]:
    yield from (str(dataset.get(keyword)) for keyword in _DICOM if dataset.get(keyword))
    yield from (part for part in str(dataset.PatientName).split("^") if part)
