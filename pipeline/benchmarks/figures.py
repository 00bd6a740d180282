"""The figures as a committed document, as a table for people, and as the README's block."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psutil

from pipeline.errors import StackError

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "infra" / "figures.json"
README = ROOT / "README.md"
GUIDE = ROOT / "infra" / "SIZING.md"
BEGIN, END = "<!-- figures", "<!-- /figures -->"


def machine() -> dict[str, Any]:
    """In words that say how fast it is, not which it is."""
    return {
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def measured(name: str, result: dict[str, Any], load_average: float, today: date | None = None) -> dict[str, Any]:
    """A result with what one must know to judge it. load_average: of the machine before the measurement, so of other work."""
    return {
        "command": f"readfirst bench {name}",
        "date": f"{today or datetime.now(UTC).date()}",
        "machine": machine(),
        "load_average": round(load_average, 1),
        "result": result,
    }


def stored(document: Path = DOCUMENT) -> dict[str, Any]:
    """The committed figures by name; none where there are none yet."""
    found: dict[str, Any] = json.loads(document.read_text()) if document.exists() else {}
    return found


def store(figures: dict[str, Any], document: Path = DOCUMENT) -> None:
    """Replaces the figures that were measured anew and leaves the others."""
    document.write_text(json.dumps({**stored(document), **figures}, indent=1) + "\n")


def with_block(readme: str, block: str) -> str:
    """The README with `block` between its two marks. Raises StackError where there are none."""
    begin, end = readme.find(BEGIN), readme.find(END)
    if begin < 0 or end < begin:
        raise StackError(f"the README has no block between {BEGIN} and {END}", "put the two comments where the figures belong")
    head = readme.index("-->", begin) + len("-->")
    return f"{readme[:head]}\n{block.strip()}\n{readme[end:]}"


def write_readme(readme: Path = README, document: Path = DOCUMENT) -> None:
    """Puts the committed figures into the README."""
    from pipeline.benchmarks.tables import markdown

    readme.write_text(with_block(readme.read_text(), markdown(stored(document))))


def write_guide(guide: Path = GUIDE, document: Path = DOCUMENT) -> None:
    """Works the sizing guide out anew."""
    from pipeline.benchmarks import sizing

    guide.write_text(sizing.text(stored(document)))
