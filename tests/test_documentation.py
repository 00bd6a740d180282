"""Documentation that is wrong fails here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.adapters.fhir.message import READERS
from pipeline.cli import COMMANDS, build, dlq, worklist
from pipeline.ports import ListedItem
from pipeline.ports.operations import HeldLetter, LetterPlace
from pipeline.settings import Gateways
from schemas.dead_letter import DeadLetter
from tests.store_fixtures import START, item

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def dependencies() -> set[str]:
    """Names of the run-time and training dependencies."""
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["train"]
    return {re.split(r"[\[<>=;! ]", requirement)[0] for requirement in wanted}


def test_the_readme_says_what_each_dependency_is_for() -> None:
    """The table names every dependency of pyproject.toml, and no other."""
    table = README.split("## What each dependency is for")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ") and "dependency" not in line]
    named = {name.strip(" `") for row in rows for name in re.sub(r"\([^)]*\)", "", row).split(",")}

    assert named == dependencies()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:agents|pipeline|schemas|migrations|infra|tests)/[\w/.]*)`", README))))
def test_every_path_in_the_readme_exists(path: str) -> None:
    """Files and folders that the README sends a reader to."""
    assert (ROOT / path).exists()


def test_every_command_in_the_readme_exists() -> None:
    """Commands of the README's table, and each has help with an example."""
    app = build()
    commands = {re.split(r"[ /`]", command)[0] for command in re.findall(r"`readfirst ([a-z]+)", README)}
    for command in sorted(commands):
        result = CliRunner().invoke(app, [command, "--help"])
        assert result.exit_code == 0, command


@pytest.mark.parametrize("command", sorted(info.name or info.callback.__name__ for info in build().registered_commands if info.callback))
def test_each_command_has_an_example(command: str) -> None:
    """Help ends with an example that a new user can run."""
    assert "Example: readfirst" in CliRunner().invoke(build(), [command, "--help"], env={"COLUMNS": "200"}).output


@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_is_found_in_its_module(module: str) -> None:
    """The table by which a command starts without the other modules' imports is right."""
    app = build((module,))
    names = [info.name or (info.callback.__name__ if info.callback else "") for info in app.registered_commands]
    assert (*names, *(group.name for group in app.registered_groups)) == COMMANDS[module]


def test_the_ports_and_addresses_in_the_readme_are_the_usual_ones() -> None:
    """Where to send to, as the settings have it."""
    usual, told = Gateways(), README.split("## Sending to it")[1].split("\n## ")[0]

    assert f"port {usual.dicom_port}, AE title {usual.ae_title}" in told
    assert f"port {usual.mllp_port}" in told
    assert set(re.findall(r"http://[\w.:]+", told)) == {f"http://{usual.host}:{usual.http_port}"}
    assert all(kind in told for kind in READERS)


def test_the_help_of_json_output_names_its_keys() -> None:
    """As programs that read it have to know them."""
    place = {"topic": "labs", "partition": 0, "offset": 1}
    letter = DeadLetter(event_id="e", reason="malformed", explanation="?", body=b"{", recorded_at=START, **place)

    assert worklist.ROW.split(", ") == list(worklist.row(ListedItem(item("1.2.3"), 1)))
    assert dlq.SUMMARY.split(", ") == list(dlq._summary(HeldLetter(LetterPlace(0, 1), letter)))


def test_the_safety_sentence_stands_once() -> None:
    """Not a medical device, said plainly."""
    assert README.count("Not a medical device") == 1
