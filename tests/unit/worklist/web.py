"""The application in the test's own loop, without a socket, over twins with a few studies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from pipeline.adapters.memory.context_store import MemoryContextStore
from pipeline.adapters.memory.feedback import MemoryFeedback
from pipeline.adapters.memory.vault import MemoryVault
from pipeline.adapters.memory.worklist import MemoryWorklist
from pipeline.errors import Unavailable
from pipeline.ports import Identity, ItemChange, Summary
from pipeline.services.alert_desk import AlertDesk
from pipeline.worklist.alerts import AlertsApi
from pipeline.worklist.app import create_app
from schemas.assessments import Evidence, StudyState
from schemas.worklist import Reason, WorklistItem

NOW = datetime(2026, 3, 3, 10, 30, tzinfo=UTC)
CHANGE = {"X-Readfirst-Request": "test"}


class StillClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        """UTC."""
        return self.time


class FailingWorklist(MemoryWorklist):
    """A store that a test can take away."""

    down = False

    async def summary(self, now: datetime) -> Summary:
        """As WorklistReader.summary."""
        if self.down:
            raise Unavailable("ordered by the test")
        return await super().summary(now)


def item(number: int, **changes: Any) -> WorklistItem:
    """Study `number` is due `number` times ten minutes from now."""
    study = StudyState(
        study_uid=f"1.2.{number}", ready_at=NOW - timedelta(minutes=20), modality="CT", description="Head", location="ED^BAY 3"
    )
    potassium = Evidence(kind="critical-lab", code="2823-3", label="K 6.8", severity=0.9, at=NOW, reverts_when="K back to 6.1 or below")
    reason = Reason(evidence=potassium, minutes=30, binding=True)
    due = NOW + timedelta(minutes=10 * number)
    made = WorklistItem(
        study=study, patient=f"p{number}", due_at=due, target_at=due + timedelta(minutes=30), reasons=[reason], why="K 6.8 at 10:30Z",
        context_version=1, as_of=NOW, ranked_at=NOW, age=40.0, sex="F",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


class Web:
    """The twins, and a client that speaks to the application over them."""

    def __init__(self, studies: int = 3) -> None:
        self.clock = StillClock()
        self.context = MemoryContextStore()
        self.worklist = FailingWorklist(self.context)
        self.vault = MemoryVault(self.clock)
        for number in range(studies):
            self.put(item(number))
            self.vault.identities[f"p{number}"] = Identity(
                f"p{number}", str(100 + number), "HOSP", f"Family{number}^Given", "19860102", "F"
            )
        self.alerts, self.feedback = self.worklist.alerts, MemoryFeedback()
        room = AlertsApi(self.alerts, AlertDesk(self.alerts, self.alerts, self.worklist, self.clock), self.clock)
        self.app = create_app(
            self.worklist, self.worklist, self.vault, self.clock, time_zone="Europe/Berlin", alerts=room, feedback=self.feedback
        )

    def put(self, made: WorklistItem, cause: str = "arrived") -> None:
        """What the ranking stage does."""
        self.worklist.write(ItemChange(made, cause, "event"))

    def client(self, reader: str | None = "Dr Weber", **headers: str) -> httpx.AsyncClient:
        """Speaks as a reader; may change state."""
        named = {"X-Readfirst-Reader": quote(reader)} if reader else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers={**CHANGE, **named, **headers})
