"""Holds, overrides and the site's rules over the JSON API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.worklist.web import NOW, Web, item

HOLD = {"code": "images-missing", "minutes": 30, "note": "raw data"}


async def post(web: Web, path: str, body: Any = None, reader: str | None = "Dr Weber") -> Any:
    async with web.client(reader) as client:
        return await client.post(f"/api/worklist/1.2.1/{path}", json=body)


async def test_hold_and_resume(web: Web) -> None:
    """A held study says why, by whom and until when, on its row too; resumed, it is as before."""
    held = (await post(web, "hold", HOLD)).json()

    assert held["state"] == "held"
    assert held["hold"] == {
        "code": "images-missing", "words": "images are missing (raw data)", "by": "Dr Weber", "since": "2026-03-03T10:30:00Z",
        "until": "2026-03-03T11:00:00Z", "paused": True,
    }  # fmt: skip
    assert held["reasons"][-1]["minutes"] == -30 and held["due_at"] == "2026-03-03T11:10:00Z"
    async with web.client() as client:
        rows = (await client.get("/api/worklist?state=held")).json()["items"]
        history = (await client.get("/api/worklist/1.2.1/history")).json()["changes"]
    assert [row["study_uid"] for row in rows] == ["1.2.1"]
    assert (history[0]["kind"], history[0]["cause"]) == ("hold", "set aside by Dr Weber for up to 30 min: images are missing (raw data)")
    assert (await post(web, "resume")).json()["state"] == "open"


async def test_a_hold_whose_time_is_over_is_none(web: Web) -> None:
    """The page shows it as open again at once, even before the ranking agent has looked."""
    await post(web, "hold", HOLD)
    web.clock.time = NOW + timedelta(minutes=30)

    async with web.client() as client:
        assert (await client.get("/api/worklist/1.2.1")).json()["state"] == "open"
        assert (await client.post("/api/worklist/next?q=")).status_code == 200


async def test_override_and_free(web: Web) -> None:
    """Up and down, by minutes from now or by a time; the reason says whose word it is."""
    up = (await post(web, "override", {"due_in_minutes": 0, "minutes": 60, "reason": "call"})).json()
    assert up["due_at"] == "2026-03-03T10:30:00Z" and up["override"]["direction"] == "up"
    down = (await post(web, "override", {"due_at": "2026-03-03T15:00:00+01:00", "minutes": 60, "reason": "by phone"})).json()
    assert down["due_at"] == "2026-03-03T14:00:00Z" and down["override"]["direction"] == "down"
    assert "later than the order's own target" in down["reasons"][0]["label"] and down["reasons"][0]["binding"]
    assert (await post(web, "free")).json()["override"] is None


async def test_defer(web: Web) -> None:
    """Its deadline stays; it is nobody's next case until then."""
    put_off = (await post(web, "defer", {"minutes": 5})).json()

    assert put_off["due_at"] == "2026-03-03T10:40:00Z"
    assert put_off["hold"]["paused"] is False


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("hold", {"code": "no-such"}, 400),
        ("hold", {"code": "quality", "minutes": 10_000}, 400),
        ("hold", {"code": "quality", "minutes": -1}, 400),
        ("hold", {"code": "quality", "note": "x" * 201}, 400),
        ("hold", {"code": "quality", "minute": 4}, 400),
        ("hold", None, 400),
        ("defer", {"minutes": 0}, 400),
        ("override", {"minutes": 60, "reason": "x"}, 400),
        ("override", {"minutes": 60, "reason": " ", "due_in_minutes": 4}, 400),
        ("override", {"minutes": 60, "reason": "x", "due_at": "2026-03-03T15:00:00"}, 400),
        ("override", {"minutes": 60, "reason": "x", "due_at": "2126-03-03T15:00:00Z"}, 400),
        ("override", {"minutes": 6000, "reason": "x", "due_in_minutes": 4}, 400),
        ("override", {"minutes": 60, "reason": "x", "due_in_minutes": 1e300}, 400),
    ],
)
async def test_what_cannot_be_meant(web: Web, path: str, body: Any, status: int) -> None:
    """Refused with words; nothing is changed."""
    answer = await post(web, path, body)

    assert answer.status_code == status and answer.json()["detail"]
    async with web.client() as client:
        assert (await client.get("/api/worklist/1.2.1")).json()["due_at"] == "2026-03-03T10:40:00Z"


async def test_who_may(web: Web) -> None:
    """Nobody without a name; nobody sets aside what another has claimed."""
    assert (await post(web, "hold", HOLD, reader=None)).status_code == 401
    await post(web, "claim", reader="Dr Ada")
    assert (await post(web, "hold", HOLD)).status_code == 409
    assert (await post(web, "override", {"minutes": 60, "reason": "x", "due_in_minutes": 4})).status_code == 200


async def test_site_rules(web: Web) -> None:
    """The page learns the sub-lists and the reasons for a hold from the rules in force."""
    async with web.client() as client:
        site = (await client.get("/api/site")).json()
        assert (await client.get("/api/worklist?list=chest")).json()["items"] == []
        refusal = await client.get("/api/worklist?list=no-such")
        churn, sources = (await client.get("/api/site/churn")).json(), (await client.get("/api/site/sources")).json()

    assert site["version"] == "default/1" and site["refused"] is None
    assert "images-missing" in [hold["code"] for hold in site["holds"]]
    assert [one["name"] for one in site["lists"]] == ["neuro", "chest", "breast", "emergency"]
    assert refusal.status_code == 400 and "neuro" in refusal.json()["detail"]
    assert churn["hours"] == [] and sources["sources"] == []


async def test_also_waiting(web: Web) -> None:
    """What else waits for the same patient stands with the study, without moving anything."""
    web.put(item(2, patient="p1"))

    async with web.client() as client:
        rows = {row["study_uid"]: row["same_patient"] for row in (await client.get("/api/worklist")).json()["items"]}
        also = (await client.get("/api/worklist/1.2.1")).json()["also_waiting"]
    assert rows == {"1.2.0": 0, "1.2.1": 1, "1.2.2": 1}
    assert [(one["study_uid"], one["what"]) for one in also] == [("1.2.2", "CT Head")]
