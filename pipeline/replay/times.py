"""Moments in a person's words, "10:05" of a certain day in a certain time zone, and back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline.domain import timestamps
from schemas.time import Timestamp

DEFAULT_DATE = date(2026, 3, 2)
"""The day of a story that names none: a Monday without a change of clocks."""

UTC_ZONE = ZoneInfo("UTC")

_WRITTEN = re.compile(
    r"(?:(?P<date>\d{4}-\d{2}-\d{2})[ T])?(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?\s?(?P<zone>Z|[+-]\d{2}:?\d{2}|local)?"
)


class WrittenWrong(ValueError):
    """What a person wrote in a story or an assertion cannot be understood; the message says what can."""


def told_to_the_writer(failure: Any) -> bool:
    """For pytest: a mistake in a story is shown where it was written, without the lines of ours that found it."""
    return isinstance(failure.value, WrittenWrong)


__tracebackhide__ = told_to_the_writer


@dataclass(frozen=True, slots=True)
class Day:
    """What "10:05" means: on `on`, by the clocks of `zone` (an IANA name)."""

    on: date = DEFAULT_DATE
    zone: ZoneInfo = UTC_ZONE

    @classmethod
    def named(cls, on: str | date = DEFAULT_DATE, zone: str = "UTC") -> Day:
        """`on`: "2026-03-02". Raises WrittenWrong."""
        try:
            return cls(on if isinstance(on, date) else date.fromisoformat(on), ZoneInfo(zone))
        except ZoneInfoNotFoundError:
            raise WrittenWrong(f"{zone!r} is no time zone; write an IANA name such as Europe/Berlin") from None
        except ValueError:
            raise WrittenWrong(f"{on!r} is no date; write it as 2026-03-02") from None

    def moment(self, written: str | datetime) -> datetime:
        """UTC of "10:05", "10:05:30", "2026-03-03 00:10", "02:30+01:00" or "10:05Z", or of a datetime with a zone. Raises WrittenWrong."""
        return self.timestamp(written).utc

    def timestamp(self, written: str | datetime, received: datetime | None = None) -> Timestamp:
        """As a gateway would understand it.

        "02:30 local" is what a source writes that gives no offset: read as every gateway reads it, also in the hour that occurs twice.
        Without "local" such an hour has to be told with its offset. Raises WrittenWrong.
        """
        if isinstance(written, datetime):
            if written.tzinfo is None:
                raise WrittenWrong(f"{written} has no time zone; give it one (tzinfo=UTC)")
            return Timestamp(written.astimezone(UTC), written.isoformat())
        match = _WRITTEN.fullmatch(written.strip())
        if match is None:
            raise WrittenWrong(f'{written!r} is no time; write "10:05", "10:05:30", "2026-03-03 00:10", "02:30+01:00" or "02:30 local"')
        try:
            on = date.fromisoformat(match["date"]) if match["date"] else self.on
            wall = datetime(on.year, on.month, on.day, int(match["hour"]), int(match["minute"]), int(match["second"] or 0))  # noqa: DTZ001
        except ValueError as error:
            raise WrittenWrong(f"{written!r} is no time: {error}") from None
        return self._placed(wall, match["zone"], written, received)

    def _placed(self, wall: datetime, zone: str | None, written: str, received: datetime | None) -> Timestamp:
        text = f"{wall:%Y%m%d%H%M%S}"
        if zone == "local":
            return timestamps.from_hl7(text, self.zone, received or wall.replace(tzinfo=self.zone).astimezone(UTC))
        if zone is not None:
            offset = "+0000" if zone == "Z" else zone.replace(":", "")
            return timestamps.from_hl7(text + offset, self.zone, wall.replace(tzinfo=UTC))
        early, late = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if early < late:
            raise WrittenWrong(
                f"{written} occurs twice on {wall:%Y-%m-%d} in {self.zone}: write it with its offset, {_offsets(wall, self.zone)}"
            )
        if early > late:
            raise WrittenWrong(f"{written} does not occur on {wall:%Y-%m-%d} in {self.zone}: the clocks are put forward over it")
        return Timestamp(early, text)

    def words(self, moment: datetime) -> str:
        """ "10:05", with seconds where there are any, with the date on another day, and with the zone unless it is plain."""
        local = moment.astimezone(self.zone)
        clock = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
        dated = clock if local.date() == self.on else f"{local:%Y-%m-%d} {clock}"
        ambiguous = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
        return dated + (f"{local:%z}"[:3] + ":" + f"{local:%z}"[3:] if ambiguous else "")


PLAIN_DAY = Day()


def _offsets(wall: datetime, zone: ZoneInfo) -> str:
    both = [wall.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1)]
    return " or ".join(f'"{wall:%H:%M}{_sign(offset)}"' for offset in both)


def _sign(offset: timedelta) -> str:
    minutes = int(offset.total_seconds() // 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
