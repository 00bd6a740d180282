"""What all tests share: where the real data is, if it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.stack_fixtures", "tests.store_fixtures"]

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real de-identified data; the tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data (../shared/data) is not on this machine")
    return SHARED_DATA
