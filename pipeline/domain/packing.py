"""A window in as few bytes as it needs, and back: the measure of its size, and a form in which it could travel.

Each event is named once (16 bytes of its UUID); readings and words point to it, and what image models say to what is the same in all
their answers. Times are seconds from the newest one and values are thousandths, both as whole numbers where they can be.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from pipeline.domain.encounter import Movement
from pipeline.domain.history import Past, number_of
from pipeline.domain.imaging import NAMES, Order, Report, Study, Words
from pipeline.domain.matching import Resolved
from pipeline.domain.measurements import Entry, Version
from pipeline.domain.window import Window
from schemas.assessments import Rejected, StudyState
from schemas.events import Appointment
from schemas.findings import ImageAssessment, ImageFinding, Reported

SIZE_TARGET = 8 * 1024
"""Bytes that a patient's window should take at most."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATE = StudyState.__struct_fields__
_TOLD: dict[str, Any] = {"reported": tuple[Reported, ...], "revised": tuple[Reported, ...], "rejected": tuple[Rejected, ...]}
_LAST = "\U0010ffff"
"""Later than any event id: a packed watermark keeps its time alone, which can only ask for a rebuild too many."""

_STORE = ("object:", ".dcm")
"""Around the UIDs of study, series and instance in a claim check."""
_NUMBERS = re.compile(r"[0-9./]+")

_MOVEMENT_WORDS = ("trigger", "cancels", "patient_class", "location", "discharged")
_PSEUDONYM = re.compile(r"(?:[0-9a-f]{2})+")
_NAMES = (*NAMES, "age", "sex")
_NUMBER = {name: number for number, name in enumerate(_NAMES)}


class _Packed(msgspec.Struct, array_like=True):
    base: int
    sources: list[str]
    events: list[tuple[Any, float | int, int]]
    series: dict[str, list[list[Any]]]
    withdrawn: list[list[Any]]
    evicted: dict[str | None, float | int]
    past: dict[str, list[Any]]
    newest: float | int | None
    recorded: float | int | None
    persons: list[list[Any]]
    movements: list[list[Any]]
    appointments: list[list[Any]]
    studies: list[list[Any]]
    orders: list[list[Any]]
    reports: list[list[Any]]
    resolved: list[list[Any]] | None
    heads: list[tuple[Any, ...]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


def pack(window: Window) -> bytes:
    """MessagePack; what is content no more is left out."""
    window.trim()
    return _encoder.encode(_Packer(window).packed())


def unpack(body: bytes) -> Window:
    """A window that goes on from where the packed one was."""
    return _Unpacker(_decoder.decode(body)).window()


class _Packer:
    def __init__(self, window: Window) -> None:
        self._window = window
        as_of = window.as_of or _EPOCH
        self._base = as_of.replace(microsecond=0)
        self._events: dict[Version, int] = {}
        self._sources: dict[str, int] = {"": 0}
        self._source_of: dict[Version, int] = {}
        self._heads: dict[tuple[Any, ...], int] = {}

    def packed(self) -> _Packed:
        window, kept = self._window, self._window.measurements
        series = {code: [self._entry(entry) for entry in entries] for code, entries in kept.series.items()}
        withdrawn = [self._entry(entry) for entry in kept.withdrawn.values()]
        studies = [self._study(study) for study in window.studies_folded.values()]
        orders = [[_hex(o.key), *self._versions(o.first, o.last), self._words(o.words)] for o in window.orders.values()]
        reports = [[_hex(r.key), *self._versions(r.last), self._words(r.words)] for r in window.reports.values()]
        return _Packed(
            base=round((self._base - _EPOCH).total_seconds()),
            series=series,
            withdrawn=withdrawn,
            evicted={code: self._time(version[0]) for code, version in kept.evicted.items()},
            past={code: self._past(past) for code, past in kept.past.items()},
            newest=self._maybe(kept.newest),
            recorded=self._maybe(window.recorded),
            persons=self._words(window.person),
            movements=[self._movement(movement) for movement in window.movements.kept],
            appointments=[self._appointment(version, said) for version, said in window.appointments.kept.values()],
            studies=studies,
            orders=orders,
            reports=reports,
            resolved=[self._outcome(item) for item in window.resolved or ()] if window.settled else None,
            heads=list(self._heads),
            sources=list(self._sources),
            events=[
                (_short(event_id), self._time(recorded_at), self._source_of.get(version, 0))
                for version in self._events
                for recorded_at, event_id in [version]
            ],
        )

    def _time(self, time: datetime) -> float | int:
        seconds = (time - self._base).total_seconds()
        return int(seconds) if seconds.is_integer() else seconds

    def _maybe(self, time: datetime | None) -> float | int | None:
        return None if time is None else self._time(time)

    def _event(self, version: Version) -> int:
        return self._events.setdefault(version, len(self._events))

    def _versions(self, *versions: Version | None) -> Iterable[int | None]:
        return [None if version is None else self._event(version) for version in versions]

    def _words(self, words: Words) -> list[list[Any]]:
        return [[_NUMBER[name], self._event(version), self._value(value)] for name, (version, value) in words.held.items()]

    def _value(self, value: Any) -> Any:
        if isinstance(value, ImageAssessment):
            return self._image(value)
        if isinstance(value, str):
            return _hex(value)
        return [self._time(value)] if isinstance(value, datetime) else value

    def _image(self, image: ImageAssessment) -> list[Any]:
        """What this answer says; who said it, and of which findings, stands once for all answers."""
        findings = tuple((one.code, one.label, _fraction(one.prevalence), one.ranks) for one in image.findings)
        shared = image.head, image.version, image.scorer, findings
        told = [None if image.unlikeness is None else _thousandths(image.unlikeness), image.refused, image.explanation]
        return [
            self._heads.setdefault(shared, len(self._heads)),
            self._time(image.at),
            [_fraction(one.probability) for one in image.findings],
            *told[: 1 if image.refused is None else 3],
        ]

    def _entry(self, entry: Entry) -> list[Any]:
        self._source_of[entry.version] = self._sources.setdefault(entry.source, len(self._sources))
        row: list[Any] = [entry.key, self._time(entry.at), _thousandths(entry.value), self._event(entry.version)]
        if entry.home != entry.code or entry.local or entry.when:
            row += [entry.flag, entry.home, entry.local, entry.label, entry.text, *([entry.when] if entry.when else [])]
        elif entry.flag is not None:
            row.append(entry.flag)
        return row

    def _past(self, past: Past) -> list[Any]:
        newest, coarse = number_of(past.newest), _common_power(past.blocks.values())
        rows = ([newest - block, count, *(n // coarse for n in rest)] for block, (count, *rest) in past.blocks.items())
        return [self._time(past.newest), coarse, *rows]

    def _movement(self, movement: Movement) -> list[Any]:
        event = self._event((movement.recorded_at, movement.event_id))
        words = [getattr(movement, name) for name in _MOVEMENT_WORDS]
        arrived = [] if movement.arrived is None else [self._time(movement.arrived)]
        return [self._time(movement.occurred), event, *words, *arrived]

    def _appointment(self, version: Version, said: Appointment) -> list[Any]:
        about = [one and _hex(one) for one in (said.order, said.accession)] if said.order or said.accession else []
        return [_hex(said.key), self._event(version), self._maybe(said.at), *about]

    def _outcome(self, item: Resolved) -> list[Any]:
        told = [getattr(item.state, name) for name in _STATE]
        return [
            self._time(item.last),
            {number: self._value(value) for number, value in enumerate(told) if value is not None and value is not False and value != ()},
            *([] if item.picture is None else [_address(item.picture, item.state.study_uid)]),
        ]

    def _study(self, study: Study) -> list[Any]:
        marks = study.complete | study.conflict << 1 | study.unmatched << 2
        versions = self._versions(study.first, study.last)
        looked = [[_hex(picture), self._event(version), self._image(image)] for picture, (version, image) in study.looked.items()]
        film = None if study.picture is None else (self._event(study.picture[0]), _address(study.picture[1], study.uid))
        return [_uid(study.uid), *versions, self._maybe(study.acquired), study.instances, marks, self._words(study.words), film, *looked]


class _Unpacker:
    def __init__(self, packed: _Packed) -> None:
        self._packed = packed
        self._base = _EPOCH + timedelta(seconds=packed.base)
        self._events = [(self._time(seconds), _long(event_id)) for event_id, seconds, _ in packed.events]
        self._sources = [packed.sources[source] for _, _, source in packed.events]

    def window(self) -> Window:
        packed, window = self._packed, Window()
        kept = window.measurements
        kept.series = {code: [self._entry(code, row) for row in rows] for code, rows in packed.series.items()}
        kept.entries = {entry.key: entry for series in kept.series.values() for entry in series}
        kept.withdrawn = {row[0]: self._entry(None, row) for row in packed.withdrawn}
        kept.evicted = {code: (self._time(seconds), _LAST) for code, seconds in packed.evicted.items()}
        kept.past = {code: self._past(*row) for code, row in packed.past.items()}
        kept.newest, window.recorded = self._maybe(packed.newest), self._maybe(packed.recorded)
        window.person = self._words(packed.persons)
        window.movements.kept = [self._movement(row) for row in packed.movements]
        window.appointments.kept = {said.key: (version, said) for version, said in map(self._appointment, packed.appointments)}
        window.studies_folded = {study.uid: study for study in map(self._study, packed.studies)}
        orders = (Order(_unhex(key), self._words(words), *map(self._version, around)) for key, *around, words in packed.orders)
        window.orders = {order.key: order for order in orders}
        reports = (Report(_unhex(key), self._words(words), self._version(last)) for key, last, words in packed.reports)
        window.reports = {report.key: report for report in reports}
        window.settled = packed.resolved is not None
        window.resolved = None if packed.resolved is None else [self._outcome(row) for row in packed.resolved]
        return window

    def _time(self, seconds: float | int) -> datetime:
        return self._base + timedelta(seconds=seconds)

    def _maybe(self, seconds: float | int | None) -> datetime | None:
        return None if seconds is None else self._time(seconds)

    def _version(self, number: int | None) -> Version | None:
        return None if number is None else self._events[number]

    def _words(self, rows: Iterable[list[Any]]) -> Words:
        return Words({_NAMES[name]: (self._events[event], self._value(_NAMES[name], value)) for name, event, value in rows})

    def _value(self, name: str, value: Any) -> Any:
        if name == "image":
            return self._image(*value)
        if isinstance(value, bytes):
            return value.hex()
        if name in _TOLD:
            return msgspec.convert(value, _TOLD[name])
        if isinstance(value, list):
            return tuple(value) if name == "priority" else self._time(value[0])
        return value

    def _image(
        self,
        shared: int,
        at: float | int,
        chances: list[float | int],
        far: float | int | None,
        refused: Any = None,
        explanation: Any = None,
    ) -> ImageAssessment:
        head, version, scorer, findings = self._packed.heads[shared]
        said = zip(findings, chances, strict=True)
        return ImageAssessment(
            head=head,
            version=version,
            at=self._time(at),
            scorer=scorer,
            findings=tuple(
                ImageFinding(code=code, label=label, probability=_from_fraction(chance), prevalence=_from_fraction(share), ranks=ranks)
                for (code, label, share, ranks), chance in said
            ),
            unlikeness=None if far is None else _from_thousandths(far),
            refused=refused,
            explanation=explanation,
        )

    def _entry(self, code: str | None, row: list[Any]) -> Entry:
        key, at, value, event, *more = row
        recorded_at, event_id = self._events[event]
        flag, home, *told = more if len(more) > 1 else (*(more or [None]), code)
        source, number = self._sources[event], _from_thousandths(value)
        return Entry(self._time(at), key, code, home, recorded_at, event_id, source, number, flag, *told)

    def _past(self, seconds: float | int, coarse: int, *rows: list[int]) -> Past:
        newest = self._time(seconds)
        return Past(newest, {number_of(newest) - back: [count, *(n * coarse for n in rest)] for back, count, *rest in rows})

    def _movement(self, row: list[Any]) -> Movement:
        occurred, event, *words = row
        arrived = self._time(words.pop()) if len(words) > len(_MOVEMENT_WORDS) else None
        return msgspec.structs.replace(Movement(self._time(occurred), *self._events[event], *words), arrived=arrived)

    def _appointment(self, row: list[Any]) -> tuple[Version, Appointment]:
        key, event, at, *about = row
        order, accession = (one and _unhex(one) for one in about or (None, None))
        return self._events[event], Appointment(key=_unhex(key), at=self._maybe(at), order=order, accession=accession)

    def _outcome(self, row: list[Any]) -> Resolved:
        last, told, *film = row
        state = StudyState(**{_STATE[number]: self._value(_STATE[number], value) for number, value in told.items()})
        return Resolved(state, self._time(last), _whole_address(film[0], state.study_uid) if film else None)

    def _study(self, row: list[Any]) -> Study:
        packed_uid, first, last, acquired, instances, marks, words, film, *looked = row
        uid = _whole_uid(packed_uid)
        return Study(
            uid=uid,
            words=self._words(words),
            first=self._version(first),
            last=self._version(last),
            acquired=self._maybe(acquired),
            instances=instances,
            complete=bool(marks & 1),
            conflict=bool(marks & 2),
            unmatched=bool(marks & 4),
            looked={_unhex(picture): (self._events[event], self._image(*image)) for picture, event, image in looked},
            picture=None if film is None else (self._events[film[0]], _whole_address(film[1], uid)),
        )


def _common_power(blocks: Iterable[Sequence[int]]) -> int:
    """The greatest of 1000, 100, 10 and 1 that divides sums and extremes."""
    numbers = [number for _, *rest in blocks for number in rest]
    return next(power for power in (1000, 100, 10, 1) if all(number % power == 0 for number in numbers))


def _thousandths(value: float) -> float | int:
    """A whole number where nothing is lost; a float stays what it is."""
    return _whole(value, 1000)


def _from_thousandths(value: float | int) -> float:
    return value / 1000 if isinstance(value, int) else value


def _fraction(value: float) -> float | int:
    """The same for a probability, which is kept to five digits."""
    return _whole(value, 100_000)


def _from_fraction(value: float | int) -> float:
    return value / 100_000 if isinstance(value, int) else value


def _whole(value: float, parts: int) -> float | int:
    scaled = round(value * parts) if math.isfinite(value) else 0
    return scaled if scaled / parts == value else value


def _short(event_id: str) -> bytes | str:
    try:
        short = UUID(event_id)
    except ValueError:
        return event_id
    return short.bytes if str(short) == event_id else event_id


def _long(event_id: bytes | str) -> str:
    return event_id if isinstance(event_id, str) else str(UUID(bytes=event_id))


def _hex(text: str) -> bytes | str:
    """Half the room where it is hexadecimal, as pseudonyms are."""
    return bytes.fromhex(text) if _PSEUDONYM.fullmatch(text) else text


def _uid(uid: str) -> bytes | str:
    """Half the room for digits and dots."""
    return _nibbles(uid.replace(".", "a").replace("/", "b")) if _NUMBERS.fullmatch(uid) else uid


def _whole_uid(packed: bytes | str) -> str:
    return packed if isinstance(packed, str) else _letters(packed).replace("b", "/").replace("a", ".")


def _address(uri: str, study: str) -> bytes | str:
    """A claim check as the object store gives it: two UIDs, which begin like their study's where one device made all three."""
    head, root, told = f"{_STORE[0]}{study}/", study.rpartition(".")[0], uri.removesuffix(_STORE[1])
    numbers = told.removeprefix(head)
    if head + numbers + _STORE[1] != uri or not _NUMBERS.fullmatch(numbers):
        return uri
    return _nibbles((numbers.replace(root, "c") if root else numbers).replace(".", "a").replace("/", "b"))


def _whole_address(packed: bytes | str, study: str) -> str:
    if isinstance(packed, str):
        return packed
    numbers = _letters(packed).replace("b", "/").replace("a", ".").replace("c", study.rpartition(".")[0])
    return f"{_STORE[0]}{study}/{numbers}{_STORE[1]}"


def _nibbles(digits: str) -> bytes:
    """Two of 0 to e a byte."""
    return bytes.fromhex(digits + "f" * (len(digits) % 2))


def _letters(packed: bytes) -> str:
    return packed.hex().removesuffix("f")


def _unhex(packed: bytes | str) -> str:
    return packed.hex() if isinstance(packed, bytes) else packed
