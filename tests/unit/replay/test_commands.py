"""`readfirst replay` and `diff` as scripts call them: exit codes, the last line, and what the JSON has."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipeline.cli import build
from pipeline.errors import ReadfirstError
from pipeline.replay.builder import patient
from pipeline.replay.log_file import DamagedLog
from pipeline.replay.small_log import SmallLog

LOG = Path(__file__).resolve().parents[2] / "replay" / "late_lab.rfl"
QUICK = "schema: site/1\nversion: quick\ntargets:\n" + "".join(
    f"  {priority}: {{emergency: 30, inpatient: 30, outpatient: 30}}\n" for priority in ("stat", "asap", "urgent", "routine")
)


@pytest.fixture(autouse=True)
def logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands silence their process; other tests in it want to hear."""
    monkeypatch.setattr("pipeline.adapters.telemetry.logging.configure", lambda log_format, level: None)


def run(*arguments: object) -> Result:
    """The command by the rules; errors of ours are raised."""
    result = CliRunner().invoke(build(["replaying"]), [*map(str, arguments), "--scorer", "rules"])
    if isinstance(result.exception, ReadfirstError):
        raise result.exception
    return result


def last(result: Result) -> dict[str, Any]:
    """The object on the last line of standard output."""
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_replay_ends_with_one_line_of_digest_events_and_speed() -> None:
    """The same digest each time, whatever the clock says."""
    first, again = (last(run("replay", LOG, "--json")) for _ in range(2))

    assert {"digest", "events", "events_per_s"} <= set(first)
    assert first["digest"] == again["digest"] and len(first["digest"]) == 64
    assert first["events"] == len(SmallLog.read(LOG).records)


def test_replay_stops_and_goes_on(tmp_path: Path) -> None:
    """By --until, --save-state and --from-state: the digest of the whole."""
    whole, state = last(run("replay", LOG, "--json")), tmp_path / "state"
    half = last(run("replay", LOG, "--until", "2026-03-02T10:30", "--save-state", state, "--json"))
    rest = last(run("replay", LOG, "--from-state", state, "--json"))

    assert half["events"] < whole["events"] and half["digest"] != whole["digest"]
    assert (rest["events"], rest["digest"]) == (whole["events"], whole["digest"])


def test_a_speed_is_kept(tmp_path: Path) -> None:
    """A minute of the log in half a second at 120 times; the list is the same as at once. What is no speed is refused."""
    log = tmp_path / "minute.rfl"
    SmallLog.of(patient("P1").order("A1", "CT HEAD", at="09:00").ct("HEAD", "A1", at="09:01")).write(log)
    begun = time.monotonic()
    paced = last(run("replay", log, "--speed", "120", "--json"))

    assert time.monotonic() - begun >= 0.5
    assert paced["digest"] == last(run("replay", log, "--json"))["digest"]
    assert [run("replay", log, "--speed", wrong).exit_code for wrong in ("0", "-1", "nan", "fast")] == [2] * 4


def test_diff_says_by_its_exit_code_whether_anything_moved(tmp_path: Path) -> None:
    """0 for the same; 1 with who moved, by how much, when and why, the first event that made a difference, and a page with a plot."""
    site, page = tmp_path / "site.yaml", tmp_path / "diff.html"
    site.write_text(QUICK)
    same = run("diff", LOG, LOG, "--json")
    other = run("diff", LOG, LOG, "--policy-b", site, "--bisect", "--html", page, "--json")
    told = last(other)

    assert (same.exit_code, last(same)["same"], last(same)["moved"]) == (0, True, [])
    assert (other.exit_code, told["same"]) == (1, False)
    assert told["moved"] and {"study", "places", "minutes", "at", "event_id", "cause", "why_a", "why_b"} <= set(told["moved"][0])
    assert {"classes", "gained", "lost"} <= set(told)
    assert told["first"]["event_id"]
    assert "<svg" in page.read_text()


def test_a_damaged_log_is_refused_or_read_up_to_its_last_good_chunk(tmp_path: Path) -> None:
    """And which that is."""
    log = tmp_path / "cut.rfl"
    log.write_bytes(LOG.read_bytes()[:-40])

    with pytest.raises(DamagedLog, match="good are the first"):
        run("replay", log)
    salvaged = run("replay", log, "--salvage", "--json")
    assert salvaged.exit_code == 0 and "damaged" in salvaged.stderr
    assert last(salvaged)["events"] == len(SmallLog.read(LOG).records)
