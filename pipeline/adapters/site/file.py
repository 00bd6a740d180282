"""Reads a site file: what stands in it, or every fault of it with line, column, path and reason."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipeline.adapters.site.document import SiteDocument
from pipeline.domain.site import Policy
from pipeline.errors import SiteFileRefused

LONGEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SiteFile:
    """An accepted file. digest: SHA-256 of the text, hexadecimal."""

    document: SiteDocument
    digest: str
    text: str

    @property
    def policy(self) -> Policy:
        """What the ranking is told."""
        return self.document.policy(self.digest)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where; line and column count from 1."""

    file: str
    line: int
    column: int
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.path + ': ' if self.path else ''}{self.reason}"


def load(path: Path) -> SiteFile:
    """Raises SiteFileRefused: not there, not readable, not valid."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SiteFileRefused([f"{path}: cannot be read: {error.strerror or type(error).__name__}"]) from error
    if len(content) > LONGEST_BYTES:
        raise SiteFileRefused([f"{path}: has {len(content)} bytes, at most {LONGEST_BYTES} are read"])
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SiteFileRefused([f"{path}: is not UTF-8 (byte {error.start})"]) from error
    return parse(text, str(path))


def parse(text: str, name: str) -> SiteFile:
    """The text of a file called `name` in what is said of it. Raises SiteFileRefused with all its faults."""
    try:
        tree = YAML(typ="rt").load(text)
        plain = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise SiteFileRefused([str(Fault(name, line, column, "", _one_line(error.problem or "not YAML")))]) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise SiteFileRefused([str(Fault(name, 1, 1, "", f"not YAML: {_one_line(str(error))}"))]) from error
    try:
        document = SiteDocument.model_validate(plain)
    except ValidationError as error:
        raise SiteFileRefused([str(_fault(found, tree, name)) for found in error.errors()]) from error
    return SiteFile(document, hashlib.sha256(text.encode()).hexdigest(), text)


def _fault(found: ErrorDetails, tree: Any, name: str) -> Fault:
    path = [step for step in found["loc"] if step != "[key]"]
    line, column = _place(tree, path)
    return Fault(name, line, column, ".".join(map(str, path)), _reason(found))


def _reason(found: ErrorDetails) -> str:
    given = found.get("input")
    match found["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known here"
        case "value_error":
            return str(found["ctx"]["error"])
    shown = "" if isinstance(given, dict | list) else f", not {given!r}"
    return f"{found['msg'][0].lower()}{found['msg'][1:].removesuffix('.')}{shown}"


def _place(tree: Any, path: list[int | str]) -> tuple[int, int]:
    """Where the innermost part of `path` that is there stands."""
    line, column, node = 0, 0, tree
    for step in path:
        try:
            if isinstance(node, dict):
                line, column = node.lc.key(step)  # type: ignore[attr-defined]
            else:
                line, column = node.lc.item(step)
            node = node[step]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
    return line + 1, column + 1


def _one_line(text: str) -> str:
    return " ".join(text.split())
