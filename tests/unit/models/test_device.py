"""Training computes where torch is fastest. There is no GPU in tests: torch's device `meta`, which computes nothing, refuses a tensor left
behind on the processor as a GPU would."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` (torch) is not installed")
pytest.importorskip("lightgbm", reason="the extra `train` (lightgbm) is not installed")
pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `train` is not installed")

from pipeline.domain import features  # noqa: E402
from pipeline.models.clinical import training  # noqa: E402
from pipeline.models.clinical.network import RiskNetwork, bin_edges  # noqa: E402
from pipeline.models.device import fastest  # noqa: E402
from pipeline.models.imaging import embedding, rivals  # noqa: E402
from pipeline.models.imaging.network import Encoder  # noqa: E402


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training takes place on a device that is not the processor."""
    for module in (training, embedding, rivals):
        monkeypatch.setattr(module, "fastest", lambda: torch.device("meta"))


def test_the_processor_where_there_is_no_gpu() -> None:
    """What torch says of CUDA decides."""
    assert fastest().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_step_of_the_clinical_network_leaves_nothing_behind() -> None:
    """Loss and gradients are where the network is."""
    x = np.random.default_rng(0).random((8, len(features.NAMES)), dtype=np.float32)
    network = RiskNetwork(bin_edges(x, 3), members=2).to("meta")
    loss = training._loss(network, x, np.arange(8) % 2 == 0, np.zeros((2, 8), bool))
    loss.backward()

    assert loss.device.type == "meta"
    assert {None if weight.grad is None else weight.grad.device.type for weight in network.parameters()} == {"meta"}


@pytest.mark.usefixtures("elsewhere")
def test_films_go_through_the_encoder_there() -> None:
    """All of it, up to the copy back, which `meta` has nothing for."""
    with pytest.raises(NotImplementedError, match="copy out of meta"):
        embedding.embedded(Encoder(), np.zeros((2, 96, 96), np.uint8))


@pytest.mark.usefixtures("elsewhere")
def test_the_own_network_is_trained_there() -> None:
    """As above."""
    films = torch.zeros((4, 1, 64, 64))
    with pytest.raises(NotImplementedError, match="copy out of meta"):
        rivals._network(films, np.array([True, False, True, False]), films)
