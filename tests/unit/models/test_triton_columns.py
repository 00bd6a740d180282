"""While a version is promoted, Triton is asked by what the version that answers reads, not by what the one before it read."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from tritonclient.grpc.model_config_pb2 import DataType
from tritonclient.utils import InferenceServerException

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
        self.groups = len(features.GROUPS) + 2

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
        return version, Answer(column, np.zeros((len(column), self.groups)), column, column)


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


async def test_a_version_that_triton_alone_still_has_is_asked_by_what_it_reads(tmp_path: Path) -> None:
    """The site's files of it are damaged, so that another is named; then they are gone. A film that it reads is no reason to ask again."""
    write(tmp_path, "1", values=BEFORE)
    write(tmp_path, "2", values=AFTER, side=8)
    scorer = Triton(tmp_path, ["2"], [*VALUES, takes("image", 8, 8), takes("has_image", 1)])
    scorer._version = "2"  # as its last answer said
    scorer.groups += 1
    (first,) = await scorer.score([ASKED])
    shutil.rmtree(tmp_path / "2")
    (again,) = await scorer.score([ASKED])
    assert [(one.model_version, one.inputs, one.unseen) for one in (first, again)] == [("2", ("image", *AFTER), None)] * 2


async def test_versions_that_take_turns_are_no_answer(tmp_path: Path) -> None:
    """The next choice scores meanwhile."""
    write(tmp_path, "1", values=BEFORE)
    write(tmp_path, "2", values=AFTER)
    with pytest.raises(Unavailable, match="in turn"):
        await Triton(tmp_path, ["2", "1", "2"], VALUES).score([ASKED])


@pytest.mark.parametrize("refuses", [True, False])
async def test_the_first_answer_of_another_version_is_given_all_that_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    """What Triton takes is known from the version before, whose inputs the new one takes or refuses: it is asked again, by each request."""
    write(tmp_path, "1", side=8, values=BEFORE)
    scorer = TritonScorer("nowhere:1", "m", 5.0, ManualClock(NOW), lambda: tmp_path / "1", films=Films())
    triton = Served([VALUES[:1], [*VALUES, takes("image", 8, 8), takes("has_image", 1)]], refuses)
    monkeypatch.setitem(scorer.__dict__, "_client", triton)
    monkeypatch.setattr(scorer, "_ask", triton.ask)
    for _ in range(2):
        await scorer.score([request("early")])
    triton.version = "1"
    risks = await scorer.score([replace(ASKED, urgency=1), *(replace(ASKED, patient=f"q{n}", urgency=n, picture=None) for n in (2, 3))])

    assert [risk.inputs for risk in risks] == [("image", *BEFORE), BEFORE, BEFORE]


class Served:
    """A Triton of version 0, then of 1, each with the inputs that it takes. refuses: 1 answers nothing that is given too little."""

    def __init__(self, inputs: list[list[Any]], refuses: bool) -> None:
        self.version, self.inputs, self.refuses = "0", inputs, refuses

    async def get_model_config(self, model: str, client_timeout: float) -> Any:
        return SimpleNamespace(config=SimpleNamespace(input=self.inputs[int(self.version)]))

    async def ask(self, arrays: dict[str, Any], urgency: int) -> tuple[str, Answer]:
        await asyncio.sleep(0)  # both requests are under way before one is answered
        if self.version == "1" and self.refuses and "values" not in arrays:
            raise InferenceServerException("expected 4 inputs", "StatusCode.INVALID_ARGUMENT")
        column = np.full((len(arrays["features"]), 1), 0.2)
        return self.version, Answer(column, np.zeros((len(column), 3 + len(features.GROUPS))), column, column)


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
