"""The layer map of the design, run as a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOP_LEVEL = {
    "pyproject.toml",
    "pipeline",
    "agents",
    "schemas",
    "migrations",
    "infra",
    "tests",
    "README.md",
    "uv.lock",
    "LICENSE",
    "NOTICE",
    "CHANGELOG.md",
}


def test_layers_hold() -> None:
    """No module imports from a layer above its own (contracts in pyproject.toml)."""
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


def test_the_top_level_is_the_card() -> None:
    """Nothing stands at the top level but what the card names and dot-folders."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    names = {name.split("/")[0] for name in tracked if name}

    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_no_module_is_too_long_to_be_read_at_once() -> None:
    """Fewer than 400 lines."""
    modules = (path for part in ("agents", "pipeline", "schemas") for path in (ROOT / part).rglob("*.py"))

    assert {path.name: lines for path in modules if (lines := len(path.read_text().splitlines())) >= 400} == {}
