"""The JSON API over the in-memory worklist."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from tests.unit.worklist.web import NOW, Web, item


async def test_the_list_is_in_order_of_deadline(web: Web) -> None:
    """Most urgent first, whatever came first."""
    web.put(item(7, due_at=NOW - timedelta(minutes=1)))
    async with web.client() as client:
        body = (await client.get("/api/worklist")).json()

    assert [row["study_uid"] for row in body["items"]] == ["1.2.7", "1.2.0", "1.2.1", "1.2.2"]
    assert body["next"] is None


async def test_a_cursor_goes_on_where_the_page_ended(web: Web) -> None:
    """Even when the list has changed in between."""
    async with web.client() as client:
        first = (await client.get("/api/worklist?limit=2")).json()
        web.put(item(9, due_at=NOW - timedelta(hours=1)))
        second = (await client.get("/api/worklist", params={"limit": 2, "after": first["next"]})).json()

    assert [row["study_uid"] for row in first["items"]] == ["1.2.0", "1.2.1"]
    assert [row["study_uid"] for row in second["items"]] == ["1.2.2"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "limit=²", "after=nonsense", "state=lost", "q=%00", "modality=" + "x" * 201]
)
async def test_what_cannot_be_meant_is_refused_with_a_reason(web: Web, query: str) -> None:
    """400 as a problem document (RFC 9457), never a 500."""
    async with web.client() as client:
        response = await client.get(f"/api/worklist?{query}")

    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"]


async def test_filters_narrow_the_list(web: Web) -> None:
    """By modality, class, place, state."""
    study = msgspec.structs.replace(item(5).study, modality="MR", patient_class="I", location="ICU")
    web.put(item(5, study=study))
    async with web.client() as client:
        await client.post("/api/worklist/1.2.1/claim")
        for query, expected in [("modality=MR", 5), ("patient_class=I", 5), ("location=ICU", 5), ("state=claimed", 1)]:
            body = (await client.get(f"/api/worklist?{query}")).json()
            assert [row["study_uid"] for row in body["items"]] == [f"1.2.{expected}"], query


@pytest.mark.parametrize("words", ["family2", "GIVEN FAMILY2", "102", "Fámily2"])
async def test_a_search_finds_names_and_numbers(web: Web, words: str) -> None:
    """In any order, case and accent; the audit trail says who searched."""
    async with web.client() as client:
        body = (await client.get("/api/worklist", params={"q": words})).json()

    assert [row["study_uid"] for row in body["items"]] == ["1.2.2"]
    assert {(entry.reader, entry.purpose) for entry in web.vault.audit} == {
        ("worklist name search", "name search for Dr Weber"),
        ("Dr Weber", "worklist"),
    }
    assert [entry.pseudonyms for entry in web.vault.audit if entry.reader == "Dr Weber"] == [("p2",)]


async def test_without_a_reader_there_are_no_names(web: Web) -> None:
    """Nor are names searched; nothing is asked of the vault."""
    async with web.client(reader=None) as client:
        body = (await client.get("/api/worklist")).json()
        found = (await client.get("/api/worklist?q=family2")).json()
        detail = (await client.get("/api/worklist/1.2.1")).json()

    assert {row["person"] for row in body["items"]} == {None}
    assert found["items"] == []
    assert (detail["person"], detail["accession"]) == (None, None)
    assert web.vault.audit == []


async def test_an_unchanged_list_is_not_sent_again(web: Web) -> None:
    """ETag and 304; a claim makes a new one."""
    async with web.client() as client:
        first = await client.get("/api/worklist")
        again = await client.get("/api/worklist", headers={"If-None-Match": first.headers["etag"]})
        await client.post("/api/worklist/1.2.1/claim")
        changed = await client.get("/api/worklist", headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, changed.status_code) == (304, 200)
    assert again.headers["x-readfirst-now"] == NOW.isoformat()


async def test_the_detail_says_what_moved_the_deadline(web: Web) -> None:
    """Evidence with minutes and what would change it, the target it would have without, the accession number from the vault."""
    web.vault.known_numbers["acc"] = "A123"
    study = msgspec.structs.replace(item(1).study, accession="acc")
    web.put(item(1, study=study, context_version=2))
    async with web.client() as client:
        detail = (await client.get("/api/worklist/1.2.1")).json()

    assert detail["minutes_won"] == 30
    assert [(reason["label"], reason["minutes"], reason["binding"], reason["reverts_when"]) for reason in detail["reasons"]] == [
        ("K 6.8", 30.0, True, "K back to 6.1 or below")
    ]
    assert detail["accession"] == "A123"
    assert detail["person"]["birth_date"] == "1986-01-02"


async def test_history_is_newest_first(web: Web) -> None:
    """Each line with its cause."""
    web.put(item(1, due_at=NOW, context_version=2), "K 6.8")
    async with web.client() as client:
        changes = (await client.get("/api/worklist/1.2.1/history")).json()["changes"]

    assert [change["cause"] for change in changes] == ["K 6.8", "arrived"]


@pytest.mark.parametrize("path", ["", "/history", "/timeline"])
async def test_an_unknown_study_is_not_found(web: Web, path: str) -> None:
    """404 as a problem document."""
    async with web.client() as client:
        response = await client.get(f"/api/worklist/9.9.9{path}")

    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


async def test_of_two_claims_one_wins(web: Web) -> None:
    """The other is told who has it; the winner may claim again."""
    async with web.client("Dr Weber") as first, web.client("Dr Sato") as second:
        won, lost, again = [await one.post("/api/worklist/1.2.1/claim") for one in (first, second, first)]
        release = await second.post("/api/worklist/1.2.1/release")

    assert (won.status_code, lost.status_code, again.status_code, release.status_code) == (200, 409, 200, 409)
    assert lost.json()["claimed_by"] == "Dr Weber"
    assert won.json()["state"] == "claimed"


async def test_next_takes_each_study_once(web: Web) -> None:
    """In order of urgency, then 404 in plain words."""
    async with web.client("Dr Weber") as first, web.client("Dr Sato") as second:
        taken = [(await one.post("/api/worklist/next")).json()["study_uid"] for one in (first, second, first)]
        none = await first.post("/api/worklist/next")

    assert taken == ["1.2.0", "1.2.1", "1.2.2"]
    assert none.status_code == 404


@pytest.mark.parametrize("path", ["next", "1.2.1/claim", "1.2.1/release", "1.2.1/acknowledge"])
async def test_nothing_changes_without_a_name_or_without_the_pages_header(web: Web, path: str) -> None:
    """401 for the nameless; 403 for what another site's page could send; 405 for a GET."""
    async with web.client(reader=None) as nameless, web.client() as client:
        unnamed = await nameless.post(f"/api/worklist/{path}")
        del client.headers["X-Readfirst-Request"]
        foreign = await client.post(f"/api/worklist/{path}")
        cross = await client.post(f"/api/worklist/{path}", headers={"X-Readfirst-Request": "1", "Sec-Fetch-Site": "cross-site"})
        read = await client.get(f"/api/worklist/{path}")

    assert (unnamed.status_code, foreign.status_code, cross.status_code) == (401, 403, 403)
    assert read.status_code in (404, 405)
    assert all(row.listed.claimed_by is None for row in web.worklist.rows.values())


async def test_the_summary_counts(web: Web) -> None:
    """Open, overdue, the oldest, each feed in words."""
    web.clock.time = NOW + timedelta(minutes=15)
    async with web.client() as client:
        body = (await client.get("/api/summary")).json()

    assert (body["open"], body["overdue"], body["oldest_ready_at"]) == (3, 2, "2026-03-03T10:10:00Z")
    assert {feed["words"] for feed in body["feeds"]} >= {"no labs yet", "no images yet"}


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "line\nbreak\x07", 5, None, "\u202e\ue000"])
async def test_a_name_that_is_none_is_not_taken(web: Web, name: object) -> None:
    """Empty takes the name away; impossible ones are refused."""
    async with web.client(reader=None) as client:
        response = await client.post("/api/reader", json={"name": name})

    assert response.status_code in (200, 400)
    if response.status_code == 200:
        assert response.json()["reader"] is None


async def test_a_name_is_kept_in_a_cookie_that_scripts_cannot_read(web: Web) -> None:
    """Any script; HttpOnly, SameSite=Strict; the next request knows it."""
    async with web.client(reader=None) as client:
        said = await client.post("/api/reader", json={"name": "  Dr  山田 Müller "})
        known = (await client.get("/api/reader")).json()

    assert known == {"reader": "Dr 山田 Müller"}
    assert {"HttpOnly", "SameSite=strict"} <= set(said.headers["set-cookie"].split("; "))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"name"', b"\xff\xfe"])
async def test_a_body_that_is_no_object_is_refused(web: Web, body: bytes) -> None:
    """400, not 500."""
    async with web.client(reader=None) as client:
        assert (await client.post("/api/reader", content=body)).status_code == 400


async def test_a_large_body_is_refused(web: Web) -> None:
    """413 before it is read into memory."""
    async with web.client() as client:
        response = await client.post("/api/reader", content=b"x" * 100_000)

    assert response.status_code == 413


async def test_every_answer_carries_the_security_headers(web: Web) -> None:
    """Pages, data, files, errors and refusals."""
    async with web.client() as client:
        answers = [await client.get(path) for path in ("/", "/api/worklist", "/static/main.js", "/nowhere", "/api/worklist/9")]

    for answer in answers:
        assert "default-src 'none'" in answer.headers["content-security-policy"], answer.url
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 404]
    assert answers[0].headers["cache-control"] == "no-store"


async def test_another_host_name_is_refused(web: Web) -> None:
    """What a name rebound to this address would send (DNS rebinding). Probes ask by address and are answered."""
    async with web.client(Host="evil.example") as client:
        assert (await client.get("/api/worklist")).status_code == 400
        assert (await client.get("/readyz")).status_code == 200


async def test_health(web: Web) -> None:
    """Live as long as it answers; ready only while the list can be read."""
    async with web.client() as client:
        ready = await client.get("/readyz")
        web.worklist.down = True
        not_ready, live, summary = [await client.get(path) for path in ("/readyz", "/livez", "/api/summary")]

    assert (ready.status_code, not_ready.status_code, live.status_code, summary.status_code) == (200, 503, 200, 503)
    assert summary.headers["retry-after"] == "2"


async def test_names_are_asked_of_the_vault_once_in_a_while(web: Web) -> None:
    """Ten looks at the list within minutes are one audit entry; a look an hour later is another."""
    async with web.client() as client:
        for _ in range(10):
            await client.get("/api/worklist")
        assert len(web.vault.audit) == 1
        web.clock.time = NOW + timedelta(hours=1)
        await client.get("/api/worklist")

    assert len(web.vault.audit) == 2
