"""A version of the site that cannot be used: the shipped one stands in for it, says so, and goes when it is mended."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.memory.degraded_scores import MemoryDegradedScores
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.adapters.onnx import artefact, heads, versions, weights
from pipeline.adapters.onnx.registry import HeadRegistry
from pipeline.adapters.onnx.versions import STATE_FILE, ModelVersions
from pipeline.bootstrap import Resources
from pipeline.cli import build, doctor
from pipeline.errors import Conflict
from pipeline.models.serving import build_repository
from pipeline.services.scoring import ScoringStage
from pipeline.settings import Settings, Triton
from schemas.topics import ASSESSMENTS
from tests import small_version
from tests.store_fixtures import batch
from tests.unit.models.test_heads import promoted
from tests.unit.services.test_scoring import received, request

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
SHIPPED = artefact.load_reference()
DAMAGES = {
    "gone": "901",
    "cut short": f"901/{weights.MODEL_FILE}",
    "described as nothing": f"901/{artefact.REFERENCE_FILE}",
    "nobody knows which": STATE_FILE,
}


class Site:
    """A data folder whose clinical version 901 was promoted."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.models = data / "models"
        self.versions = ModelVersions(self.models, SHIPPED.model)
        self.versions.promote(self.versions.install(small_version.write(data, "901")), NOW, "kim", None, [])
        self.folder = self.models / SHIPPED.model
        self._whole: list[Path] = []

    def damage(self, how: str = "cut short") -> None:
        place, whole = self.folder / DAMAGES[how], self.data / "whole"
        place.rename(whole)
        if whole.is_file():
            place.write_bytes(whole.read_bytes()[:-1])
        self._whole = [whole, place]

    def mend(self) -> None:
        whole, place = self._whole
        whole.rename(place)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


class Scoring:
    """The stage as a worker of the site has it, with stores in memory."""

    def __init__(self, stage: ScoringStage) -> None:
        self.log, self.stage, self._asked = MemoryEventLog(), stage, 0
        stage._offsets, stage._store, stage._log = MemoryOffsets(), MemoryDegradedScores(), self.log

    async def score(self) -> tuple[str | None, str | None, str | None, bool]:
        """Model, version and outcome of a new request's score, and whether it is marked as degraded."""
        self._asked += 1
        await self.stage.handle([batch([received(self._asked - 1, request(version=self._asked))])])
        answer = self.log.documents(ASSESSMENTS)[-1]
        return answer.risk.model, answer.risk.model_version, answer.risk.outcome, answer.degraded


@pytest.mark.parametrize("how", DAMAGES)
async def test_the_shipped_model_stands_in(site: Site, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scores carry its own name, are not marked as degraded, and end when the version is mended; told once, not with every score."""
    told: list[dict[str, str]] = []
    monkeypatch.setattr(versions, "log", SimpleNamespace(warning=lambda event, **more: told.append({"event": event, **more})))
    settings = Settings(data=site.data, triton=Triton(url=None))
    resources = Resources(settings, SystemClock(), *(cast(Any, None),) * 3)
    async with resources.scoring_stage("scoring") as stage:
        scoring = Scoring(stage)
        before = await scoring.score()
        site.damage(how)
        meanwhile = [await scoring.score() for _ in range(2)]
        site.mend()
        after = await scoring.score()

    own = (SHIPPED.model, "901", "an invented outcome", False)
    assert (before, after) == (own, own)
    assert meanwhile == [(SHIPPED.model, SHIPPED.version, SHIPPED.outcome, False)] * 2
    assert [(one["event"], one["model"], one["instead"]) for one in told] == [("version_unusable", SHIPPED.model, "the one that ships")]


def test_triton_serves_the_shipped_one_meanwhile(site: Site) -> None:
    """From its next start; the image heads beside it are the same."""
    served = [path.name for path in (build_it(site) / SHIPPED.model).iterdir() if path.is_dir()]
    site.damage()
    meanwhile = [path.name for path in (build_it(site) / SHIPPED.model).iterdir() if path.is_dir()]
    assert (served, meanwhile) == (["901"], [SHIPPED.version])


def build_it(site: Site) -> Path:
    build_repository(site.data / "triton", "cpu", site.models)
    return site.data / "triton"


def test_it_is_said_which_version_is_refused_and_why(site: Site) -> None:
    """By doctor and by promote, with the checksum that the file has and the one that it should have."""
    site.damage()
    file = site.folder / "901" / weights.MODEL_FILE
    found, wanted = (hashlib.sha256(one.read_bytes()).hexdigest() for one in (file, small_version.FILE))
    words = f"version 901 cannot be used: {file} is not the file that its reference.json describes: SHA-256 {found}, not {wanted}"
    settings = Settings(data=site.data)

    finding = doctor.examine("models", lambda: doctor._models(settings), failed=doctor.Verdict.WARNING)
    assert (finding.verdict, finding.found) == (doctor.Verdict.WARNING, f"{SHIPPED.model}: {words}")
    assert "promote --rollback" in finding.remedy
    state = json.loads(CliRunner().invoke(build(), ["promote", "--stack", str(site.data), "--json"]).stdout)
    assert (state["served"], state["refused"]) == ("901", words)
    site.mend()
    assert doctor._models(settings).startswith(f"{SHIPPED.model} 901, ")


async def test_the_page_for_operations_is_told(site: Site) -> None:
    """While it lasts, whichever process found it."""
    resources = Resources(Settings(data=site.data), SystemClock(), *(cast(Any, None),) * 3)
    async with resources.monitor() as monitor:
        before = monitor._refused()
        site.damage()
        assert (before, monitor._refused()) == ([], [SHIPPED.model])
        site.mend()
        assert monitor._refused() == []


def test_a_folder_that_may_not_be_entered_is_a_fault_like_another(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a promotion by another user."""

    def closed(_: ModelVersions, version: str) -> Path:
        raise PermissionError(version)

    monkeypatch.setattr(ModelVersions, "folder_of", closed)
    assert site.versions.examined() == (artefact.SHIPPED, "901")


@pytest.mark.parametrize("how", ["gone", "cut short", "described as nothing"])
def test_there_is_a_way_back_from_it(site: Site, how: str) -> None:
    """And a way forward: a candidate is compared with the one that stands in."""
    site.damage(how)
    command = ["promote", "--stack", str(site.data)]
    refused = CliRunner().invoke(build(), [*command, str(artefact.SHIPPED), "--data", str(site.data / "nowhere")])
    assert ("nothing to compare it on" in refused.stderr, "another question" in refused.stderr) == (True, False)
    assert CliRunner().invoke(build(), [*command, "--rollback"]).exit_code == 0
    assert (site.versions.state().served, site.versions.examined().refusal) == (None, None)


@pytest.mark.parametrize("how", ["gone", "cut short", "described as nothing", "described by nothing"])
def test_the_same_candidate_again_mends_it(site: Site, how: str) -> None:
    """But for what is whole, which is left as it is."""
    if how == "described by nothing":
        (site.folder / "901" / artefact.REFERENCE_FILE).unlink()
    else:
        site.damage(how)
    assert site.versions.examined().refusal is not None
    assert site.versions.install(site.data / "small-901") == "901"
    assert site.versions.examined() == (site.folder / "901", None)


def test_another_model_does_not_mend_it(site: Site) -> None:
    """Under its number: which of the two gave the scores so far would be told no more."""
    whole = site.versions.install(small_version.write(site.data, "902"))
    site.damage("cut short")
    place = site.folder / whole / artefact.REFERENCE_FILE
    other = json.loads(place.read_text())
    (site.folder / "901" / artefact.REFERENCE_FILE).write_text(json.dumps({**other, "version": "901", "sha256": "0" * 64}))
    with pytest.raises(Conflict, match="another model already"):
        site.versions.install(site.data / "small-901")


def test_a_copy_of_the_same_age_and_size_is_seen(site: Site) -> None:
    """As a backup puts it back."""
    file = site.folder / "901" / weights.MODEL_FILE
    whole, age = file.read_bytes(), file.stat().st_mtime_ns

    def write(body: bytes) -> None:
        changed = file.stat().st_ctime_ns
        file.write_bytes(body)
        while file.stat().st_ctime_ns == changed or file.stat().st_mtime_ns != age:  # the file system's clock ticks in milliseconds
            os.utime(file, ns=(age, age))

    assert site.versions.examined().refusal is None
    write(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "SHA-256" in (site.versions.examined().refusal or "")
    write(whole)
    assert site.versions.examined().refusal is None


def test_what_could_not_be_read_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files do not change when a share answers again, or a process may open files again."""
    read = Path.read_bytes

    def away(file: Path) -> bytes:
        if file.name == weights.MODEL_FILE:
            raise OSError("too many open files")
        return read(file)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Path, "read_bytes", away)
        assert "cannot be read" in (site.versions.examined().refusal or "")
    assert site.versions.examined().refusal is None


@pytest.mark.parametrize("damaged", [True, False])
def test_a_version_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool) -> None:
    """Whole or damaged, until its files change: ranking asks with every batch which films a head looks at."""
    [name, *_], reads, read = heads.names(), [], weights.read
    registry = HeadRegistry(tmp_path / "models")
    file = promoted(registry.versions[name], tmp_path, "903") / weights.MODEL_FILE
    if damaged:
        file.write_bytes(b"damaged")
    monkeypatch.setattr(weights, "read", lambda folder, *more: reads.append(folder) or read(folder, *more))  # type: ignore[func-returns-value]
    for _ in range(3):
        registry.scopes()
    assert (reads, registry.served(name).name) == ([file.parent], name if damaged else "903")

    if damaged:
        shutil.copyfile(heads.HEADS / name / weights.MODEL_FILE, file)
    else:
        file.write_bytes(b"damaged")
    assert (registry.served(name).name, len(reads)) == ("903" if damaged else name, 2)
