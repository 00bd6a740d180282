"""The stand-in for a site's fine-tuned version, by which a test with a whole stack needs no training."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.adapters.onnx import artefact
from pipeline.domain import features, model_inputs
from tests import small_version


def test_it_is_described_as_a_fine_tuned_version_is(tmp_path: Path) -> None:
    """It loads, and its groups are those of the features and of what it reads beyond them."""
    told = artefact.load(small_version.write(tmp_path, "903")).reference
    assert (told.version, told.side, told.groups) == ("903", small_version.SIDE, (*features.GROUPS, *model_inputs.groups(told)))


def test_the_file_that_is_kept_is_what_its_maker_makes() -> None:
    """Other features make it another file: python -m tests.small_version writes it anew."""
    pytest.importorskip("onnx", reason="the extra `train` (onnx) is not installed")
    assert small_version.made() == small_version.FILE.read_bytes()
