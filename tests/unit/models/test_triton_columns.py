"""While a version is promoted, Triton is asked by what the version that answers reads, not by what the one before it read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from tritonclient.grpc.model_config_pb2 import DataType

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.onnx.artefact import REFERENCE_FILE, load_reference
from pipeline.adapters.triton.scorer import TritonScorer
from pipeline.domain import features, model_inputs
from pipeline.domain.model_answer import Answer
from pipeline.errors import NotFound, Unavailable
from tests.unit.services.test_scoring import NOW, request

BEFORE, AFTER = ("haemoglobin", "crp"), ("crp", "haemoglobin")
ASKED = replace(request(), values={"haemoglobin": 7.0, "crp": 120.0}, picture="u", concepts=("sepsis",))
FILM = np.full((8, 8), 7, np.uint8)


class Films:
    """One film of eight pixels, whatever is asked for."""

    async def get(self, uris: Sequence[str], side: int, within_s: float) -> dict[str, Any]:
        return dict.fromkeys(uris, FILM)


class Triton(TritonScorer):
    """Answers as the versions in `answers`, one a question, the last for ever; keeps what it was given."""

    def __init__(self, folder: Path, answers: list[str], taken: list[Any]) -> None:
        super().__init__("nowhere:1", "m", 5.0, ManualClock(NOW), lambda: folder / "1", self._known, Films())
        self.folder, self.answers, self.taken = folder, answers, taken
        self.given: list[dict[str, Any]] = []

    def _known(self, version: str) -> Path:
        if not (self.folder / version).is_dir():
            raise NotFound(version)
        return self.folder / version

    async def _taken(self) -> Sequence[Any]:
        return self.taken

    async def _ask(self, arrays: dict[str, Any], urgency: int) -> tuple[str, Answer]:
        self.given.append(arrays)
        column = np.full((len(arrays["features"]), 1), 0.2)
        version = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        groups = 2 + len(features.GROUPS)
        return version, Answer(column, np.zeros((1, groups)), column, column)


def write(folder: Path, version: str, **reads: Any) -> None:
    made = replace(load_reference(), version=version, **reads)
    (folder / version).mkdir()
    told = replace(made, groups=(*features.GROUPS, *model_inputs.groups(made)))
    (folder / version / REFERENCE_FILE).write_bytes(msgspec.json.encode(told))


def takes(name: str, *dims: int, optional: bool = True) -> Any:
    return SimpleNamespace(name=name, dims=list(dims), optional=optional, data_type=DataType.Value("TYPE_FP32"))


VALUES = [takes("features", len(features.NAMES)), takes("values", 2)]


async def test_values_stand_in_the_columns_of_the_version_that_answers(tmp_path: Path) -> None:
    """As many columns, other values: the shape tells nothing."""
    write(tmp_path, "1", values=BEFORE)
    write(tmp_path, "2", values=AFTER)
    scorer = Triton(tmp_path, ["2"], VALUES)
    (risk,) = await scorer.score([ASKED])
    assert (risk.model_version, risk.inputs) == ("2", AFTER)
    assert [one["values"].tolist() for one in scorer.given] == [[[7.0, 120.0]], [[120.0, 7.0]]]


async def test_of_a_version_that_is_not_this_sites_nothing_is_known(tmp_path: Path) -> None:
    """It is asked once, as the one that should answer."""
    write(tmp_path, "1", values=BEFORE)
    scorer = Triton(tmp_path, ["3"], VALUES)
    (risk,) = await scorer.score([ASKED])
    assert (risk.model_version, risk.inputs, len(scorer.given)) == ("3", BEFORE, 1)


async def test_versions_that_take_turns_are_no_answer(tmp_path: Path) -> None:
    """The next choice scores meanwhile."""
    write(tmp_path, "1", values=BEFORE)
    write(tmp_path, "2", values=AFTER)
    with pytest.raises(Unavailable, match="in turn"):
        await Triton(tmp_path, ["2", "1", "2"], VALUES).score([ASKED])


@pytest.mark.parametrize("optional", [True, False])
async def test_a_film_of_another_size_is_not_said_to_be_seen(tmp_path: Path, optional: bool) -> None:
    """Nor is the model told that there is one; values that it must be given and has no columns for are none that it was given."""
    write(tmp_path, "1", side=8, values=BEFORE[:1])
    film = [takes("image", 16, 16, optional=optional), takes("has_image", 1, optional=optional), takes("values", 3, optional=optional)]
    scorer = Triton(tmp_path, ["1"], [VALUES[0], *film])
    (risk,) = await scorer.score([ASKED])
    assert (risk.inputs, risk.unseen) == ((), "late")
    assert len(scorer.given) == 2, "without the film, and with it"
    assert all(not np.any(one.get("has_image", 0)) for one in scorer.given)
