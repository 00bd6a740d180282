"""Words of orders that no list names: learned where they tell something, left out where they do not, and asked live as learned."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as varied

pytest.importorskip("sklearn", reason="fine-tuning needs the extra train")
pytest.importorskip("onnxscript", reason="fine-tuning needs the extra train")
pytest.importorskip("torch", reason="fine-tuning needs the extra train")

from pipeline.adapters.onnx import artefact
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.domain import features, model_inputs, order_words
from pipeline.models.evaluation.discrimination import auc
from pipeline.models.finetuning import build as building
from pipeline.models.finetuning import fusion, graph, text
from pipeline.models.finetuning.fusion import Fused, Recipe, learn
from pipeline.models.finetuning.inputs import Inputs, gather, shipped_model
from pipeline.models.finetuning.pairs import Observed, Pair
from pipeline.models.finetuning.requests import request

SIDE = 64
NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
ORDERS = ("Kontrolle nach ZVK-Anlage", "cough since 3 days", "before operation", "pain in the ribs after a fall", "Gewichtsverlust unklar")


def made_up(patients: int, telling: bool, seed: int = 0) -> list[Pair]:
    """One row a patient, without a film: lactate says a little, and "unruhig" (no emergency's word) much or nothing."""
    rng, pairs = np.random.default_rng(seed), []
    for row in range(patients):
        outcome = bool(rng.random() < 0.4)
        restless = rng.random() < ((0.7 if outcome else 0.1) if telling else 0.3)
        order = ORDERS[rng.integers(len(ORDERS))] + (", Patient unruhig" if restless else "")
        lactate = Observed("lactate", float(np.exp(rng.normal(0.6 if outcome else 0.4, 0.5))), 1.0)
        told: dict[str, Any] = {"line": row + 2, "study": f"s{row}", "patient": f"p{row}", "outcome": outcome, "observations": (lactate,)}
        rest: dict[str, Any] = {"date": NOW, "hospital": "", "projection": "", "scanner": "", "age": 60.0, "sex": "F"}
        pairs.append(Pair(**told, **rest, picture=None, digest=None, text=order if row % 9 else ""))
    return pairs


def inputs(patients: int, telling: bool, seed: int = 0) -> tuple[Inputs, list[Pair]]:
    pairs = made_up(patients, telling, seed)
    return gather(pairs, shipped_model(), SIDE), pairs


@pytest.fixture(scope="module")
def learned() -> tuple[Inputs, list[Pair], Fused]:
    """From a hundred patients, where the word tells something."""
    data, pairs = inputs(100, telling=True)
    return data, pairs, learn(data, np.ones(len(pairs), bool), Recipe())


def held_out(fused: Fused, others: Inputs) -> float:
    return auc(others.positive, fused.logits(others, np.ones(len(others.positive), bool)))


def test_a_word_that_no_list_names_is_heard(learned: tuple[Inputs, list[Pair], Fused]) -> None:
    """Patients not learned from are told apart better than without it; who has no words is judged as without."""
    data, _, fused = learned
    others, _ = inputs(400, telling=True, seed=1)
    deaf = learn(replace(data, buckets=None), np.ones(len(data.positive), bool), Recipe())

    assert fused.text is not None and fused.join["text"] > 0
    assert held_out(fused, others) > held_out(deaf, others) + 0.08
    assert not others.concepts.any(), "no emergency is named"
    silent = ~others.has_text
    assert not fused.parts(others, silent)["text"].any()


def test_words_that_tell_nothing_do_no_harm() -> None:
    """On most draws nothing is learned of them, and where chance looks like a gain, patients not learned from lose next to nothing."""
    weights, lost = [], []
    others, _ = inputs(400, telling=False, seed=99)
    for seed in range(8):
        data, _ = inputs(100, telling=False, seed=seed)
        every = np.ones(len(data.positive), bool)
        fused, deaf = learn(data, every, Recipe()), learn(replace(data, buckets=None), every, Recipe())
        weights.append(fused.join["text"])
        lost.append(held_out(deaf, others) - held_out(fused, others))

    assert np.median(weights) == 0
    assert np.mean(lost) < 0.02


def test_without_texts_nothing_changes() -> None:
    """And of few nothing is learned: the same weights to the last digit."""
    for patients in (40, 18):
        data, _ = inputs(patients, telling=True)
        every = np.ones(patients, bool)
        few = replace(data, buckets=data.buckets[:] & (np.arange(patients) < 15)[:, None])  # type: ignore[index]
        deaf, heard = (learn(one, every, Recipe()) for one in (replace(data, buckets=None), few))
        assert (heard.text, heard.join, heard.intercept) == (None, deaf.join, deaf.intercept)


def test_the_file_hears_what_torch_and_the_part_hear(learned: tuple[Inputs, list[Pair], Fused]) -> None:
    """The same to 1e-4, in every row; asked live by its studies' words too; and what the words moved is the words' contribution."""
    data, pairs, fused = learned
    body = graph.to_onnx(artefact.load().onnx, None, graph.Join(fused), SIDE, len(data.own_values), "9")
    asked = building.question(data, pairs, np.arange(len(pairs)), SIDE, False, True)
    assert building.compare(body, None, graph.Join(fused), asked) <= 1e-4

    reference = varied(artefact.load_reference(), values=data.own_values, concepts=model_inputs.CONCEPTS, buckets=order_words.BUCKETS)
    reference = varied(reference, groups=(*features.GROUPS, *model_inputs.groups(reference)))
    model, requests = OnnxModel(artefact.Artefact(reference, body)), [request(pair) for pair in pairs]
    live = model.run(features.matrix([one.features for one in requests]), model_inputs.arrays(requests, reference, {}))
    logits = fused.logits(data, np.ones(len(pairs), bool))
    assert live.risk[:, 0] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-4)
    place = reference.groups.index("words")
    told = np.abs(live.contributions[:, place]) > 1e-6
    assert told[data.has_text].any() and not told[~data.has_text].any()
    assert [("words" in model_inputs.given(one, reference, {})) for one in requests] == data.has_text.tolist()


def test_ready_made_sentences_are_one_direction_or_none() -> None:
    """Words that always stand together leave nothing for a second; of a sentence that is always the same there is nothing to learn."""
    rows = np.arange(64)
    first, outcome, patient = rows % 2 == 0, rows % 3 == 0, rows.astype(str)
    outcome[:16] = first[:16]
    same, two = np.zeros((2, 64, order_words.BUCKETS), bool)
    same[:32, :4], same[rows, 100 + rows] = True, rows >= 32
    two[:, :4], two[:, 4:8] = first[:, None], ~first[:, None]
    part = text.learned(two, outcome, patient)

    assert text.learned(same, outcome, patient) is None
    assert part is not None
    assert part.described()["dimensions"] == 1
    assert (part.logits(two) > 0).tolist() == first.tolist()


def test_rare_and_common_words_count_for_nothing() -> None:
    """A name stands in few orders, "please" in all."""
    data, _ = inputs(100, telling=True)
    assert data.buckets is not None
    (rare,), (common,), (word,) = (order_words.buckets(one) for one in ("Mustermann", "bitte", "unruhig"))
    seen = data.buckets.copy()
    seen[:3, rare], seen[:, common] = True, True
    part = text.learned(seen, data.positive, data.patient)

    assert part is not None
    assert (part.idf[rare], part.idf[common]) == (0, 0)
    assert part.idf[word] > 0
    assert fusion.PARTS[-1] == "text"
