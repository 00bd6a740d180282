"""The published schemas are those of the code, and no published document stops reading."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import jsonschema
import pytest

from pipeline.replay.log_file import LogReader
from schemas import compatibility, publish
from schemas.topics import TOPICS, Topic

RELEASED = publish.PUBLISHED / "released"
GOLDEN = Path(__file__).parent / "golden"
TRAPS = Path(__file__).parents[2] / "replay"
_REFERENCE = {"type": "object", "required": ["$ref"], "properties": {"$ref": {"type": "string"}}, "additionalProperties": False}
_KAFKA = {
    "type": "object",
    "properties": {
        "topic": {"type": "string"},
        "partitions": {"type": "integer", "minimum": 1},
        "replicas": {"type": "integer", "minimum": 1},
        "topicConfiguration": {
            "type": "object",
            "properties": {
                "cleanup.policy": {"type": "array", "items": {"enum": ["compact", "delete"]}},
                "retention.ms": {"type": "integer", "minimum": -1},
                "retention.bytes": {"type": "integer", "minimum": -1},
                "delete.retention.ms": {"type": "integer", "minimum": 0},
                "max.message.bytes": {"type": "integer", "minimum": 0},
            },
            "additionalProperties": False,
        },
        "bindingVersion": {"const": "0.5.0"},
    },
    "additionalProperties": False,
}
_CHANNEL = {
    "type": "object",
    "properties": {
        "address": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,249}$"},
        "description": {"type": "string"},
        "messages": {"type": "object", "minProperties": 1, "additionalProperties": _REFERENCE},
        "bindings": {"type": "object", "properties": {"kafka": _KAFKA}, "additionalProperties": False},
    },
    "required": ["address", "messages"],
    "additionalProperties": False,
}
_MESSAGE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "contentType": {"type": "string", "pattern": "^[a-z]+/[a-z0-9.+-]+$"},
        "payload": _REFERENCE,
        "headers": {"type": "object", "properties": {"type": {"const": "object"}}, "required": ["type"]},
    },
    "required": ["payload"],
    "additionalProperties": False,
}
ASYNCAPI_3 = {
    "type": "object",
    "properties": {
        "asyncapi": {"const": "3.0.0"},
        "info": {"type": "object", "required": ["title", "version"], "additionalProperties": {"type": "string"}},
        "channels": {"type": "object", "additionalProperties": _CHANNEL},
        "components": {
            "type": "object",
            "properties": {
                "messages": {
                    "type": "object",
                    "propertyNames": {"pattern": "^[\\w\\d._-]+$"},
                    "additionalProperties": _MESSAGE,
                }
            },
            "additionalProperties": False,
        },
    },
    "required": ["asyncapi", "info"],
    "additionalProperties": False,
}


def test_published_files_are_current() -> None:
    """`python -m schemas.publish` has been run since the last change."""
    stored = {path.name: path.read_text() for path in publish.PUBLISHED.glob("*.json")}

    assert publish.documents() == stored


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_json_schema_is_valid(topic: Topic) -> None:
    """Each published document is itself a correct JSON Schema."""
    jsonschema.Draft202012Validator.check_schema(publish.json_schema(topic))


def test_asyncapi_keeps_the_specifications_rules() -> None:
    """AsyncAPI 3.0.0, of the objects that we use: required fields, no field that it does not know, the Kafka binding's own words.

    Not the specification's whole JSON Schema, which no package brings: what it says of servers, operations and traits is not looked at.
    """
    jsonschema.validate(publish.asyncapi(), ASYNCAPI_3)
    channels = publish.asyncapi()["channels"]
    assert len({channel["address"] for channel in channels.values()}) == len(channels) == len(TOPICS)


def test_asyncapi_leads_to_the_published_schemas() -> None:
    """Every reference resolves: a channel's message to a component, its payload to the file of the topic's document."""
    document = publish.asyncapi()
    for topic in TOPICS:
        (reference,) = document["channels"][topic.name]["messages"].values()
        message = document
        for step in reference["$ref"].removeprefix("#/").split("/"):
            message = message[step]
        payload = publish.PUBLISHED / message["payload"]["$ref"]
        assert json.loads(payload.read_text())["title"] == message["name"] == publish.word(topic)


def _records() -> Iterator[tuple[str, bytes]]:
    """One of each topic, as a first version wrote it; and all that the logs of known traps hold: orders, merges, corrections, reports."""
    yield from ((file.stem.split(".")[0], file.read_bytes()) for file in sorted(GOLDEN.glob("*.json")))
    for log in sorted(TRAPS.glob("*.rfl")):
        with closing(LogReader(log)) as reader:
            yield from ((record.topic, record.value) for record in reader if record.value)


def test_records_are_what_the_published_schemas_say() -> None:
    """A consumer in another language that trusts the files can read what is on the topics."""
    validators = {
        topic.name: jsonschema.Draft202012Validator(
            json.loads((publish.PUBLISHED / f"{publish.word(topic).replace('/', '.')}.json").read_text())
        )
        for topic in TOPICS
    }
    records = list(_records())
    for topic, body in records:
        validators[topic].validate(json.loads(body))

    assert {topic for topic, _ in records} == validators.keys()
    assert len(records) > 150


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


def test_there_is_a_released_schema_of_every_document() -> None:
    """One without could tighten unnoticed. A new document's first schema is copied there; what stands there is never edited."""
    assert {path.stem.split(".")[0] for path in RELEASED.glob("*.json")} >= {publish.word(topic).split("/")[0] for topic in TOPICS}


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
