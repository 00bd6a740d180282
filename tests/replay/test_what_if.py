"""A recorded day under a site's other rules: `readfirst simulate --log`, and a replay with its critical limits."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from pipeline.adapters.site.file import parse
from pipeline.cli import build
from pipeline.replay.builder import patient
from pipeline.replay.play import play
from pipeline.replay.small_log import SmallLog

RULES = """schema: site/1
version: outpatients-first/1
targets:
  stat: {emergency: 45, inpatient: 60, outpatient: 30}
  asap: {emergency: 60, inpatient: 120, outpatient: 30}
  urgent: {emergency: 120, inpatient: 720, outpatient: 30}
  routine: {emergency: 240, inpatient: 1440, outpatient: 30}
"""


def test_other_targets_read_another_first(tmp_path: Path) -> None:
    """Two routine films and two moments of reading: rules that hurry outpatients give them the first, and the inpatient pays."""
    ward = patient("P1").arrives("I", at="09:00").order("ACC1", "DX CHEST", "routine", at="09:30").xray("CHEST", "ACC1", at="10:00")
    clinic = patient("P2").arrives("O", at="09:00").order("ACC2", "DX HAND", "routine", at="09:30").xray("HAND", "ACC2", at="10:05")
    SmallLog.of(ward.report("ACC1", at="10:20"), clinic.report("ACC2", at="10:40")).write(tmp_path / "day.rfl")
    (tmp_path / "site.yaml").write_text(RULES)
    command = ["simulate", "--log", str(tmp_path / "day.rfl"), "--against", str(tmp_path / "site.yaml"), "--scorer", "rules"]
    run = CliRunner().invoke(build(), [*command, "--json"])

    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert sorted((one["what"], one["minutes"]) for one in found["moved"]) == [("DX CHEST", -20.0), ("DX HAND", 20.0)]
    assert found["classes"]["routine"]["mean_now"] == found["classes"]["routine"]["mean_then"]
    assert "20 min sooner" in CliRunner().invoke(build(), command).stdout


def test_a_potassium_that_is_critical_by_the_sites_limits_alone() -> None:
    """6.1 is not above the shipped table's 6.1; a site that asks for less has the study within half an hour of its first image."""
    log = SmallLog.of(
        patient("P1", age=64)
        .order("ACC1", "CT ABDOMEN", "urgent", patient_class="I", at="09:00")
        .ct("ABDOMEN", "ACC1", at="10:00")
        .lab("K", 6.1, at="10:05")
    )
    row = "- {observable: potassium, unit: mmol/L, below: 3, above: 6}"
    site = parse(f"schema: site/1\nversion: strict\ncritical_labs:\n{row}\n", "site.yaml").policy

    play(log).assert_rank("ACC1").at("10:06").not_because("K 6.1")
    play(log, policy=site).assert_rank("ACC1").at("10:06").because("K 6.1 mmol/L at 10:05Z, critical above 6").due_before("10:31")
