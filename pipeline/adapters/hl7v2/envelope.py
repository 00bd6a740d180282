"""Under which circumstances a message is read: whose it is, when it came, in which zone its clock runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from pipeline.domain.timestamps import from_hl7
from pipeline.services.intake import Origin
from pipeline.settings import Gateways
from schemas.time import Timestamp


@dataclass(frozen=True, slots=True)
class Site:
    """What a hospital settles once. authority: for ids that name none. zones: sending facility or application -> zone."""

    key: bytes
    authority: str
    charset: str
    processing_ids: frozenset[str]
    zone: ZoneInfo
    zones: Mapping[str, ZoneInfo]

    @classmethod
    def of(cls, key: bytes, settings: Gateways) -> Site:
        """From the settings of the gateways."""
        return cls(
            key,
            settings.assigning_authority,
            settings.hl7_default_charset,
            frozenset(settings.hl7_processing_ids),
            ZoneInfo(settings.default_time_zone),
            {sender: ZoneInfo(zone) for sender, zone in settings.time_zones.items()},
        )

    def zone_of(self, facility: str, application: str) -> ZoneInfo:
        """The zone of a sender's local times."""
        return self.zones.get(facility) or self.zones.get(application) or self.zone


@dataclass(frozen=True, slots=True)
class Envelope:
    """origin: which message. sent: MSH-7."""

    site: Site
    origin: Origin
    received: datetime
    zone: ZoneInfo
    sent: Timestamp

    def time(self, text: str) -> Timestamp:
        """A TS or DTM of this message; precision "missing" where it says nothing usable."""
        return from_hl7(text, self.zone, self.received)

    def first_time(self, *texts: str) -> Timestamp | None:
        """The first of these that is a time."""
        times = (self.time(text) for text in texts if text)
        return next((time for time in times if time.precision != "missing"), None)
