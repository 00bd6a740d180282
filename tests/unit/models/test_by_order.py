"""A patient with several orders: a version that reads words is asked about each by its own, as it was taught; the highest counts."""

from __future__ import annotations

from pathlib import Path
from threading import Thread, current_thread, main_thread
from typing import Any

import pytest
from msgspec.structs import replace

from pipeline.adapters.memory.clock import ManualClock
from pipeline.adapters.onnx import artefact, asking
from pipeline.adapters.onnx.scorer import OnnxScorer
from pipeline.domain import model_inputs
from schemas.assessments import AssessRequest, Risk, StudyState
from tests import small_version
from tests.unit.models.test_triton_columns import Films, Triton, takes, write
from tests.unit.services.test_scoring import NOW, request

SEPSIS, STROKE = "Sepsis?", "Suspected stroke"
TRAUMA, MAJOR = "Trauma", "Polytrauma"
"""Where both are told of one patient, the lesser is passed over."""


def waiting(*indications: str | None, **more: Any) -> AssessRequest:
    """With an order a study, each with its words, as the context stage makes it."""
    studies = [StudyState(study_uid=f"1.{n}", ready_at=NOW, indication=words) for n, words in enumerate(indications)]
    concepts = model_inputs.suspected(*model_inputs.words(studies))
    return replace(request(), **{"studies": studies, "concepts": concepts, **more})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a version of which each emergency in its words raises the risk."""
    return small_version.write(tmp_path_factory.mktemp("version"), "901")


async def risk(folder: Path, asked: AssessRequest) -> Risk:
    [said] = await OnnxScorer(ManualClock(NOW), lambda: folder).score([asked])
    return said


async def test_each_order_is_asked_by_its_own_words(folder: Path) -> None:
    """Two orders of a word each are not one order of two; and the one that says nothing hides none."""
    one, both = await risk(folder, waiting(SEPSIS)), await risk(folder, waiting(f"{SEPSIS} {STROKE}"))
    apart = [await risk(folder, waiting(*orders)) for orders in ((SEPSIS, STROKE), (None, SEPSIS), (SEPSIS, SEPSIS))]
    assert apart == [one] * 3
    assert (both.probability or 0) > (one.probability or 0) > ((await risk(folder, waiting(None, None))).probability or 0)


async def test_each_patient_has_an_own_answer(folder: Path) -> None:
    """Whatever the number of orders, in the order of the requests."""
    scorer = OnnxScorer(ManualClock(NOW), lambda: folder)
    asked = [waiting(None), waiting(SEPSIS, STROKE, f"{SEPSIS} {STROKE}"), waiting(SEPSIS, None), waiting()]
    alone = [await risk(folder, one) for one in (waiting(None), waiting(f"{SEPSIS} {STROKE}"), waiting(SEPSIS), waiting())]
    assert await scorer.score(asked) == alone


async def test_triton_is_asked_the_same(tmp_path: Path) -> None:
    """A row an order."""
    write(tmp_path, "1", concepts=("sepsis", "stroke"))
    scorer = Triton(tmp_path, ["1"], [takes("features", len(artefact.load_reference().features)), takes("concepts", 2)])
    scorer.groups -= 1
    risks = await scorer.score([waiting(SEPSIS, STROKE), waiting(SEPSIS)])
    assert [row for one in scorer.given for row in one["concepts"].tolist()] == [[1, 0], [0, 1], [1, 0]]
    assert len(risks) == 2


async def test_a_version_that_comes_meanwhile_is_asked_by_what_it_reads(folder: Path) -> None:
    """It is promoted after the films were asked for by what the one before reads."""
    served = [artefact.SHIPPED, folder]
    [said] = await OnnxScorer(ManualClock(NOW), lambda: served.pop(0), Films()).score([waiting(SEPSIS, STROKE)])
    assert (served, said) == ([], await risk(folder, waiting(SEPSIS)))


@pytest.mark.parametrize("triton", [True, False])
async def test_words_are_read_beside_the_event_loop(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, triton: bool) -> None:
    """They take milliseconds an order, a backlog's longer than a heartbeat waits."""
    asked, readers, suspected = waiting(SEPSIS, STROKE), set[Thread](), model_inputs.suspected
    monkeypatch.setattr(model_inputs, "suspected", lambda *texts: readers.add(current_thread()) or suspected(*texts))
    if triton:
        write(tmp_path, "1", concepts=("sepsis", "stroke"))
        scorer = Triton(tmp_path, ["1"], [takes("features", len(artefact.load_reference().features)), takes("concepts", 2)])
        scorer.groups -= 1
        await scorer.score([asked])
    else:
        await risk(folder, asked)
    assert readers
    assert main_thread() not in readers


@pytest.mark.parametrize("words", [{"concepts": ("sepsis",), "buckets": 0}, {"concepts": (), "buckets": 1024}])
def test_who_reads_no_words_is_asked_once(words: dict[str, Any]) -> None:
    """So is whoever reads them, where they are no longer there."""
    shipped, asked = artefact.load_reference(), waiting(SEPSIS, STROKE)
    assert asking.by_order(asked, shipped) == [asked]
    reads = replace(shipped, **words)
    assert [one.studies for one in asking.by_order(asked, reads)] == [[study] for study in asked.studies]
    lesser = waiting(TRAUMA, MAJOR)
    assert [one.studies for one in asking.by_order(lesser, reads)] == [[study] for study in lesser.studies]
    scrubbed = waiting(None, None, concepts=asked.concepts)
    assert asking.by_order(scrubbed, reads) == [scrubbed]
