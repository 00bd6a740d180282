"""Triton from its wheel, in an environment of its own."""

from __future__ import annotations

from pathlib import Path

from tests.integration import toy_model
from tests.stack_fixtures import serving


def test_triton_serves_a_model(tmp_path: Path) -> None:
    """The server is ready only when its models answer, in an environment that has numpy < 2 and onnxruntime."""
    with serving(tmp_path, toy_model.build) as server:
        assert toy_model.ask(server.url, 41.0) == 42.0
