"""The bounded demo fails, and says why, where it did not do what it shows."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from pipeline.cli import build, demo
from pipeline.simulation import alerting

CALM = {"notified": 0, "escalated": 0, "acknowledged": 0, "all_steps": 0, "acknowledged_by_api": 0, "unmarked_repeats": 0}
SHOWN = CALM | {"escalated": 3, "acknowledged": 1, "all_steps": 4, "acknowledged_by_api": 1}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"alerts": CALM}, None),
        ({"alerts": SHOWN | {"all_steps": 0}}, "of no alert did every step reach its receiver"),
        ({"alerts": SHOWN | {"acknowledged_by_api": 0}}, "no alert could be acknowledged by the API"),
        ({"alerts": SHOWN | {"unmarked_repeats": 2}}, "2 steps of alerts came twice"),
        ({"unaccounted": 2}, "of 2 messages nobody knows"),
        ({"ranked": 0}, "no study was ranked"),
    ],
)
def test_the_bounded_demo_fails_where_it_did_not_show_what_it_should(
    changes: dict[str, Any], words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The summary goes out in any case; the words tell a person what to look for."""
    summary = {"unaccounted": 0, "ranked": 5, "alerts": SHOWN} | changes

    async def bounded(*_: object) -> dict[str, Any]:
        return summary

    monkeypatch.setattr(demo, "_bounded", bounded)
    monkeypatch.setattr(demo, "_receivers", lambda *_, **__: nullcontext())
    monkeypatch.setattr(demo, "foreground_stack", lambda *_: nullcontext(None))
    done = CliRunner().invoke(build(("demo",)), ["demo", "--once", "--json"])

    assert json.loads(done.stdout) == summary
    assert done.exit_code == (words is not None)
    assert (words or "") in done.stderr.replace("\n", " ")
    assert bool(done.stderr) == (words is not None)


@pytest.mark.parametrize(("status", "record", "acknowledged"), [(200, {"method": "api"}, 1), (200, None, 0), (409, None, 0)])
async def test_only_an_acknowledgement_with_its_record_counts(
    status: int, record: object, acknowledged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused one, and one that left no record, are told as none."""
    told = {"id": "a1", "told": {"role": "head"}}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json={"record": record}) if request.method == "POST" else httpx.Response(200, json={"alerts": [told]})

    client, transport = httpx.AsyncClient, httpx.MockTransport(answer)
    monkeypatch.setattr(alerting.httpx, "AsyncClient", lambda **with_: client(transport=transport, **with_))
    monkeypatch.setattr(alerting, "WAIT_S", 0.3)
    hears = SimpleNamespace(climbed=lambda: 1, arrived=[])
    summary = await alerting.settled(hears, SimpleNamespace(web=SimpleNamespace(address="http://demo")))  # type: ignore[arg-type]

    assert summary["acknowledged_by_api"] == acknowledged
    assert bool(alerting.faults(summary)) == (not acknowledged)
