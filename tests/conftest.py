"""What all tests share: where the real data is, if it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["tests.stack_fixtures", "tests.store_fixtures"]

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real de-identified data; the tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data (../shared/data) is not on this machine")
    return SHARED_DATA


WHOLE_STACKS = ("e2e/test_product.py", "e2e/test_alerts.py", "integration/test_faults.py", "integration/test_stack.py")
"""Files that start all of Readfirst. One process runs them one after the other, from the beginning, as they take the longest."""


def _deal(nodeid: str) -> str:
    """What stays in one process under `-n 2`: a file, as its tests share what it started, and the whole stacks together."""
    path = nodeid.split("::", 1)[0]
    return "stacks" if path.endswith(WHOLE_STACKS) else path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole stacks first."""
    items.sort(key=lambda item: _deal(item.nodeid) != "stacks")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`--dist loadgroup` would be the setting for it, but with pytest 9.2 and xdist 3.8 the groups never reach the scheduler."""
    from xdist.scheduler import LoadScopeScheduling

    class Dealt(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _deal(nodeid)

    return Dealt(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that tests took (`record_property`): memory and recovery under attack, seconds to an alert."""
    reports = [report for report in terminalreporter.stats.get("passed", ()) if report.user_properties]
    if reports:
        terminalreporter.section("figures")
    for report in reports:
        figures = ", ".join(f"{name} {round(value, 1)}" for name, value in report.user_properties)
        terminalreporter.write_line(f"{report.nodeid}: {figures}")
