"""What the tests of the web application share."""

from __future__ import annotations

import pytest

from tests.unit.worklist.web import Web


@pytest.fixture
def web() -> Web:
    """Three studies, due now, in ten and in twenty minutes."""
    return Web()
