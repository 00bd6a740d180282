"""The image heads that ship, and one that is added by writing its folder: each as the folder describes it, passing its own acceptance
test, known to ranking, asked for its pictures, and understood by Triton."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.memory.transactions import MemoryOffsets
from pipeline.adapters.onnx import heads
from pipeline.adapters.onnx.artefact import SHIPPED
from pipeline.adapters.onnx.pictures import ASKED, OnnxHead, OnnxImageModel
from pipeline.adapters.onnx.registry import HeadRegistry
from pipeline.adapters.onnx.versions import STATE_FILE, ModelVersions
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.domain import image_heads
from pipeline.errors import StackError
from pipeline.models import triton_heads
from pipeline.models.imaging import acceptance, card, promotion, recipe
from pipeline.models.serving import build_repository
from pipeline.models.triton_repository import Flavour
from pipeline.ports import Picture
from pipeline.services.pictures import InstalledHead, PictureStage
from schemas.assessments import StudyState
from schemas.topics import FINDINGS
from tests import hand_head
from tests.store_fixtures import batch
from tests.unit.services.test_pictures import told

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
WEIGHTS_MAX = 18_000_000
METRICS = json.loads((heads.HEADS / recipe.HEAD / "metrics.json").read_bytes())


@pytest.fixture(scope="module")
def with_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The heads that ship and one more, added as the README says: by its folder."""
    folder = tmp_path_factory.mktemp("heads")
    for name in heads.names():
        (folder / name).symlink_to(heads.HEADS / name)
    hand_head.write(folder)
    return folder


@pytest.fixture(params=[*heads.names(), hand_head.NAME])
def folder(request: pytest.FixtureRequest) -> Path:
    """Of one head."""
    root: Path = request.getfixturevalue("with_hand") if request.param == hand_head.NAME else heads.HEADS
    return root / request.param


@pytest.fixture
def head(folder: Path) -> OnnxHead:
    return OnnxHead(heads.load(folder.name, folder.parent))


def test_every_head_says_what_it_is_for_and_its_card_lies_beside_it(folder: Path) -> None:
    """A head without a scope is never asked."""
    assert heads.scopes(folder.parent)[folder.name].modalities
    assert folder.name in (folder / "CARD.md").read_text().splitlines()[0]


def test_the_acceptance_test(folder: Path, head: OnnxHead) -> None:
    """The file says of known pictures what it said when it was made."""
    stored = json.loads((folder / acceptance.ACCEPTANCE_FILE).read_bytes())
    assert acceptance.differs(head, stored) < acceptance.TOLERANCE
    assert len(heads.load_from(folder).onnx) < WEIGHTS_MAX


def test_what_is_shipped_is_what_training_writes_of_it() -> None:
    """Scope and tasks have one home in the code that trains the head, and one beside its weights."""
    shipped = heads.load_reference(recipe.HEAD)
    assert (shipped.scope, shipped.tasks, shipped.compared) == (recipe.SCOPE, recipe.TASKS, recipe.COMPARED)
    assert [(one.code, one.label, one.ranks) for one in shipped.findings] == list(recipe.FINDINGS)


async def test_a_folder_is_all_that_adds_a_head(tmp_path: Path, with_hand: Path) -> None:
    """Ranking waits for its word, its films are read at its size and answered by its weights, and no others are."""
    registry, log = HeadRegistry(tmp_path, with_hand), MemoryEventLog()
    hand = StudyState(study_uid="1.2", ready_at=NOW, modality="CR", body_part="HAND")
    without, within = image_heads.missing(hand, HeadRegistry(tmp_path).scopes()), image_heads.missing(hand, registry.scopes())
    installed = {
        name: InstalledHead(partial(registry.reference, name), [("onnxruntime", OnnxImageModel(partial(registry.served, name)))])
        for name in registry.versions
    }
    stage = PictureStage(MemoryOffsets(), log, Hands(), installed, ManualClock(NOW), "pictures")
    await stage.handle([batch([told(0, modality="CR", body_part="HAND", view="PA"), told(1, modality="CR", body_part="FOOT")])])

    assert (without, within) == ("image assessment: no image model for CR HAND", "image assessment")
    [found] = [one.image for one in log.documents(FINDINGS)]
    assert (found.head, found.version, [one.code for one in found.findings]) == ("hand", "7", ["fracture"])
    assert found.findings[0].activation is not None and found.findings[0].activation.side == 2
    assert stage.ignored == {"no-head": 1}


def test_what_cannot_be_tested_here_is_not_compared(tmp_path: Path, with_hand: Path) -> None:
    """Its description names no task: said as an objection, which a promotion needs a reason against."""
    hand = with_hand / hand_head.NAME
    compared, objections = promotion.compare_on(tmp_path, hand, hand, hand)
    assert compared == [] and objections == ["hand names no task that tells here how good it is: the two cannot be compared"]


def test_a_version_of_the_site_may_look_at_other_pictures(tmp_path: Path) -> None:
    """Its own scope counts once it is served; one that says none keeps the shipped one; one that is gone counts as none."""
    name, registry = recipe.HEAD, HeadRegistry(tmp_path / "models")
    shipped = registry.scopes()
    for version, scope in (("903", None), ("904", {"modalities": ["DX"], "body_parts": ["CHEST"], "views": ["AP"]})):
        promoted(registry.versions[name], tmp_path, version, scope=scope)
        found = registry.scopes()
        assert (found == shipped) == (scope is None)
    assert found[name].views == ("AP",)
    shutil.rmtree(tmp_path / "models" / name / "904")
    assert registry.scopes() == shipped


@pytest.mark.parametrize("damage", ["gone", "described as nothing", "other weights", "nobody knows which"])
async def test_a_damaged_version_of_one_head_holds_up_no_picture(tmp_path: Path, with_hand: Path, damage: str) -> None:
    """The other head goes on, and of this one the version that ships stands in; mended, the site's own looks again."""
    name, registry, log = recipe.HEAD, HeadRegistry(tmp_path / "models", with_hand), MemoryEventLog()
    promoted(registry.versions[name], tmp_path, "903")
    folder = tmp_path / "models" / name
    broken = {"described as nothing": f"903/{heads.REFERENCE_FILE}", "other weights": f"903/{MODEL_FILE}", "nobody knows which": STATE_FILE}
    place = folder / broken.get(damage, "903")
    place.rename(tmp_path / "whole")
    if damage != "gone":
        place.write_bytes(b"{")
    installed = {
        head: InstalledHead(partial(registry.reference, head), [("onnxruntime", OnnxImageModel(partial(registry.served, head)))])
        for head in registry.versions
    }
    stage = PictureStage(MemoryOffsets(), log, Hands(), installed, ManualClock(NOW), "pictures")
    both = [told(0, modality="CR", body_part="HAND", view="PA"), told(1, uri="object:1/2/4")]
    await stage.handle([batch(both)])
    (tmp_path / "whole").rename(place)
    await stage.handle([batch([told(2, uri="object:1/2/5")])])

    said = [(one.image.head, one.image.version) for one in log.documents(FINDINGS)]
    assert said == [("hand", "7"), (name, heads.load_reference(name).version), (name, "903")]


def promoted(versions: ModelVersions, folder: Path, version: str, **described: object) -> Path:
    """The shipped head as a site's own version, from now on served; where it lies."""
    own = folder / version
    shutil.copytree(versions.shipped, own)
    told = json.loads((own / heads.REFERENCE_FILE).read_text())
    (own / heads.REFERENCE_FILE).write_text(json.dumps({**told, "version": version, **described}))
    versions.promote(versions.install(own), NOW, "kim", None, [])
    return versions.served()


class Hands:
    """Whatever is asked for, something that is not even."""

    async def read(self, uri: str, side: int) -> Picture:
        return acceptance.pictures(side)[0]


def test_the_card_is_written_from_the_metrics() -> None:
    """A figure changed by hand, in either, fails."""
    assert (heads.HEADS / recipe.HEAD / "CARD.md").read_text() == card.render(METRICS, heads.load_reference(recipe.HEAD))


def test_the_figures_reach_the_target() -> None:
    """NIH's patients held out, Hannover's crossed over; films are rarely refused, everything else is."""
    refused = METRICS["ood"]

    assert METRICS["nih"]["auc"] >= 0.92
    assert METRICS["hannover"]["auc"]["late_fusion"] >= 0.87
    assert refused["films_refused"] <= 0.05
    assert min(*refused["spoiled_refused"].values(), refused["dicom_others_refused"], refused["dicom_others_with_pixels_refused"]) >= 0.95
    assert METRICS["onnx_max_difference"] < 1e-4
    assert METRICS["bytes"] == (heads.HEADS / recipe.HEAD / MODEL_FILE).stat().st_size


def test_all_models_together_are_small() -> None:
    """What is shipped stays under 30 MB, so that it travels with the package."""
    folders = (SHIPPED, heads.HEADS)
    assert sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file()) < 30_000_000


def test_a_shipped_graph_says_nothing_of_the_machine_that_made_it() -> None:
    """Torch's exporter notes the path of each line of code it came through."""
    for file in (SHIPPED / MODEL_FILE, *heads.HEADS.rglob(MODEL_FILE)):
        assert b"pipeline/models" not in file.read_bytes(), file


def test_a_picture_alone_and_among_others_gets_the_same_answer(head: OnnxHead) -> None:
    """And the mean of an activation map differs between findings and pictures as their logits do."""
    pictures = acceptance.pictures(head.reference.side)
    together = head.run(pictures, ASKED)
    alone = [np.concatenate(parts) for parts in zip(*(head.run(one[None], ASKED) for one in pictures), strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one - other).max() < 1e-3
    assert together[2].shape[:2] == together[0].shape


@pytest.mark.parametrize("shade", [0, 128, 255])
async def test_an_even_area_is_refused(folder: Path, head: OnnxHead, shade: int) -> None:
    """What slips through preparation is still no film."""
    picture = np.full((head.reference.side, head.reference.side), shade, np.uint8)
    [looked] = await OnnxImageModel(lambda: folder).look([picture])
    assert looked.unlikeness > 1


def test_triton_starts_with_the_versions_of_the_site(tmp_path: Path) -> None:
    """A head that was promoted while nothing ran is what the next start serves; without a site, what is shipped."""
    name = heads.names()[0]
    own, shipped = promoted(ModelVersions.of_head(tmp_path / "models", name), tmp_path, "903"), heads.load_reference(name).version
    build_repository(tmp_path / "site", "cpu", tmp_path / "models")
    build_repository(tmp_path / "bare", "cpu")

    assert [path.name for path in (tmp_path / "site" / name).iterdir() if path.is_dir()] == ["903"]
    assert [path.name for path in (tmp_path / "bare" / name).iterdir() if path.is_dir()] == [shipped]
    assert {path.name for path in (tmp_path / "site").iterdir()} == {path.name for path in (tmp_path / "bare").iterdir()}

    (own / MODEL_FILE).write_bytes(b"damaged")
    build_repository(tmp_path / "site", "cpu", tmp_path / "models")
    assert [path.name for path in (tmp_path / "site" / name).iterdir() if path.is_dir()] == [shipped], "and all others are there"


@pytest.mark.parametrize("models", [None, "models"])
def test_triton_serves_no_head_that_is_no_longer_there(tmp_path: Path, with_hand: Path, models: str | None) -> None:
    """The repository loses it with its folder; a model that somebody else put there stays."""
    triton_heads.build(tmp_path, "cpu", with_hand)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "config.pbtxt").write_text('name: "theirs"')
    build_repository(tmp_path, "cpu", None if models is None else tmp_path / models)

    assert {path.parent.name for path in tmp_path.glob("*/config.pbtxt")} == {"clinical_risk", *heads.names(), "theirs"}


def test_a_damaged_or_foreign_head_is_refused_at_load(tmp_path: Path) -> None:
    """By checksum, by name, and where the file is missing."""
    name = heads.names()[0]
    shutil.copytree(heads.HEADS / name, tmp_path / name)
    shutil.copytree(heads.HEADS / name, tmp_path / "other")
    with (tmp_path / name / MODEL_FILE).open("ab") as file:
        file.write(b"x")
    with pytest.raises(StackError, match="SHA-256"):
        heads.load(name, tmp_path)
    with pytest.raises(StackError, match="describes the head"):
        heads.load("other", tmp_path)
    (tmp_path / name / MODEL_FILE).unlink()
    with pytest.raises(StackError, match="cannot be read"):
        heads.load(name, tmp_path)


@pytest.mark.parametrize(("flavour", "backend"), [("cpu", "python"), ("gpu", "onnxruntime")])
def test_triton_understands_both_flavours(tmp_path: Path, with_hand: Path, flavour: Flavour, backend: str) -> None:
    """By Triton's own protobuf: shapes are the reference's, three priorities, batches, warmed up.

    The onnxruntime backend loads a model only where outputs are declared exactly as the graph has them.
    """
    triton_heads.build(tmp_path, flavour, with_hand)
    for name in heads.names(with_hand):
        reference = heads.load_reference(name, with_hand)
        config: Any = text_format.Parse((tmp_path / name / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
        assert (config.name, config.backend, config.max_batch_size > 1) == (name, backend, True)
        assert list(config.input[0].dims) == [reference.side, reference.side]
        assert list(config.output[0].dims) == [len(reference.findings)]
        told = [(output.name, list(output.dims)) for output in config.output if output.name == "spread"]
        assert told == ([("spread", [len(reference.findings)])] if reference.spread else [])
        assert config.dynamic_batching.priority_levels == 3 and config.model_warmup
        assert (tmp_path / name / reference.version / "model.py").exists() == (flavour == "cpu")
        if flavour == "gpu":
            graph = onnxruntime.InferenceSession(tmp_path / name / reference.version / MODEL_FILE, providers=["CPUExecutionProvider"])
            outputs = {output.name: output.shape[1:] for output in graph.get_outputs()}
            assert {output.name: list(output.dims) for output in config.output} == {one.name: outputs[one.name] for one in config.output}
            [accelerator] = config.optimization.execution_accelerators.gpu_execution_accelerator
            assert (accelerator.name, dict(accelerator.parameters)) == ("tensorrt", {"precision_mode": "FP16"})
