"""Alerts in the API: who may do what, what is answered, and that nothing names a patient."""

from __future__ import annotations

import pytest

from pipeline.domain.escalation import Alert
from pipeline.domain.escalation_policy import DEFAULT
from pipeline.domain.urgency import severity_of
from pipeline.services.escalation import Escalation
from schemas.assessments import Evidence
from schemas.worklist import Reason
from tests.unit.worklist.web import NOW, Web, item


async def critical(web: Web, number: int = 1) -> Alert:
    """An alert for study `number`, raised and told on the page."""
    evidence = Evidence(kind="critical-lab", code="potassium", label="K 6.8 at 10:30Z", severity=severity_of(25), at=NOW)
    made = item(number, reasons=[Reason(evidence=evidence, minutes=30, binding=True)], context_version=2)
    web.put(made)
    await Escalation(web.alerts, web.worklist, web.clock, lambda: DEFAULT).observe([made])
    return next(alert for alert in web.alerts.alerts.values() if alert.subject == made.study.study_uid)


async def test_an_open_alert_is_listed_and_on_its_row(web: Web) -> None:
    """With its category's code; the row carries a mark, the summary a count; no name anywhere."""
    alert = await critical(web)
    async with web.client() as client:
        listed = (await client.get("/api/alerts")).json()
        rows = {row["study_uid"]: row for row in (await client.get("/api/worklist")).json()["items"]}
        summary = (await client.get("/api/summary")).json()
    (told,) = listed["alerts"]
    assert (told["id"], told["category_radlex"], told["state"], told["open"]) == (alert.id, "RID49480", "notified", True)
    assert (rows["1.2.1"]["alert"]["id"], rows["1.2.1"]["marks"][0]["kind"], rows["1.2.2"]["alert"]) == (alert.id, "alert", None)
    assert (summary["alerts"], summary["operations"]) == (1, [])
    assert "Family" not in str(listed)


async def test_acknowledging_an_alert_acknowledges_its_study(web: Web) -> None:
    """By the API; the second reader is told who was first, and may take it over."""
    alert = await critical(web)
    async with web.client("Ada") as ada, web.client("Ben") as ben:
        done = (await ada.post(f"/api/alerts/{alert.id}/acknowledge")).json()
        refused = await ben.post(f"/api/alerts/{alert.id}/acknowledge")
        study = (await ada.get("/api/worklist/1.2.1")).json()
        taken = (await ben.post(f"/api/alerts/{alert.id}/take-over")).json()
    assert (done["record"]["received_by"], done["record"]["method"]) == ("Ada", "api")
    assert set(done["record"]) == {"finding", "identified_at", "told_by", "received_by", "received_at", "method"}
    assert (refused.status_code, study["acknowledged_by"], taken["acknowledged_by"]) == (409, "Ada", "Ben")
    assert [line["step"] for line in taken["history"]] == ["raised", "acknowledged", "taken-over"]


async def test_acknowledging_a_study_acknowledges_its_alert(web: Web) -> None:
    """One fact, one home."""
    alert = await critical(web)
    async with web.client("Ada") as client:
        answer = (await client.post("/api/worklist/1.2.1/acknowledge")).json()
    assert (answer["acknowledged_by"], answer["alerts"][0]["state"]) == ("Ada", "acknowledged")
    assert (await web.alerts.get(alert.id)).acknowledged_by == "Ada"


async def test_an_alert_is_closed_with_who_was_told(web: Web) -> None:
    """The six fields, and whether the finding was there; once."""
    alert = await critical(web)
    async with web.client("Ada") as client:
        said = {"received_by": "Dr Roth", "method": "phone", "confirmed": False}
        done = (await client.post(f"/api/alerts/{alert.id}/resolve", json=said)).json()
        again = await client.post(f"/api/alerts/{alert.id}/resolve")
    assert (done["state"], done["confirmed"], done["record"]["told_by"], done["record"]["received_by"]) == (
        "resolved",
        False,
        "Ada",
        "Dr Roth",
    )
    assert again.status_code == 409


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"confirmed": "yes"}', b'{"unknown": 1}', b'{"received_by": "a\\u0000b"}', b'{"received_by": "' + b"x" * 99 + b'"}'],
)
async def test_a_record_that_cannot_be_meant_is_refused(web: Web, body: bytes) -> None:
    """400, and the alert stays open."""
    alert = await critical(web)
    async with web.client("Ada") as client:
        answer = await client.post(f"/api/alerts/{alert.id}/resolve", content=body)
    assert (answer.status_code, (await web.alerts.get(alert.id)).state) == (400, "notified")


async def test_who_has_no_name_changes_nothing(web: Web) -> None:
    """401; unknown alerts are 404, unknown states 400."""
    alert = await critical(web)
    async with web.client(None) as client:
        assert (await client.post(f"/api/alerts/{alert.id}/acknowledge")).status_code == 401
        assert (await client.get("/api/alerts?state=nonsense")).status_code == 400
        assert (await client.get("/api/alerts/nobody")).status_code == 404


async def test_a_messages_link_leads_to_the_study(web: Web) -> None:
    """The message itself names the alert only."""
    alert = await critical(web)
    async with web.client(None) as client:
        assert (await client.get(f"/alert/{alert.id}")).headers["location"] == "/study/1.2.1"
