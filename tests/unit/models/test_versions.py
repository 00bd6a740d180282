"""Versions of a model on a site: promoted, rolled back, looking on; interrupted at any point, the old one serves."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from pipeline.adapters.local import stack
from pipeline.adapters.onnx import artefact, weights
from pipeline.adapters.onnx.versions import STATE_FILE, ModelVersions
from pipeline.cli import build, running
from pipeline.errors import Conflict, NotFound, StackError
from tests import small_version

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.fixture
def versions(tmp_path: Path) -> ModelVersions:
    """A site that serves what comes with Readfirst."""
    return ModelVersions(tmp_path / "models", "clinical_risk")


def candidate(folder: Path, version: str) -> Path:
    """The shipped model under another version."""
    target = folder / f"candidate-{version}"
    shutil.copytree(artefact.SHIPPED, target)
    reference = json.loads((target / artefact.REFERENCE_FILE).read_text())
    (target / artefact.REFERENCE_FILE).write_text(json.dumps({**reference, "version": version}))
    return target


def shipped() -> str:
    return artefact.load_reference().version


def test_the_shipped_model_serves_until_another_is_promoted(versions: ModelVersions, tmp_path: Path) -> None:
    """Promotion and the way back, each kept with who and why."""
    assert versions.served() == artefact.SHIPPED
    version = versions.install(candidate(tmp_path, "901"))
    assert versions.served() == artefact.SHIPPED

    versions.promote(version, NOW, "kim", "better for us", ["all: AUC 0.8"])
    assert artefact.load_reference(versions.served()).version == "901"
    versions.roll_back(NOW, "kim", "alarms at night")
    assert versions.served() == artefact.SHIPPED
    history = versions.state().history
    assert [(entry.act, entry.version, entry.by, entry.reason) for entry in history] == [
        ("promoted", "901", "kim", "better for us"),
        ("rolled back", shipped(), "kim", "alarms at night"),
    ]
    assert history[0].objections == ["all: AUC 0.8"]


def test_back_goes_one_step(versions: ModelVersions, tmp_path: Path) -> None:
    """To what was served before, not to the beginning; and not twice. What is promoted again was not served before itself."""
    for version in ("901", "902"):
        versions.promote(versions.install(candidate(tmp_path, version)), NOW, "kim", None, [])
    versions.promote("902", NOW, "kim", "mended", [])
    assert versions.roll_back(NOW, "kim", None).served == "901"
    with pytest.raises(NotFound, match="no promotion"):
        versions.roll_back(NOW, "kim", None)


def test_one_looks_on(versions: ModelVersions, tmp_path: Path) -> None:
    """A candidate beside the served one, until it is sent away or promoted."""
    version = versions.install(candidate(tmp_path, "901"))
    versions.look_on(version, NOW, "kim")
    assert (versions.shadow() or Path()).name == "901"
    assert versions.served() == artefact.SHIPPED
    versions.promote(version, NOW, "kim", None, [])
    assert versions.shadow() is None
    with pytest.raises(NotFound):
        versions.look_on(None, NOW, "kim")


def test_a_version_is_one_model(versions: ModelVersions, tmp_path: Path) -> None:
    """The same file again is no change; another file under a known version is refused, a damaged one too."""
    folder = candidate(tmp_path, "901")
    assert versions.install(folder) == versions.install(folder) == "901"
    with pytest.raises(NotFound, match="903"):
        versions.promote("903", NOW, "kim", None, [])
    (folder / weights.MODEL_FILE).write_bytes(b"something else")
    with pytest.raises(StackError, match="SHA-256"):
        versions.install(folder)
    taken = candidate(tmp_path / "other", shipped())
    reference = json.loads((taken / artefact.REFERENCE_FILE).read_text())
    (taken / weights.MODEL_FILE).write_bytes(b"x")
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    (taken / artefact.REFERENCE_FILE).write_text(json.dumps({**reference, "sha256": digest}))
    with pytest.raises(Conflict, match="another model already"):
        versions.install(taken)


def test_a_graph_that_cannot_be_opened_is_refused(versions: ModelVersions, tmp_path: Path) -> None:
    """Though its checksum is the one that its description has."""
    folder = candidate(tmp_path, "901")
    reference, body = json.loads((folder / artefact.REFERENCE_FILE).read_text()), b"no graph"
    (folder / weights.MODEL_FILE).write_bytes(body)
    (folder / artefact.REFERENCE_FILE).write_text(json.dumps({**reference, "sha256": hashlib.sha256(body).hexdigest()}))
    with pytest.raises(StackError, match="onnxruntime cannot open"):
        versions.install(folder)
    assert "901" not in versions.versions()


def test_interrupted_the_old_one_serves(versions: ModelVersions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the copy and the new state, and in the middle of writing it."""
    version = versions.install(candidate(tmp_path, "901"))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        versions.promote(version, NOW, "kim", None, [])
    monkeypatch.undo()
    assert versions.served() == artefact.SHIPPED

    monkeypatch.setattr(Path, "rename", die)
    with pytest.raises(KeyboardInterrupt):
        versions.install(candidate(tmp_path, "902"))
    monkeypatch.undo()
    assert "902" not in versions.versions()
    assert versions.install(tmp_path / "candidate-902") == "902"


def test_a_damaged_state_is_told(versions: ModelVersions, tmp_path: Path) -> None:
    """Not taken for the shipped model: nobody knows what should be served."""
    (tmp_path / "models" / "clinical_risk").mkdir(parents=True)
    (tmp_path / "models" / "clinical_risk" / STATE_FILE).write_text("{")
    with pytest.raises(StackError, match=r"state\.json"):
        versions.served()


def test_there_is_a_way_back_from_a_version_that_is_gone(versions: ModelVersions, tmp_path: Path) -> None:
    """Whoever asks what is served or looks on is told what to do; the command goes back all the same."""
    version = versions.install(candidate(tmp_path, "901"))
    versions.promote(version, NOW, "kim", None, [])
    versions.look_on(version, NOW, "kim")
    shutil.rmtree(versions.folder_of(version))
    for asked in (versions.served, versions.shadow):
        with pytest.raises(StackError, match="no version '901'"):
            asked()

    back = CliRunner().invoke(build(), ["promote", "--rollback", "--reason", "lost", "--stack", str(tmp_path)])
    assert (back.exit_code, versions.served()) == (0, artefact.SHIPPED), back.output


def test_what_is_gone_is_not_gone_back_to(versions: ModelVersions, tmp_path: Path) -> None:
    """The command says which version, and what is served stays."""
    for version in ("901", "902"):
        versions.promote(versions.install(candidate(tmp_path, version)), NOW, "kim", None, [])
    shutil.rmtree(versions.folder_of("901"))

    back = CliRunner().invoke(build(), ["promote", "--rollback", "--stack", str(tmp_path)])
    assert isinstance(back.exception, NotFound), back.output
    assert ("no version '901'" in str(back.exception), versions.served().name) == (True, "902")


def test_a_model_of_another_outcome_needs_a_reason(versions: ModelVersions, tmp_path: Path) -> None:
    """A site's limits on the risk were set for what the number meant until now; of two that mean the same nothing is said."""
    command = ["promote", "--stack", str(tmp_path), "--data", str(tmp_path / "nowhere")]
    refused = CliRunner().invoke(build(), [*command, str(small_version.write(tmp_path, "903"))])
    assert refused.exit_code == 1
    assert "another question (an invented outcome, not in-hospital death" in " ".join(refused.stderr.split())
    assert "another question" not in CliRunner().invoke(build(), [*command, str(candidate(tmp_path, "901"))]).stderr
    assert versions.state().history == []


@pytest.mark.parametrize("noted", [False, True])
@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_triton_goes_back_where_a_promotion_is_not_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, noted: bool
) -> None:
    """No room, or Ctrl-C, once Triton has changed: it serves in the end what the state says, the new one where that was noted just then."""
    data, serves = tmp_path / "data", [artefact.SHIPPED]
    versions, write = ModelVersions(data / "models", "clinical_risk"), ModelVersions._write

    def fail(*told: object) -> None:
        assert serves[-1] == versions.folder_of("901"), "Triton first"
        with (data / "triton" / ".lock").open() as file, pytest.raises(BlockingIOError):  # a Triton that starts now waits
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if noted:
            write(*told)  # type: ignore[arg-type]
        raise error

    settings = SimpleNamespace(triton=SimpleNamespace(url="a:1"), models_dir=data / "models")
    for module in (stack, running):
        monkeypatch.setattr(module, "status", lambda _: SimpleNamespace(running=True, external=False))
        monkeypatch.setattr(module, "settings_of", lambda _: settings)
    monkeypatch.setattr("pipeline.models.serving.serve", lambda folder, *_: serves.append(folder))
    monkeypatch.setattr(ModelVersions, "_write", fail)
    forced = ["--force", "--reason", "a trial", "--data", str(tmp_path / "nowhere"), "--stack", str(data)]
    result = CliRunner().invoke(build(), ["promote", str(candidate(tmp_path, "901")), *forced])

    assert result.exit_code != 0
    assert len(serves) == (2 if noted else 3)
    assert serves[-1] == versions.served() == (versions.folder_of("901") if noted else artefact.SHIPPED)


def test_tritons_that_start_together_build_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several have one volume: two at work on the same files would leave neither's."""
    monkeypatch.setenv("READFIRST_TRITON__REPOSITORY", str(tmp_path / "triton"))
    built = []

    def build_it(repository: Path, *_: object) -> None:
        with (repository / ".lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        built.append(repository)

    monkeypatch.setattr("pipeline.models.serving.build_repository", build_it)
    done = [CliRunner().invoke(build(), ["run", "models"]).exit_code for _ in range(2)]

    assert done == [0, 0]
    assert built == [tmp_path / "triton"] * 2
