"""A reading: one current value of one observable, as the window hands it to rules and models; and what the laboratory itself flagged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from schemas.codes import AbnormalFlag


class Reading(msgspec.Struct, frozen=True):
    """A value in the catalogue's unit, with the time it was true and the message that brought it. when: as `Evidence.when`."""

    at: datetime
    value: float
    flag: AbnormalFlag | None = None
    event_id: str = ""
    source: str = ""
    when: str | None = None


Readings = Mapping[str, Sequence[Reading]]
"""Catalogue name ("potassium") -> its current readings, oldest first; corrected values in place, retracted ones gone."""


class FlaggedResult(msgspec.Struct, frozen=True):
    """A result outside the catalogue that its laboratory itself marked as critical (LL, HH, AA). value, unit: as the source wrote them."""

    at: datetime
    flag: AbnormalFlag
    code: str
    label: str
    value: str
    event_id: str = ""
    source: str = ""
    when: str | None = None
