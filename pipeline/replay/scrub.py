"""A log that may leave the site: other pseudonyms, other dates, nothing that somebody typed, and the same story.

Pseudonyms, event ids and UIDs are keyed anew with a key that nobody keeps. All times move by one number of whole weeks: hour and day of the
week stay, and nothing comes before what it came after. Patients do not move against each other: the list would be another one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from pipeline.adapters.memory.event_log import partition_of
from pipeline.domain import indications, report_words
from pipeline.replay.log_file import LoggedRecord, LogHeader, LogReader, LogWriter
from pipeline.replay.order import in_order
from schemas import codec
from schemas.identifiers import UNMATCHED
from schemas.topics import BY_NAME, INPUTS

WEEKS = (520, 1560)
"""The times move back by so many weeks, ten to thirty years."""

_PSEUDONYMS = frozenset({"patient", "subject", "retired", "survivor", "order", "accession", "report", "key"})
_EVENTS = frozenset({"event_id"})
_UIDS = frozenset({"study_uid", "series_uid", "sop_uid", "uri", "instances"})
_DROPPED = frozenset({"sha256", "size", "original", "series_description", "value_text", "unit_text", "location", "display", "explanation"})
"""Addresses and free text: a name may stand in any of them."""
_WORDS = frozenset({"indication", "study_description"})
"""Free text of which the emergencies' own words stay. Of a report's text what it says of findings does."""
_TIMES = frozenset({"recorded_at", "utc", "deadline", "at"})
_INPUT_NAMES = frozenset(topic.name for topic in INPUTS)
_documents = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What came of it. left_out: records that no stage understands, and answers, which a replay gives anew."""

    records: int
    left_out: int


def scrub(source: LogReader, path: Path, key: bytes | None = None) -> Scrubbed:
    """Writes the scrubbed log to `path`. key: for tests; otherwise it is made here and forgotten."""
    scrubber = _Scrubber(key or secrets.token_bytes(32))
    partitions = source.header.partitions or 1
    header = LogHeader(
        created_at=datetime(1970, 1, 1, tzinfo=UTC),
        schemas={name: schema for name, schema in source.header.schemas.items() if name in _INPUT_NAMES},
        program=source.header.program,
        policy=source.header.policy,
        models=source.models,
        heads=source.header.heads,
        partitions=partitions,
        scrubbed=True,
    )
    ends: Counter[tuple[str, int]] = Counter()
    left_out = 0
    with LogWriter(path, header) as writer:
        for record in in_order(source):
            body = scrubber.body(record)
            if body is None:
                left_out += 1
                continue
            patient = scrubber.pseudonym(record.key.decode(errors="replace")).encode()
            place = (record.topic, partition_of(patient, partitions))
            headers = scrubber.headers(record.headers)
            writer.write(LoggedRecord(*place, ends[place], record.timestamp - scrubber.milliseconds, patient, body, headers))
            ends[place] += 1
        return Scrubbed(writer.records, left_out)


class _Scrubber:
    """One key, and what it makes of each kind of field."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        weeks = WEEKS[0] + int.from_bytes(self._digest("weeks")[:4], "big") % (WEEKS[1] - WEEKS[0])
        self._shift = timedelta(weeks=weeks)
        self._fields: dict[str, Callable[[Any], Any]] = {
            **dict.fromkeys(_PSEUDONYMS, self.pseudonym),
            **dict.fromkeys(_EVENTS, self.event_id),
            **dict.fromkeys(_UIDS, self._uid),
            **dict.fromkeys(_TIMES, self._time),
            **dict.fromkeys(_WORDS, _emergencies),
            "text": _findings,
            "source": self._source,
        }

    @property
    def milliseconds(self) -> int:
        """By which all times move back."""
        return int(self._shift.total_seconds() * 1000)

    def body(self, record: LoggedRecord) -> bytes | None:
        """The document, scrubbed; None for what is no document of an input topic: of such bytes nobody knows what they hold."""
        if record.topic not in _INPUT_NAMES:
            return None
        try:
            codec.decode(BY_NAME[record.topic], record.value)
        except codec.UndecodableRecord:
            return None
        return msgspec.json.encode(self._document(_documents.decode(record.value or b"")))

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Those that the stages look at."""
        event = self.event_id(headers.get("event_id", ""))
        kept = {"event_id": event, "trace_id": event.replace("-", ""), "source": self._source(headers.get("source", ""))}
        return kept | ({"redelivery": "1"} if "redelivery" in headers else {})

    def pseudonym(self, known: str) -> str:
        """As long as the one before; an unmatched study's stand-in stays one."""
        prefix = UNMATCHED if known.startswith(UNMATCHED) else ""
        return prefix + self._digest(f"pseudonym|{known}").hex()[: len(known) - len(prefix)]

    def event_id(self, known: str) -> str:
        """A UUID; in the order of those before only by chance."""
        return str(UUID(bytes=self._digest(f"event|{known}")[:16], version=4))

    def _document(self, document: dict[str, Any]) -> dict[str, Any]:
        return {name: self._value(name, value) for name, value in document.items() if name not in _DROPPED}

    def _value(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return self._document(value)
        if isinstance(value, list):
            return [self._document(each) if isinstance(each, dict) else self._value(name, each) for each in value]
        field = self._fields.get(name)
        return field(value) if field is not None and isinstance(value, str) else value

    def _uid(self, known: str) -> str:
        """DICOM PS3.5 B.2: a UID made of a UUID."""
        return f"2.25.{UUID(bytes=self._digest(f'uid|{known}')[:16], version=4).int}"

    def _time(self, known: str) -> str:
        moved = datetime.fromisoformat(known) - self._shift
        return moved.isoformat().replace("+00:00", "Z")

    def _source(self, known: str) -> str:
        """The stage's own name is a word that it knows itself by."""
        return known if known in ("context", "") else f"source-{self._digest(f'source|{known}').hex()[:6]}"

    def _digest(self, what: str) -> bytes:
        return hmac.new(self._key, what.encode(), hashlib.sha256).digest()


def _emergencies(text: str) -> str:
    """The words by which a suspected emergency is known, and no other."""
    return "; ".join(f"possible {suspicion.words}" for suspicion in indications.find(text))


def _findings(text: str) -> str:
    """A report in our own words: what it affirms, leaves open and denies."""
    found = report_words.said(text, ())
    how = {"affirmed": "there is {}.", "uncertain": "possible {}.", "denied": "no {}."}
    words = " ".join(how[each.word].format(report_words.BY_CODE[each.code].label) for each in found or ())
    return words or ("" if found is None else "normal.")
