"""Takes the default values of inputs out of an ONNX file, as bytes: who only serves a model has no `onnx`, and its file is protobuf.

Field numbers are those of onnx.proto3: ModelProto.graph 7, GraphProto.initializer 5, TensorProto.name 8.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

_GRAPH, _INITIALIZER, _TENSOR_NAME = 7, 5, 8
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def without_defaults(body: bytes, names: Collection[str]) -> bytes:
    """The same model, which has to be given these inputs. Raises ValueError for what is no protobuf."""
    return b"".join(
        _field(_GRAPH, b"".join(whole for number, whole, content in _fields(content) if not _is_default(number, content, names)))
        if number == _GRAPH
        else whole
        for number, whole, content in _fields(body)
    )


def _is_default(number: int, content: bytes, names: Collection[str]) -> bool:
    if number != _INITIALIZER:
        return False
    return any(field == _TENSOR_NAME and name.decode() in names for field, _, name in _fields(content))


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, the whole field, and its content, in their order."""
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        kind, begin = key & 7, at
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _BYTES:
            length, begin = _varint(message, at)
            at = begin + length
        elif kind in (_EIGHT, _FOUR):
            at += 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"a field of kind {kind} in what should be an ONNX file")
        if at > len(message):
            raise ValueError("an ONNX file that ends within a field")
        yield key >> 3, message[start:at], message[begin:at]


def _field(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | _BYTES) + _as_varint(len(content)) + content


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number, and where it ends."""
    number = shift = 0
    while True:
        if at >= len(message):
            raise ValueError("an ONNX file that ends within a number")
        number |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 0x80:
            return number, at


def _as_varint(number: int) -> bytes:
    parts = []
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
