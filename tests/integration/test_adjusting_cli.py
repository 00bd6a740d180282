"""Holds, deferrals and overrides from a terminal: the commands as a user gives them, on a real Postgres."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
from pydantic import SecretStr
from typer.testing import CliRunner

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.adapters.postgres.site import PostgresSiteRegister
from pipeline.adapters.site.file import parse
from pipeline.adapters.site.published import default_yaml
from pipeline.cli import build
from pipeline.domain.site import DEFAULT
from pipeline.errors import InvalidMessage
from pipeline.ports import Batch, Received, SiteRules
from pipeline.services.ranking import RankingStage
from pipeline.settings import Postgres, Settings
from schemas import codec
from schemas.assessments import Assessment, StudyState
from schemas.topics import ASSESSMENTS

UID = "1.2.826.0.1.3680043.8.498.949960288"
MINUTE = timedelta(minutes=1)
SITE = default_yaml().replace("version: default/1", "version: here").replace("images-missing", "no-images")


@pytest.fixture
def filled(migrated: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A list with one urgent study, under rules that no site file of this terminal has; the commands find it."""
    dsn = migrated()

    async def fill() -> None:
        now = datetime.now(UTC)
        study = StudyState(study_uid=UID, ready_at=now, priority="urgent", patient_class="E", complete=True)
        told = Assessment(event_id="e1", patient="p1", context_version=1, as_of=now, recorded_at=now, studies=[study])
        async with Database(dsn) as database:
            rules = parse(SITE, "site.yaml")
            await PostgresSiteRegister(database).accept(SiteRules(rules.policy, rules.digest, rules.text), now)
            stage = RankingStage(PostgresRankingStore(database), MemoryEventLog(), SystemClock(), "ranking", lambda: DEFAULT)
            await stage.handle([Batch(ASSESSMENTS, 0, [Received(ASSESSMENTS, 0, 0, b"p1", codec.encode(told))])])

    asyncio.run(fill())
    settings = Settings(postgres=Postgres(dsn=SecretStr(dsn)))
    for module in ("adjusting", "worklist"):
        monkeypatch.setattr(f"pipeline.cli.{module}.running_settings", lambda data: settings)


def said(*words: str) -> str:
    app = build(("adjusting", "worklist"))
    return CliRunner().invoke(app, list(words), catch_exceptions=False, standalone_mode=False).output


def study(*words: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(said(*words, "--json"))
    return answer


def history() -> list[dict[str, Any]]:
    return study("explain", UID)["history"]  # type: ignore[no-any-return]


@pytest.mark.usefixtures("filled")
def test_what_a_reader_does_to_a_deadline_can_be_done_in_a_terminal() -> None:
    """Each act changes the stored item by the rules in force and says so; the history names reader, act and words."""
    before = study("explain", "949960288")
    due = datetime.fromisoformat(before["due_at"])

    held = study("hold", "949960288", "no-images", "--by", "Dr Weber", "--minutes", "30", "--note", "axial series")
    assert abs(datetime.fromisoformat(held["due_at"]) - due - 30 * MINUTE) < MINUTE
    assert (held["adjustment"]["hold"]["by"], held["adjustment"]["hold"]["note"]) == ("Dr Weber", "axial series")
    assert "set aside until" in said("worklist")
    assert "hold" not in (study("resume", UID, "--by", "Dr Weber")["adjustment"] or {})

    assert study("defer", UID, "--minutes", "5", "--by", "Dr Weber")["adjustment"]["hold"]["paused"] is False
    assert "its clock runs on until" in said("defer", UID, "--minutes", "6", "--by", "Dr Weber")

    at = (datetime.now(UTC) + 12 * MINUTE).replace(microsecond=0)
    told = said("override", UID, "--due", at.isoformat(), "--minutes", "60", "--reason", "theatre waits", "--by", "Dr Weber")
    assert "moved up by Dr Weber: theatre waits" in told
    assert datetime.fromisoformat(study("explain", UID)["due_at"]) == at
    study("resume", UID, "--by", "Dr Weber")
    assert abs(datetime.fromisoformat(study("free", UID, "--by", "Dr Weber")["due_at"]) - due) < MINUTE
    assert [change["kind"] for change in history()] == ["free", "resume", "override", "defer", "defer", "resume", "hold", "ranking"]
    assert "by Dr Weber for up to 30 min: images are missing (axial series)" in history()[-2]["cause"]


@pytest.mark.usefixtures("filled")
def test_what_cannot_be_meant_is_refused_with_what_to_do() -> None:
    """A code of another site, no deadline or two, a deadline without its zone: nothing is changed."""
    with pytest.raises(InvalidMessage, match="the reason is one of no-images"):
        said("hold", UID, "images-missing", "--by", "Ada")
    for deadline in ([], ["--due-in", "10", "--due", "2026-03-01T12:00:00Z"], ["--due", "noon"]):
        with pytest.raises(typer.BadParameter):
            said("override", UID, *deadline, "--minutes", "60", "--reason", "theatre waits", "--by", "Ada")
    with pytest.raises(InvalidMessage, match="time zone"):
        said("override", UID, "--due", "2026-03-01T12:00", "--minutes", "60", "--reason", "theatre waits", "--by", "Ada")
    assert [change["kind"] for change in history()] == ["ranking"]
