"""Alerts from a terminal: the commands as a user gives them, on a real Postgres."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.escalation import PostgresAlerts
from pipeline.cli import build
from pipeline.errors import Conflict
from pipeline.ports.escalation import AlertChange
from pipeline.settings import Postgres, Settings
from tests.alert_builders import alert

FIRST, SECOND = alert("1.2.1"), alert("1.2.2")


@pytest.fixture
def filled(migrated: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two open alerts."""
    dsn = migrated()

    async def fill() -> None:
        async with Database(dsn) as database, PostgresAlerts(database).begin() as transaction:
            await transaction.store([AlertChange(one, None) for one in (FIRST, SECOND)])

    asyncio.run(fill())
    monkeypatch.setattr("pipeline.cli.alerts.running_settings", lambda data: Settings(postgres=Postgres(dsn=SecretStr(dsn))))


def said(*words: str) -> str:
    return CliRunner().invoke(build(("alerts",)), ["alerts", *words], catch_exceptions=False, standalone_mode=False).output


def told(*words: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(said(*words, "--json"))
    return answer


@pytest.mark.usefixtures("filled")
def test_an_alert_is_closed_with_the_six_fields() -> None:
    """As said where it was said, else from the alert; the history names who did it; a second closing is refused and changes nothing."""
    done = told(
        "resolve", FIRST.id[:12], "--by", "Dr Weber", "--received-by", "Dr Stone", "--method", "phone", "--finding", "K 6.9", "--confirmed"
    )
    six = {"finding": "K 6.9", "told_by": "Dr Weber", "received_by": "Dr Stone", "method": "phone"}
    assert (done["state"], done["confirmed"]) == ("resolved", True)
    assert done["record"] == {**six, "identified_at": done["record"]["identified_at"], "received_at": done["record"]["received_at"]}
    assert done["record"]["received_at"] > done["record"]["identified_at"]

    kept = told("show", FIRST.id)
    assert kept["record"] == done["record"]
    assert [(each["step"], each["by"], each["reason"]) for each in kept["history"]] == [
        ("resolved", "Dr Weber", "Dr Stone was told by phone")
    ]
    with pytest.raises(Conflict, match="resolved already"):
        said("resolve", FIRST.id, "--by", "Dr Late", "--refuted")
    assert told("show", FIRST.id)["record"] == done["record"]


@pytest.mark.usefixtures("filled")
def test_what_is_not_said_is_taken_from_the_alert() -> None:
    """In words: all six; whether the finding was there stays open, and the other alert stays as it was."""
    lines = said("resolve", SECOND.id, "--by", "Dr Weber").splitlines()
    assert lines[0] == "CT head K 6.8: closed"
    assert {line[2:16].strip() for line in lines[1:]} == {"finding", "identified at", "told by", "received by", "received at", "method"}
    assert "received by    Dr Weber" in lines[4]
    assert [json.loads(line)["id"] for line in said("list", "--json").splitlines()] == [FIRST.id]
