"""A point in time as its source told it, and as UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A moment with its offset; all of ours are UTC."""

Precision = Literal["microsecond", "second", "minute", "hour", "day", "month", "year", "missing"]
ZoneOrigin = Literal["explicit", "source", "assumed-fold", "received"]
"""explicit: the message carried an offset. source: the zone configured for the sender. assumed-fold: a local time that occurs twice
(the hour after summer time ends), the earlier one was taken. received: the time was missing and the gateway's clock stands in."""


class Timestamp(msgspec.Struct, frozen=True, omit_defaults=True):
    """A moment: `utc` for arithmetic, `original` for the record.

    A date alone has precision "day" and `utc` at the start of that local day; a missing time, "missing" and the time of receipt.
    """

    utc: Instant
    original: str | None = None
    precision: Precision = "second"
    zone: ZoneOrigin = "explicit"
