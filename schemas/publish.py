"""The documents as JSON Schema (2020-12) and the topics as AsyncAPI 3: `python -m schemas.publish` writes `schemas/published/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from schemas.topics import TOPICS, Topic

PUBLISHED = Path(__file__).parent / "published"


def word(topic: Topic) -> str:
    """The topic's `schema` word, "observation/1"."""
    return str(topic.document.__struct_config__.tag)


def json_schema(topic: Topic) -> dict[str, Any]:
    """The JSON Schema of the topic's document."""
    schema = msgspec.json.schema(topic.document, ref_template="#/$defs/{name}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": word(topic), **schema}


def asyncapi() -> dict[str, Any]:
    """All topics as AsyncAPI 3.0 channels with Kafka bindings (0.5.0)."""
    channels, messages = {}, {}
    for topic in TOPICS:
        name = topic.document.__name__
        messages[name] = {
            "name": word(topic),
            "contentType": "application/json",
            "payload": {"$ref": f"./{word(topic).replace('/', '.')}.json"},
            "headers": {"type": "object", "properties": {header: {"type": "string"} for header in ("event_id", "trace_id", "source")}},
        }
        channels[topic.name] = {
            "address": f"readfirst.{topic.name}",
            "description": topic.summary,
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "bindings": {"kafka": {"topicConfiguration": _cleanup(topic), "bindingVersion": "0.5.0"}},
        }
    info = {"title": "Readfirst", "version": "1", "description": "Keyed by patient pseudonym (study UID for worklist and alerts)."}
    return {"asyncapi": "3.0.0", "info": info, "channels": channels, "components": {"messages": messages}}


def documents() -> dict[str, str]:
    """File name -> text, everything that is published."""
    schemas = {f"{word(topic).replace('/', '.')}.json": json_schema(topic) for topic in TOPICS}
    return {name: json.dumps(body, indent=2, sort_keys=True) + "\n" for name, body in {**schemas, "asyncapi.json": asyncapi()}.items()}


def _cleanup(topic: Topic) -> dict[str, Any]:
    if topic.retention is None:
        return {"cleanup.policy": ["compact"]}
    return {"cleanup.policy": ["delete"], "retention.ms": int(topic.retention.total_seconds() * 1000)}


if __name__ == "__main__":
    PUBLISHED.mkdir(exist_ok=True)
    for file, text in documents().items():
        (PUBLISHED / file).write_text(text)
