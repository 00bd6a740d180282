"""`readfirst dlq redrive` and `purge` with many letters: each is told, and what cannot be done stops nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from pipeline.cli import build
from pipeline.ports import Received
from schemas.topics import LABS
from tests.unit.services.test_letters import Office


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """Three letters wait; the commands go to its desk."""
    office = Office()
    for offset in range(3):
        asyncio.run(office.bury(Received(LABS, 0, offset, b"p1", b"{", {"event_id": f"e{offset}"})))
    monkeypatch.setattr("pipeline.cli.dlq._at_the_desk", lambda data, act: asyncio.run(act(office.desk)))
    with capture_logs():
        yield office


def run(*arguments: str) -> Result:
    """The command."""
    return CliRunner().invoke(build(["dlq"]), ["dlq", *arguments])


def waiting(office: Office) -> list[str]:
    """Places of the letters that nobody has settled."""
    return sorted(str(held.place) for held in asyncio.run(office.desk.list()))


def test_many_are_sent_again_by_one_command(office: Office) -> None:
    """In the order of asking; settled, they are no longer there to be sent."""
    done = run("redrive", "0:0", "0:2")

    assert (done.exit_code, done.stdout.splitlines()) == (0, ["sent 0:0 to labs again", "sent 0:2 to labs again"])
    assert [record.headers["event_id"] for record in office.log.records(LABS)] == ["e0", "e2"]
    assert waiting(office) == ["0:1"]


def test_one_that_somebody_else_has_settled_stops_nothing(office: Office) -> None:
    """Nor one that is not there: the exit code and standard error say it, and the others are purged."""
    assert run("redrive", "0:1").exit_code == 0
    done = run("purge", "0:0", "0:1", "0:99", "0:2", "--reason", "a test")

    assert (done.exit_code, done.stdout.splitlines()) == (1, ["purged 0:0", "purged 0:2"])
    assert "0:1 has been redriven already" in done.stderr and "0:99" in done.stderr
    assert waiting(office) == []


def test_what_is_no_place_is_refused_before_anything_is_done(office: Office) -> None:
    """And a purge without a reason."""
    assert run("redrive", "0:0", "labs/0/7").exit_code == 2
    assert run("purge", "0:0", "--reason", " ").exit_code == 1
    assert run("purge", "0:0").exit_code == 2
    assert waiting(office) == ["0:0", "0:1", "0:2"]
