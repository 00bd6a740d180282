"""Takes the picture of a comparison for the README: an invented day by two sites' rules.

python -m tests.e2e.diff_picture infra/diff.png
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from pipeline.adapters.site.published import default_yaml
from pipeline.replay import comparison, comparison_page, running
from pipeline.replay.builder import Patient, patient
from pipeline.replay.small_log import SmallLog
from tests.e2e.chromium import launch

STUDIES = 140
EXAMINATIONS = (("CT ABDOMEN", "ct"), ("CT HEAD", "ct"), ("DX CHEST", "xray"), ("DX CHEST", "xray"), ("MR KNEE", "mr"))
VALUES = (("K", 4.2, 0.9), ("Lactate", 1.6, 1.1), ("Hb", 11.5, 2.2))
BEFORE, AFTER = "routine: {emergency: 240, inpatient: 1440", "routine: {emergency: 360, inpatient: 720"
"""The line of the site file that is changed: minutes for routine studies, by where the patient is."""


def story(number: int, dice: random.Random) -> Patient:
    """Somebody who comes, is ordered a study, and has a value or vital signs before it is read."""
    ordered = dice.randint(60, 1_140)
    name, accession, where = f"P{number}", f"A{number}", dice.choice(("E", "I", "I", "O"))
    description, images = dice.choice(EXAMINATIONS)
    told = patient(name, age=dice.randint(25, 90)).arrives(where, at=_clock(ordered - 30))
    told.order(accession, description, dice.choice(("stat", "urgent", "routine", "routine", "routine")), at=_clock(ordered))
    taken = ordered + dice.randint(10, 60)
    getattr(told, images)(description.split()[1], accession, at=_clock(taken))
    value, usual, spread = dice.choice(VALUES)
    told.lab(value, round(dice.gauss(usual, spread), 1), at=_clock(taken + 5), known_at=_clock(taken + dice.randint(10, 50)))
    told.vitals(
        {"RR": round(dice.gauss(17, 4)), "SpO2": min(round(dice.gauss(95, 3)), 100), "HR": round(dice.gauss(88, 18))}, at=_clock(taken + 20)
    )
    return told.report(accession, at=_clock(taken + 60 + min(round(dice.expovariate(1 / 90)), 170)))


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def page(folder: Path) -> Path:
    """What `readfirst diff day.rfl day.rfl --policy-b inpatients.yaml --html diff.html` writes."""
    dice = random.Random(7)
    log, site = folder / "day.rfl", folder / "inpatients.yaml"
    SmallLog.of(*(story(number, dice) for number in range(STUDIES))).write(log)
    defaults = default_yaml()
    assert BEFORE in defaults
    site.write_text(defaults.replace(BEFORE, AFTER).replace("version: default/1", "version: inpatients-first"))
    before, after = (running.result(log, running.Choice("model", rules)) for rules in (None, site))
    written = folder / "diff.html"
    written.write_text(comparison_page.page(comparison.compare(before, after), comparison.first_difference(before, after)))
    return written


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", default="1280x1180")
    given = parser.parse_args()
    width, height = (int(part) for part in given.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        address = page(Path(folder)).as_uri()
        with sync_playwright() as playwright:
            browser = launch(playwright)
            shown = browser.new_context(viewport={"width": width, "height": height}).new_page()
            shown.goto(address)
            shown.screenshot(path=given.output)
            browser.close()


if __name__ == "__main__":
    main()
