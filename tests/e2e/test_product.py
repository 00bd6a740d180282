"""The product by its own commands, as a new user runs them: up, send, demo, worklist, explain, status, doctor, dlq, down."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from pydicom.uid import generate_uid

from pipeline.adapters.local.stack import settings_of
from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.versions import STATE_FILE
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.worklist import PostgresWorklist
from pipeline.adapters.triton import control
from pipeline.domain.stages import PICTURES, STAGES
from pipeline.ports import ListQuery, Page
from pipeline.replay.digest import state_digest
from pipeline.simulation.messages import Hl7, Person, Visit
from schemas.topics import FINDINGS
from schemas.worklist import WorklistItem
from tests import small_version
from tests.dicom_objects import as_file, ct
from tests.e2e.chest_patient import ChestPatient
from tests.e2e.identifiers import Identifiers
from tests.e2e.product import Product, every_record, memory, metrics, restarted, values
from tests.unit.models.test_versions import candidate

MEMORY_MAX = 512 << 20
REACTS_WITHIN_MS = 120_000


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A stack that runs for this file."""
    product = Product(tmp_path_factory.mktemp("product"))
    started = product.run("up", "--detach", timeout_s=900)
    assert started.returncode == 0, started.stderr[-3000:]
    yield product
    stopped = product.run("down")
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(scope="module")
def fed(product: Product) -> dict[str, Any]:
    """The stack after one bounded demo, and the demo's summary."""
    (summary,) = product.lines("demo", "--once", "--json")
    return summary


def balanced(summary: dict[str, Any]) -> bool:
    """Every message sent is in exactly one of the columns."""
    columns = [summary["applied"], *(sum(summary[name].values()) for name in ("ignored", "refused", "dead_lettered"))]
    return sum(summary["sent"].values()) == sum(columns) and summary["unaccounted"] == 0


@pytest.mark.timeout(1200)
def test_studies_appear_and_move_on_an_open_page(product: Product, browser: Browser, tmp_path: Path) -> None:
    """Files go in by `send`; the page, never loaded again, shows a row for each study, then the critical potassium, and the study above."""
    ahead, rising = generate_uid(), generate_uid()
    page = browser.new_page()
    page.goto(product.address)
    page.evaluate("window.loadedOnce = true")
    for study, number in ((ahead, "PAGE-1"), (rising, "PAGE-2")):
        (tmp_path / number).write_bytes(film_of(study, number))
        product.lines("send", str(tmp_path / number), "--json")
        expect(page.locator(row_of(study))).to_be_visible(timeout=REACTS_WITHIN_MS)
    expect(page.locator(f"{row_of(ahead)} ~ {row_of(rising)}")).to_be_visible(timeout=REACTS_WITHIN_MS)

    (tmp_path / "potassium.hl7").write_bytes(potassium_of("PAGE-2", 7.2))
    product.lines("send", str(tmp_path / "potassium.hl7"), "--json")
    expect(page.locator(row_of(rising))).to_contain_text("K 7.2", timeout=REACTS_WITHIN_MS)
    expect(page.locator(f"{row_of(rising)} ~ {row_of(ahead)}")).to_be_visible(timeout=REACTS_WITHIN_MS)
    assert page.evaluate("window.loadedOnce") is True
    page.close()


def row_of(study: str) -> str:
    """The selector of a study's row."""
    return f'tr[data-uid="{study}"]'


def film_of(study: str, number: str) -> bytes:
    """One slice, taken now, of the patient with this record number."""
    now = datetime.now(UTC)
    taken = {"StudyDate": f"{now:%Y%m%d}", "StudyTime": f"{now:%H%M%S}", "TimezoneOffsetFromUTC": "+0000"}
    return as_file(ct(StudyInstanceUID=study, PatientID=number, IssuerOfPatientID="SIMHOSP", AccessionNumber=None, **taken))


def potassium_of(number: str, value: float) -> bytes:
    """A final result, taken now, in mmol/L."""
    now = datetime.now(UTC)
    visit = Visit(Person(number, "Page", "Opened", date(1950, 3, 1), "F"), "E", "ED^BAY04", number)
    return Hl7("PAGELAB").results(visit, "CHEM", [("potassium", value, "HH")], now, now, order=f"L{number}")


@pytest.mark.timeout(1200)
def test_the_demo_accounts_for_every_message(fed: dict[str, Any]) -> None:
    """About 2,000 messages and 60 studies; each message has an outcome, each open study a rank and the model's score."""
    assert balanced(fed), fed
    assert 1_800 <= sum(fed["sent"].values()) <= 2_200
    assert fed["ignored"]["duplicate"] > 0
    assert 40 <= fed["ranked"] == fed["model_scored"] <= fed["studies"]
    assert fed["degraded"] is False
    assert set(fed["latency_ms"]) == {"p50", "p95", "p99"}


@pytest.fixture(scope="module")
def real(product: Product, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The stack after real data has gone through it, while another version of the model looked on, and the demo's summary."""
    product.lines("shadow", str(candidate(tmp_path_factory.mktemp("shadow"), "902")), "--json", folder="--stack")
    (summary,) = product.lines("demo", "--once", "--json", "--source", str(shared_data))
    return summary


@pytest.mark.timeout(1200)
def test_the_real_data_is_accounted_for(real: dict[str, Any]) -> None:
    """Composite patients and every sample file, good and bad, over the real protocols."""
    assert balanced(real), real
    assert {"hl7-file", "fhir-file", "dicom-file", "modality"} <= set(real["sent"])


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("real")
def test_real_films_are_judged_inside_triton(product: Product) -> None:
    """Of the generated hospital the image head refuses every film as no chest radiograph; real ones it looks at."""
    while product.waiting(PICTURES):
        time.sleep(1)
    said = [json.loads(value)["image"] for value in values(settings_of(product.data).kafka, FINDINGS)]
    judged = [image for image in said if "refused" not in image]

    assert judged
    assert {image["scorer"] for image in judged} == {"triton"}
    assert all(0 < finding["probability"] < 1 for image in judged for finding in image["findings"])


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("real")
def test_the_reasons_name_image_and_laboratory_apart(product: Product, browser: Browser) -> None:
    """Of one study: what the film shows, its patient's critical value and what moved the risk, each with its source."""
    while product.waiting():
        time.sleep(1)
    told = [study for study in product.studies() if {"image", "critical-lab"} <= pulling(study) and "image: pneumonia" in study["why"]]
    study = next(study for study in told if study["assessment"]["contributions"])
    labels = {reason["kind"]: reason["label"].partition(" at ")[0] for reason in study["reasons"]}

    page = browser.new_page()
    page.goto(f"{product.address}/study/{study['study_uid']}")
    rows = page.locator("section[aria-label='Why here'] table.reasons tbody tr")
    expect(rows.filter(has_text=labels["image"])).to_contain_text("image model")
    expect(rows.filter(has_text=labels["critical-lab"])).to_contain_text("lab")
    expect(page.locator("section[aria-label=Image]")).to_contain_text("chest_frontal 1 (Triton)")
    risk = page.locator("section[aria-label=Risk]")
    expect(risk).to_contain_text("(Triton)")
    expect(risk).to_contain_text(study["assessment"]["contributions"][0]["label"])
    page.close()


def pulling(study: dict[str, Any]) -> set[str]:
    """The kinds of reasons that bring its deadline forward."""
    return {reason["kind"] for reason in study["reasons"] if reason["minutes"] > 0}


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("real")
def test_what_looked_on_is_compared_and_what_was_asked_is_counted(product: Product) -> None:
    """`shadow`: the same weights under another version say the same; `drift`: each input of today's requests, beside the training data."""
    shipped = artefact.load_reference().version
    while not (found := compared(product)):
        time.sleep(1)
    assert found == {(shipped, "902"): pytest.approx(0, abs=1e-4)}
    (state,) = product.lines("shadow", "--stop", "--json", folder="--stack")
    assert state["shadow"] is None

    while not (rows := asked(product)):  # counted in memory, stored twice a minute
        time.sleep(1)
    assert {"risk", "heart_rate", "potassium"} <= rows.keys()


def asked(product: Product) -> dict[str, int]:
    """Input -> how many requests since yesterday."""
    (told,) = product.lines("drift", "--days", "2", "--json", folder="--stack")
    rows: Counter[str] = Counter()
    for day in told["days"].values():
        rows.update({one["input"]: one["rows"] for one in day if one["rows"]})
    return rows


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("folder", ["dicom-dev", "hl7v2-dev", "fhir-dev"])
def test_every_sample_file_ends_as_accepted_refused_or_ignored(product: Product, shared_data: Path, folder: str) -> None:
    """`send` says what became of each, the totals add up, no process of ours grows beyond 512 MB, and nothing has had to be restarted."""
    files = [path for path in (shared_data / folder).rglob("*") if path.is_file()]
    *lines, totals = product.lines("send", str(shared_data / folder), "--json")
    counted = Counter(line["outcome"] for line in lines)

    assert {line["path"] for line in lines} == {str(path) for path in files}
    assert all(line["reason"] for line in lines if line["outcome"] != "accepted")
    assert totals == {"total": len(lines), "unanswered": 0} | {name: counted[name] for name in ("accepted", "refused", "ignored")}
    assert counted["refused"] < len(lines)  # those that came before are ignored as duplicates
    assert {name: size for name, size in memory(product.data).items() if size > MEMORY_MAX} == {}
    assert restarted(product.data) == {}


@pytest.mark.usefixtures("fed")
def test_the_list_and_its_reasons_by_command(product: Product) -> None:
    """`worklist --json` is ordered by deadline; `explain` tells the minutes of each reason."""
    listed = product.lines("worklist", "--json", "--limit", "20")
    (told,) = product.lines("explain", listed[0]["study_uid"], "--json")

    assert len(listed) == 20
    assert [line["due_at"] for line in listed] == sorted(line["due_at"] for line in listed)
    assert told["due_at"] <= told["target_at"]
    assert [reason["binding"] for reason in told["reasons"] if "binding" in reason] == [True]
    assert all(reason["evidence"]["label"] and "minutes" in reason for reason in told["reasons"])
    assert told["history"]


@pytest.mark.usefixtures("fed")
def test_the_ledger_fills(product: Product) -> None:
    """The reported studies of the day, and nothing but JSON on standard output."""
    (told,) = product.lines("ledger", "--json")

    assert sum(day["read"] for day in told["days"]) > 0


def test_an_unknown_study_is_an_error_with_words(product: Product) -> None:
    """No traceback, exit code 1."""
    result = product.run("explain", "1.2.3")

    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "study" in result.stderr


def test_nothing_that_names_a_person_comes_out(product: Product, fed: dict[str, Any]) -> None:
    """Whatever the demo's messages said of who somebody is stays in the vault: no topic, log or metric of any role has any of it."""
    records = list(every_record(settings_of(product.data).kafka))
    run = next(match[1] for text in records if (match := re.search(r"RIS(\d{6})\|", text)))
    sent = Identifiers.of_the_demo(run)
    logs = {path.name: path.read_text(errors="replace") for path in (product.data / "log").iterdir()}

    assert len(records) > 2_000
    assert (sent.messages, len(sent.known) > 400) == (sum(fed["sent"].values()), True), "the list is that of what was sent"
    assert sent.within("\n".join(records)) == []
    assert {name: found for name, text in logs.items() if (found := sent.within(text))} == {}
    assert sent.within("\n".join(metrics(product.data))) == []


def test_status_and_doctor_are_content(product: Product) -> None:
    """A healthy stack exits with 0; so does `lag`, which speaks of every stage."""
    (seen,) = product.lines("lag", "--json")

    assert product.run("status", "--json").returncode == 0
    examined = product.run("doctor", "--json")
    assert examined.returncode == 0
    assert {row["check"]: row["verdict"] for row in json.loads(examined.stdout)}["model versions"] == "ok"
    assert [stage["name"] for stage in seen["stages"]] == [stage.name for stage in STAGES]
    assert seen["up"] == {"postgres": True, "kafka": True}


def test_there_are_no_dead_letters(product: Product) -> None:
    """What the gateways let through, the stages understand."""
    result = product.run("dlq", "list", "--json")

    assert (result.returncode, result.stdout.strip()) == (0, "")


async def _listed(data: Path) -> list[WorklistItem]:
    """The open list, as Postgres holds it."""
    items: list[WorklistItem] = []
    async with Database.from_settings(settings_of(data).postgres) as database:
        worklist, page = PostgresWorklist(database), Page([], "")
        while page.next is not None:
            page = await worklist.page(ListQuery(limit=500, after=page.next or None))
            items += [listed.item for listed in page.items]
        await worklist.close()
    return items


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("fed")
def test_a_recorded_log_replays_to_what_postgres_holds(product: Product, tmp_path: Path) -> None:
    """By the rules from the input topics alone, and with the recorded scores the whole list; the same digest each time."""
    log, recorded, items = recorded_and_listed(product, tmp_path)
    replayed = {scorer: [replay(log, scorer) for _ in range(2)] for scorer in ("rules", "recorded", "model")}

    assert recorded["records"] > 3_000 and recorded["bytes"] <= 0.25 * recorded["json_bytes"]
    assert [one["open"] for runs in replayed.values() for one in runs] == [len(items)] * 6
    assert all(first["digest"] == second["digest"] for first, second in replayed.values())
    assert {runs[0]["rules_digest"] for runs in replayed.values()} == {state_digest(items, risk=False)}
    assert replayed["recorded"][0]["state_digest"] == state_digest(items)


def recorded_and_listed(product: Product, folder: Path) -> tuple[Path, dict[str, Any], list[WorklistItem]]:
    """A log, what `record` said of it, and the list that its last record led to: quiet time makes records long after the last message."""
    log, after = folder / "0.rfl", folder / "1.rfl"
    while True:
        (recorded,) = product.lines("record", "--out", str(log), "--json")
        while product.waiting():
            time.sleep(0.5)
        with ThreadPoolExecutor(1) as beside:  # the browser's own loop runs in this thread
            items = beside.submit(asyncio.run, _listed(product.data)).result()
        (again,) = product.lines("record", "--out", str(after), "--json")
        if again["records"] == recorded["records"]:
            return log, recorded, items
        log.unlink()
        after.unlink()


def replay(log: Path, scorer: str) -> dict[str, Any]:
    """`readfirst replay --json`, its last line."""
    command = [sys.executable, "-m", "pipeline.cli", "replay", str(log), "--scorer", scorer, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.timeout(1200)
def test_a_sites_own_version_is_asked_live_with_all_that_it_reads(
    product: Product, shared_data: Path, browser: Browser, tmp_path: Path
) -> None:
    """Film, words and further values, beside another version that looks on; after the way back the shipped one. No part restarts for it."""
    patient, shipped = ChestPatient(shared_data, "CHEST-1"), artefact.load_reference().version
    own, other = (str(small_version.write(tmp_path, version)) for version in ("903", "904"))
    nothing = ["--data", str(tmp_path / "nowhere")]
    refused = product.run("promote", own, *nothing, folder="--stack")
    assert (refused.returncode, "nothing to compare it on" in refused.stderr) == (1, True)
    (state,) = product.lines("promote", own, *nothing, "--force", "--reason", "our patients", "--json", folder="--stack")
    assert (state["served"], state["history"][-1]["reason"]) == ("903", "our patients")
    product.lines("shadow", other, "--json", folder="--stack")

    product.accepts(tmp_path, patient.order(), patient.film(), patient.results(potassium=7.2, crp=180.0))
    risk = scored(product, patient.study, "903", {"image", "words", "crp"})
    assert (risk["scorer"], risk.get("unseen")) == ("triton", None)
    page = browser.new_page()
    page.goto(f"{product.address}/study/{patient.study}")
    for part in ("clinical_risk 903 (Triton)", "chest film", "sepsis suspected", "CRP 180 mg/L", "K 7.2 mmol/L"):
        expect(page.locator("section[aria-label=Risk]")).to_contain_text(part)
    page.close()
    told = product.readings(patient.study)
    assert (told["why_not"], told["film"], told["probability"]) == (None, True, pytest.approx(risk["probability"], abs=1e-4))
    changes = {(one["code"], one["value"]): one["change"] for one in told["readings"]}
    assert min(changes["potassium", 7.2], changes["crp", 180.0]) > 0.1
    while ("903", "904") not in (found := compared(product)):
        time.sleep(1)
    assert found["903", "904"] == pytest.approx(0, abs=1e-4)

    product.lines("shadow", "--stop", "--json", folder="--stack")
    (back,) = product.lines("promote", "--rollback", "--reason", "a trial", "--json", folder="--stack")
    assert back["served"] == "shipped"
    product.accepts(tmp_path, patient.results(potassium=6.9))
    scored(product, patient.study, shipped, set())
    assert restarted(product.data) == {}


def scored(product: Product, study: str, version: str, inputs: set[str]) -> dict[str, Any]:
    """Its risk, once that version has said it and has read just these inputs beside the features."""
    while True:
        risk: dict[str, Any] = product.study(study)["assessment"] or {}
        if (risk.get("model_version"), set(risk.get("inputs", ()))) == (version, inputs):
            return risk
        time.sleep(0.5)


def compared(product: Product) -> dict[tuple[str, str], float]:
    """Versions that were served and looked on, newest first, and how far apart they were."""
    told = json.loads(product.run("shadow", "--json", folder="--stack").stdout)
    return {(one["served_version"], one["shadow_version"]): one["mean_absolute_difference"] for one in told}


def test_a_model_is_promoted_and_goes_back(product: Product, tmp_path: Path) -> None:
    """Triton of the running stack answers with the new version, then with the old one; `doctor` says where it answers with another."""
    triton, shipped = settings_of(product.data).triton, artefact.load_reference().version
    assert triton.url is not None
    forced = ["--force", "--reason", "a trial", "--data", str(tmp_path / "nowhere")]

    (promoted,) = product.lines("promote", str(candidate(tmp_path, "901")), *forced, "--json", folder="--stack")
    assert (promoted["served"], control.version(triton.url, triton.model)) == ("901", "901")
    state = product.data / "models" / triton.model / STATE_FILE
    state.rename(tmp_path / STATE_FILE)  # as if the promotion had been killed before it was noted
    examined = {row["check"]: row for row in json.loads(product.run("doctor", "--json").stdout)}
    assert "version 901" in examined["model versions"]["found"]
    (tmp_path / STATE_FILE).rename(state)

    (back,) = product.lines("promote", "--rollback", "--json", folder="--stack")
    assert (back["served"], control.version(triton.url, triton.model)) == ("shipped", shipped)
