"""What the folders of all trained models share: documents as JSON, and graphs that say nothing of the machine that made them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec


def pretty(document: Any) -> bytes:
    """JSON that a person can read, and whose differences can be."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def without_traces(graph: Any) -> None:
    """Takes out of an onnx GraphProto, in place, what torch's exporter notes of each step: stack traces with the paths of its files."""
    for part in _parts(graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _parts(graph: Any) -> Iterator[Any]:
    yield from (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _parts(inner)
