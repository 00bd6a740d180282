"""Scenarios from TOML files: the shipped ones by name, any other by path."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import ReadfirstError
from pipeline.simulation.department.scenario import Scenario
from pipeline.simulation.department.validity import faults

_MOST_EXTENSIONS = 5


class InvalidScenario(ReadfirstError):
    """A scenario that cannot be simulated: which file, which field, and why."""

    def __init__(self, where: str, field: str, reason: str) -> None:
        super().__init__(f"scenario {where}, {field}: {reason}")
        self.field, self.reason = field, reason


def shipped() -> list[str]:
    """Names of the scenarios that come with the product."""
    folder = files(__package__) / "scenarios"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load(name: str) -> Scenario:
    """A shipped scenario by name, or any TOML file by path."""
    return parse(_merged(name, name, 0), name)


def _merged(name: str, asked: str, depth: int) -> dict[str, Any]:
    """The file's tables over those of the one that it extends."""
    if depth > _MOST_EXTENSIONS:
        raise InvalidScenario(asked, "extends", "the chain does not end")
    own = _document(name, asked)
    base = own.pop("extends", None)
    return own if base is None else {**_merged(str(base), asked, depth + 1), **own}


def _document(name: str, asked: str) -> dict[str, Any]:
    try:
        if name in shipped():
            text = (files(__package__) / "scenarios" / f"{name}.toml").read_text("utf-8")
        else:
            text = Path(name).read_text("utf-8")
        return tomllib.loads(text)
    except OSError as error:
        known = ", ".join(shipped())
        raise InvalidScenario(asked, "file", f"{name} cannot be read ({error.strerror}); shipped scenarios: {known}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidScenario(asked, "file", f"{name} is not TOML: {error}") from error


def parse(document: dict[str, Any], where: str = "document") -> Scenario:
    """Checks types, then meaning; the first fault is told with its field."""
    try:
        scenario = msgspec.convert(document, Scenario)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        raise InvalidScenario(where, path.strip("`$.") or "top level", reason) from error
    for field, reason in faults(scenario):
        raise InvalidScenario(where, field, reason)
    return scenario
