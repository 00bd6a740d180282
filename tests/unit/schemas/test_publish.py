"""The published schemas are those of the code, and no published document stops reading."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from schemas import compatibility, publish
from schemas.topics import TOPICS, Topic

RELEASED = publish.PUBLISHED / "released"


def test_published_files_are_current() -> None:
    """`python -m schemas.publish` has been run since the last change."""
    stored = {path.name: path.read_text() for path in publish.PUBLISHED.glob("*.json")}

    assert publish.documents() == stored


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_json_schema_is_valid(topic: Topic) -> None:
    """Each published document is itself a correct JSON Schema."""
    jsonschema.Draft202012Validator.check_schema(publish.json_schema(topic))


@pytest.mark.parametrize("file", sorted(RELEASED.glob("*.json")), ids=lambda path: path.name)
def test_a_released_schema_still_reads(file: Path) -> None:
    """What a released version wrote reads under the present one of the same major, or the major has grown."""
    current = {f"{publish.word(topic).replace('/', '.')}.json": publish.json_schema(topic) for topic in TOPICS}
    name, _, major = file.stem.rpartition(".")
    if file.name not in current:
        assert any(other.startswith(f"{name}.") and int(other.split(".")[1]) > int(major) for other in current), (
            f"{file.name} has disappeared"
        )
        return

    assert compatibility.breaks(json.loads(file.read_text()), current[file.name]) == []


@pytest.fixture
def order() -> dict:
    return publish.json_schema(next(topic for topic in TOPICS if topic.name == "orders"))


def test_an_added_optional_field_is_compatible(order: dict) -> None:
    """A minor version may add what readers need not know."""
    new = copy.deepcopy(order)
    new["$defs"]["OrderEvent"]["properties"]["contrast"] = {"type": "string"}

    assert compatibility.breaks(order, new) == []


@pytest.mark.parametrize("change", ["remove", "require", "retype", "narrow"])
def test_a_breaking_change_is_found(order: dict, change: str) -> None:
    """Removing, requiring, retyping or narrowing a field needs a new major."""
    new = copy.deepcopy(order)
    event = new["$defs"]["OrderEvent"]
    if change == "remove":
        del event["properties"]["indication"]
    elif change == "require":
        event["required"].append("indication")
    elif change == "retype":
        event["properties"]["order"] = {"type": "integer"}
    else:
        event["properties"]["control"]["enum"].remove("cancel")

    assert compatibility.breaks(order, new) != []
