"""The short way to an id's bytes and the long one end at the same place, or facts would not be found again."""

from __future__ import annotations

import pytest

from pipeline.adapters.postgres.values import event_bytes, event_uuid

PLAIN = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(
    "event_id",
    [
        PLAIN,
        PLAIN.upper(),
        PLAIN.replace("-", ""),
        f"{{{PLAIN}}}",
        f"urn:uuid:{PLAIN}",
        "0f8fad5b d9cb 469f a165 70867728950e",
        f"{PLAIN} ",
        "f" * 31 + " ",
        "f" * 30,
        "f" * 34,
        "\N{FULLWIDTH DIGIT ONE}" * 32,
        "MSG-1",
        "",
    ],
)
def test_the_bytes_are_those_of_the_uuid(event_id: str) -> None:
    """Whatever a foreign system takes for an id."""
    assert event_bytes(event_id) == event_uuid(event_id).bytes
