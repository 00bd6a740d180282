"""Options that a command would leave unread are refused: with exit code 2, and with the one to leave out."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pipeline.cli import build

UNREAD = {
    "evaluate v --pairs p.csv --task nih": "--task would not be read with --pairs: leave it out",
    "evaluate v --pairs p.csv --data d": "--data would not be read with --pairs: leave it out",
    "evaluate v --pairs p.csv --task nih --data d": "--task, --data would not be read with --pairs: leave them out",
    "evaluate v --pairs p.csv --prevalence 0.1": "--prevalence would not be read without --out, which writes the PPV: leave it out",
    "evaluate --prevalence 0.1": "--prevalence would not be read without --out, which writes the PPV: leave it out",
    "evaluate --task ood --out o --prevalence 0.1": "--prevalence would not be read with --task ood: leave it out",
    "evaluate --objects o": "--objects would not be read without --pairs: leave it out",
    "finetune --pairs p.csv --rank 2": "--rank would not be read without --adapt low-rank: leave it out",
    "finetune --pairs p.csv --patients 20": "--patients would not be read without --example: leave it out",
    "finetune --pairs p.csv --data d": "--data would not be read without --example or --align nih: leave it out",
    "finetune --example hannover --outcome death": "--outcome would not be read with --example, which has an outcome: leave it out",
    "finetune --feedback pneumonia --finding mass": "--finding would not be read with --feedback, which names the finding: leave it out",
    "promote c --rollback": "CANDIDATE would not be read with --rollback: leave it out",
    "promote --rollback --force --data d": "--data, --force would not be read with --rollback: leave them out",
    "promote c --model chest_frontal": "--model would not be read with a candidate, which says itself what it is: leave it out",
    "promote --force --reason r --by kim": "--force, --reason, --by would not be read without a candidate or --rollback: leave them out",
    "shadow c --stop": "--stop would not be read with a candidate, which says itself what it is: leave it out",
    "shadow --stop --hours 2": "--hours would not be read without the comparison: leave it out",
    "shadow --model chest_frontal": "--model would not be read in the comparison, which is of all models: leave it out",
}


@pytest.fixture(autouse=True)
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is refused before anything is read or imported; the rest fails for want of the file."""
    monkeypatch.setattr("pipeline.cli.finetune.require_torch", lambda: None)
    monkeypatch.setenv("COLUMNS", "400")


@pytest.mark.parametrize("command", UNREAD)
def test_what_would_not_be_read_is_refused(command: str) -> None:
    """Not answered as if it had not been there."""
    words = command.split()
    refused = CliRunner().invoke(build(_modules(words[0])), words)
    assert refused.exit_code == 2, refused.output
    assert UNREAD[command] in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    "command",
    [
        "evaluate nothing --task nih --prevalence 0.1 --data d",
        "promote --rollback --model chest_frontal --reason r --by kim",
        "shadow --stop --model chest_frontal --by kim",
    ],
)
def test_what_is_read_is_not_refused(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The command goes on, to what is missing here."""
    monkeypatch.setenv("READFIRST_DATA", str(tmp_path_factory.mktemp("data")))
    words = command.split()
    assert CliRunner().invoke(build(_modules(words[0])), words).exit_code == 1


def _modules(command: str) -> list[str]:
    return {"evaluate": ["models"], "shadow": ["promote"]}.get(command, [command])
