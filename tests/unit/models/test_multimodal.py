"""The one network over events and films: order is nothing, the absent is not heard, losses are masked; its graph and its card."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="the extra `train` (torch) is not installed")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript", reason="the extra `train` (onnxscript) is not installed")

from pipeline.adapters.onnx import artefact  # noqa: E402
from pipeline.domain.history import Tally  # noqa: E402
from pipeline.domain.readings import Reading  # noqa: E402
from pipeline.models.imaging.network import WIDTH  # noqa: E402
from pipeline.models.imaging.recipe import CARD_FILE, METRICS_FILE  # noqa: E402
from pipeline.models.multimodal import build, calibration, card, events, members, rows, training  # noqa: E402
from pipeline.models.multimodal.events import CODES, NUMBERS  # noqa: E402
from pipeline.models.multimodal.export import ANSWERS, INPUTS, Answer, to_onnx  # noqa: E402
from pipeline.models.multimodal.network import EventNetwork  # noqa: E402
from pipeline.models.multimodal.recipe import SMALL  # noqa: E402
from pipeline.models.multimodal.rows import DEATH, INTENSIVE_CARE, OUTPUTS, PNEUMONIA, Rows  # noqa: E402

HERE = Path(build.__file__).parent
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RECIPE = replace(SMALL, batch=16, films_batch=8)


def readings(lactate: float, count: int) -> list[events.Event]:
    """A lactate, `count` heart rates and a half day of them, and a person."""
    series = {
        "lactate": [Reading(NOW, lactate)],
        "heart_rate": [Reading(NOW - timedelta(hours=hour), 70.0 + hour) for hour in range(count)],
    }
    past = {"heart_rate": [Tally(NOW - timedelta(hours=18), 9, 80.0, 60.0, 110.0)]}
    return [*events.of_window(series, past, NOW), *events.of_person(60.0, "F")]


def made(count: int = 48) -> Rows:
    """Rows of three data sets, a plain signal in each."""
    rng = np.random.default_rng(0)
    output = np.arange(count) % len(OUTPUTS)
    high = rng.random(count) < 0.5
    image = rng.normal(size=(count, WIDTH)).astype(np.float32) + high[:, None]
    image[output == DEATH] = np.nan
    told = [
        readings(8.0 if sick else 1.0, 1 + place % 4) if one == DEATH else [*events.of_values({"crp": (100.0 + 50 * sick, 24.0)})]
        for place, (one, sick) in enumerate(zip(output, high, strict=True))
    ]
    label = np.full((count, len(OUTPUTS)), np.nan, np.float32)
    label[np.arange(count), output] = high
    order = np.argsort(output, kind="stable")
    whole = Rows(
        events.gathered([told[place] for place in order]),
        image[order],
        label[order],
        np.arange(count).astype(str),
        np.arange(count) // 3 % 5,
        np.ones(count, bool),
    )
    return whole


@pytest.fixture(scope="module")
def answers() -> tuple[Rows, members.Answers]:
    """The small configuration, trained the whole way."""
    whole = made()
    return whole, members.trained(members.material(whole, whole, RECIPE))


@pytest.fixture(scope="module")
def network(answers: tuple[Rows, members.Answers]) -> EventNetwork:
    """The first of them."""
    return answers[1].networks[0]


def asked(network: EventNetwork, inputs: training.Inputs) -> NDArray[np.float32]:
    with torch.inference_mode():
        return network(*inputs).numpy()


def test_the_order_of_events_is_nothing(network: EventNetwork) -> None:
    """Shuffled, and with padding anywhere: the same answer."""
    code, numbers, image = training.inputs(made(), np.arange(48))
    order = torch.randperm(code.shape[1], generator=torch.Generator().manual_seed(3))

    shuffled = asked(network, (code[:, order], numbers[:, order], image))
    assert shuffled == pytest.approx(asked(network, (code, numbers, image)), abs=1e-5)
    padded = torch.nn.functional.pad(code, (5, 0)), torch.nn.functional.pad(numbers, (0, 0, 5, 0), value=7.0), image
    assert asked(network, padded) == pytest.approx(asked(network, (code, numbers, image)), abs=1e-5)


def test_what_is_absent_is_not_heard(network: EventNetwork) -> None:
    """A hidden modality says nothing, whatever its numbers were; shown, it does; and so for a film."""
    whole = made()
    stays, films_ = whole.of(DEATH), whole.of(PNEUMONIA)
    other = replace(
        whole,
        events=replace(
            whole.events,
            numbers=np.where(whole.events.code[:, None] == CODES.index("lactate"), 3.3, whole.events.numbers).astype(np.float32),
        ),
    )

    without = [training.logits([network], each, stays, {"vitals", "demographics"}) for each in (whole, other)]
    shown = [training.logits([network], each, stays) for each in (whole, other)]
    assert (without[0] == without[1]).all()
    assert np.abs(shown[0] - shown[1]).max() > 1e-4
    dark, light = (training.logits([network], replace(whole, image=whole.image + more), films_, {"labs"}) for more in (0, 1))
    assert (dark == light).all()


def test_a_label_teaches_its_own_output_alone() -> None:
    """The gradients of the heads of other outputs are zero; and no label, no gradient."""
    whole = made()
    network = EventNetwork(members.material(whole, whole, RECIPE).scales, len(OUTPUTS)).train()
    chosen = whole.of(INTENSIVE_CARE)
    training.masked_loss(network(*training.inputs(whole, chosen)), torch.from_numpy(whole.label[chosen])).backward()

    for parameter in (network.head, network.output, network.linear.weight):
        assert (parameter.grad[[DEATH, PNEUMONIA]] == 0).all()
        assert parameter.grad[INTENSIVE_CARE].abs().sum() > 0
    assert float(training.masked_loss(torch.ones(2, 3), torch.full((2, 3), torch.nan))) == 0


def test_words_are_not_heard_where_none_were_learned(network: EventNetwork) -> None:
    """No data set has text: a text changes nothing, and is understood as events all the same."""
    words = list(events.of_text("Suspected stroke, worst headache"))
    plain, told = (events.gathered([[*readings(2.0, 2), *more]]) for more in ([], words))

    answers = [
        asked(network, (*map(torch.from_numpy, each.padded(np.array([0]))), torch.full((1, WIDTH), torch.nan))) for each in (plain, told)
    ]
    assert {CODES[code] for code, *_ in words} > {"stroke"}
    assert answers[1] == pytest.approx(answers[0], abs=1e-6)


def test_the_graph_says_what_torch_says(answers: tuple[Rows, members.Answers]) -> None:
    """To 1e-4, for any number of rows and events, and of a patient of whom nothing is known: then the training share."""
    whole, told = answers
    answer = Answer(told.networks, calibration.table(told.shared, whole)).eval()
    body = to_onnx(answer)
    session = onnxruntime.InferenceSession(body, providers=["CPUExecutionProvider"])
    nothing = np.zeros((2, 1), np.int64), np.zeros((2, 1, len(NUMBERS)), np.float32), np.full((2, WIDTH), np.nan, np.float32)

    assert build.difference(answer, body, whole) < 1e-4
    assert b"pipeline/models" not in body, "no paths of this machine"
    probability, spread = session.run(list(ANSWERS), dict(zip(INPUTS, nothing, strict=True)))
    share = [calibration.positive(whole, output).mean() for output in range(len(OUTPUTS))]
    assert probability[0] == pytest.approx(share, abs=1e-4)
    assert np.isfinite(spread).all()


def test_training_is_repeatable(answers: tuple[Rows, members.Answers]) -> None:
    """The same recipe and rows, the same weights; every row is told by a network that has not seen it."""
    whole, told = answers
    again = training.member(whole, members.material(whole, whole, RECIPE).scales, RECIPE, 0)

    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), told.networks[0].parameters(), strict=True))
    assert all(np.isfinite(logits).all() for logits in told.shared.values())
    assert set(told.test) == {(output, name) for output in range(len(OUTPUTS)) for name in rows.subsets(output)}


def test_the_card_is_written_from_the_metrics() -> None:
    """A figure changed by hand, in either, fails."""
    metrics = msgspec.json.decode((HERE / METRICS_FILE).read_bytes())

    assert (HERE / CARD_FILE).read_text() == card.render(metrics)
    assert metrics["onnx_max_difference"] < 1e-4


def test_the_clinical_card_has_the_same_figures() -> None:
    """Of death, in both cards: one comparison."""
    here = msgspec.json.decode((HERE / METRICS_FILE).read_bytes())
    there = msgspec.json.decode((artefact.SHIPPED / METRICS_FILE).read_bytes())["event_set"]

    assert there == {"set a": here["death_cross_validation"], "set b": here["death_set_b"]}
