"""Bytes to documents and back: strict in what it understands, tolerant of what it does not know yet.

Unknown fields are ignored by the reader and kept in the record's bytes, which facts and dead letters store as they came.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.dead_letter import Reason
from schemas.events import AnyEvent
from schemas.topics import TOPICS, Topic

_encoder = msgspec.json.Encoder()


class _SchemaWord(msgspec.Struct):
    schema: str


class _NoDocument(msgspec.Struct, tag_field="schema", tag="-"):
    """Never sent. As the other half of a union it makes msgspec insist on the `schema` field, which it would not for one type alone."""


_decoders: dict[str, msgspec.json.Decoder[Any]] = {topic.name: msgspec.json.Decoder(topic.document | _NoDocument) for topic in TOPICS}
_any_event: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_schema_word = msgspec.json.Decoder(_SchemaWord)


_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What msgspec raises on bytes from anywhere: the last two for nesting without end and for text that is no UTF-8."""


class UndecodableRecord(ValueError):
    """The bytes are not a document of this topic; `reason` is the dead letter's code."""

    def __init__(self, reason: Reason, explanation: str) -> None:
        super().__init__(explanation)
        self.reason: Reason = reason
        self.explanation = explanation


def encode(document: msgspec.Struct) -> bytes:
    """UTF-8 JSON with a `schema` field."""
    return _encoder.encode(document)


def decode(topic: Topic, body: bytes | None) -> Any:
    """The document of `topic` in `body`. Raises UndecodableRecord."""
    try:
        return _decoders[topic.name].decode(body or b"")
    except _UNREADABLE as error:
        raise _explain(topic, body or b"", error) from error


def decode_event(body: bytes) -> AnyEvent:
    """Any event of the input topics, by its own `schema` field: how facts are read back. Raises UndecodableRecord."""
    try:
        return _any_event.decode(body)
    except _UNREADABLE as error:
        raise UndecodableRecord("invalid", str(error)) from error


def _explain(topic: Topic, body: bytes, error: Exception) -> UndecodableRecord:
    if isinstance(error, UnicodeDecodeError):
        return UndecodableRecord("undecodable-text", f"not UTF-8: {error.reason} at byte {error.start}")
    if isinstance(error, RecursionError):
        return UndecodableRecord("malformed", "nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        return UndecodableRecord("malformed", f"not JSON: {error}")
    try:
        name, _, major = _schema_word.decode(body).schema.partition("/")
    except _UNREADABLE:
        return UndecodableRecord("invalid", "the document has no `schema` field")
    wanted, _, known_major = str(topic.document.__struct_config__.tag).partition("/")
    if name == wanted and major != known_major:
        return UndecodableRecord("unsupported-major", f"{name}/{major} is not readable by this version, which knows {wanted}/{known_major}")
    if name != wanted:
        others = {str(t.document.__struct_config__.tag).partition("/")[0] for t in TOPICS}
        return UndecodableRecord("wrong-topic" if name in others else "unknown-schema", f"{name!r} does not belong on topic {topic.name}")
    return UndecodableRecord("invalid", str(error))
