"""A window as bytes and back: what a build that keeps state, not facts, has to do for each event. The product itself never does it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from pipeline.domain.encounter import Movement
from pipeline.domain.imaging import Order, Report, Study, Words
from pipeline.domain.matching import Resolved
from pipeline.domain.measurements import Entry, Version
from pipeline.domain.window import Window
from schemas.events import Appointment


class _Row(msgspec.Struct, array_like=True, omit_defaults=True):
    """An `Entry` without its field names. `home` and `code` are nearly always the same."""

    at: datetime
    key: bytes
    code: str | None
    recorded_at: datetime
    event_id: str
    source: str
    value: float
    more: list[Any] = []


class _Stored(msgspec.Struct, array_like=True):
    series: dict[str, list[_Row]]
    withdrawn: list[_Row]
    evicted: dict[str | None, Version]
    newest: datetime | None
    unmapped: dict[str, int]
    movements: list[Movement]
    appointments: dict[str, tuple[Version, Appointment]]
    studies: dict[str, Study]
    orders: dict[str, Order]
    reports: dict[str, Report]
    resolved: list[Resolved] | None
    settled: bool
    recorded: datetime | None
    person: Words


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


def encode(window: Window) -> bytes:
    """MessagePack."""
    kept = window.measurements
    stored = _Stored(
        {code: [_row(entry) for entry in series] for code, series in kept.series.items()},
        [_row(entry) for entry in kept.withdrawn.values()],
        kept.evicted,
        kept.newest,
        kept.unmapped,
        window.movements.kept,
        window.appointments.kept,
        window.studies_folded,
        window.orders,
        window.reports,
        window.resolved,
        window.settled,
        window.recorded,
        window.person,
    )
    return _encoder.encode(stored)


def decode(body: bytes) -> Window:
    """A window that goes on from where the encoded one was."""
    stored = _decoder.decode(body)
    window = Window()
    kept = window.measurements
    kept.series = {code: [_entry(row) for row in rows] for code, rows in stored.series.items()}
    kept.entries = {entry.key: entry for series in kept.series.values() for entry in series}
    kept.withdrawn = {row.key: _entry(row) for row in stored.withdrawn}
    kept.evicted, kept.newest = stored.evicted, stored.newest
    kept.unmapped.update(stored.unmapped)
    window.movements.kept, window.appointments.kept = stored.movements, stored.appointments
    window.studies_folded, window.orders, window.reports = stored.studies, stored.orders, stored.reports
    window.resolved, window.settled, window.recorded = stored.resolved, stored.settled, stored.recorded
    window.person = stored.person
    return window


def _row(entry: Entry) -> _Row:
    plain = entry.home == entry.code and entry.flag is None and not entry.local and not entry.when
    more: list[Any] = [] if plain else [entry.home, entry.flag, entry.local, entry.label, entry.text, entry.when]
    return _Row(entry.at, entry.key, entry.code, entry.recorded_at, entry.event_id, entry.source, entry.value, more)


def _entry(row: _Row) -> Entry:
    home, *rest = row.more or [row.code, None]
    return Entry(row.at, row.key, row.code, home, row.recorded_at, row.event_id, row.source, row.value, *rest)
