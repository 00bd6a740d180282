"""Triton from its wheel, in an environment of its own."""

from __future__ import annotations

from pathlib import Path

from tritonclient.grpc import InferenceServerClient

from pipeline.settings import Triton
from tests.integration import toy_model
from tests.stack_fixtures import serving


def test_triton_serves_a_model(tmp_path: Path) -> None:
    """The server is ready only when its models answer, in an environment that has numpy < 2 and onnxruntime."""
    with serving(tmp_path, toy_model.build) as server:
        assert toy_model.ask(server.url, 41.0) == 42.0


def test_triton_serves_the_shipped_model(triton_server: str) -> None:
    """The model that Readfirst ships is loaded and warm under the name that the settings have."""
    client = InferenceServerClient(triton_server)
    try:
        assert client.is_model_ready(Triton().model, client_timeout=60)
    finally:
        client.close()
