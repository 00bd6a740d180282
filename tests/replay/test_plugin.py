"""The plugin as a new user meets it: ten lines from the documentation, which fail, readably, when a rule is broken."""

from __future__ import annotations

import re
import shutil
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import pipeline.replay.play
import pipeline.replay.snapshot  # noqa: F401  numpy, which they import, cannot be loaded anew in each run inside this process
from tests.replay.make_corpus import FOLDER

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]

DOCUMENTED = re.search(r"## Testing with event logs\n.*?```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
BROKEN_RULE = """
    import pytest
    from pipeline.domain import critical_labs

    @pytest.fixture(autouse=True)
    def no_limits(monkeypatch):
        monkeypatch.setattr(critical_labs, "find", lambda *_: [])
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> object:
    """pytest with this plugin alone, whether or not it is installed as an entry point."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return lambda *options: pytester.runpytest_inprocess("-p", "pipeline.replay.pytest_plugin", "-p", "no:cacheprovider", *options)


def test_the_entry_point_names_the_plugin() -> None:
    """What `pip install readfirst` registers with pytest can be loaded, and has the fixtures."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]["readfirst"]
    plugin = import_module(named)

    assert callable(plugin.pytest_addoption)
    assert {"replay", "snapshot_ranking"} <= set(vars(plugin))


@pytest.fixture
def ten_lines() -> str:
    """The test that the README shows."""
    assert DOCUMENTED is not None
    return DOCUMENTED[1]


def test_ten_lines_from_the_documentation_pass(pytester: pytest.Pytester, run, ten_lines: str) -> None:  # type: ignore[no-untyped-def]
    """Builder, replay, time travel, reasons."""
    pytester.makepyfile(ten_lines)

    run().assert_outcomes(passed=1)


def test_they_fail_readably_when_a_rule_is_broken(pytester: pytest.Pytester, run, ten_lines: str) -> None:  # type: ignore[no-untyped-def]
    """Without critical limits: the failure shows the list at that time and ends in the user's own line, not in ours."""
    pytester.makepyfile(ten_lines)
    pytester.makeconftest(BROKEN_RULE)

    result = run()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>*day.assert_rank("ACC1").at("10:40").is_top(1).because("K 6.8").due_before("10:45")',
            "E*AssertionError: ACC1 is 2nd of 2, not among the first 1, at 10:40",
            "E*The list at 10:40:",
            "E*1  ACC2   11:00  stat, emergency department: within 45 min",
            "E*> 2  ACC1   22:00  urgent, inpatient: within 12 h",
            "E*What moved ACC1 until then:",
            "*test_they_fail_readably*py:*: AssertionError",
        ]
    )
    result.stdout.no_fnmatch_line("*played.py*")


def test_a_log_is_found_beside_the_test_and_a_wrong_name_is_answered(pytester: pytest.Pytester, run) -> None:  # type: ignore[no-untyped-def]
    """With what could be meant."""
    shutil.copy(FOLDER / "late_lab.rfl", pytester.path)
    pytester.makepyfile(
        """
        def test_found(replay):
            assert replay("late_lab.rfl").at("10:40").order[0] == "ACC1"

        def test_lost(replay):
            replay("late_lb.rfl")
        """
    )

    result = run()

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E*no log late_lb.rfl in*did you mean late_lab.rfl?"])


def test_a_mistake_in_a_story_is_shown_where_it_was_written(pytester: pytest.Pytester, run) -> None:  # type: ignore[no-untyped-def]
    """What could be meant, and no line of ours."""
    pytester.makepyfile(
        """
        from pipeline.replay.builder import patient

        def test_typing_error(replay):
            replay(patient("P1").lab("Potasium", 3, at="08:00"))
        """
    )

    result = run()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['>*lab("Potasium", 3, at="08:00"))', "E*did you mean potassium?"])
    result.stdout.no_fnmatch_line("*vocabulary.py*")


def test_a_damaged_log_says_what_is_wrong(pytester: pytest.Pytester, run) -> None:  # type: ignore[no-untyped-def]
    """Instead of replaying half of it."""
    (pytester.path / "cut.rfl").write_bytes((FOLDER / "late_lab.rfl").read_bytes()[:-200])
    pytester.makepyfile("def test_cut(replay):\n    replay('cut.rfl')")

    result = run()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*DamagedLog*cut.rfl*good are the first*"])


def test_a_replay_within_an_event_loop(pytester: pytest.Pytester, run) -> None:  # type: ignore[no-untyped-def]
    """Users' tests may be asynchronous themselves."""
    shutil.copy(FOLDER / "late_lab.rfl", pytester.path)
    pytester.makepyfile(
        """
        import asyncio

        def test_inside(replay):
            async def body():
                return replay("late_lab.rfl")
            asyncio.run(body()).assert_rank("ACC1").is_top(1)
        """
    )

    run().assert_outcomes(passed=1)


def test_a_snapshot_is_written_kept_and_compared(pytester: pytest.Pytester, run) -> None:  # type: ignore[no-untyped-def]
    """Missing: shown and refused; written on demand; the same: passes; another: says what moved, in words."""
    shutil.copy(FOLDER / "late_lab.rfl", pytester.path)
    pytester.makepyfile("def test_list(replay, snapshot_ranking):\n    snapshot_ranking(replay('late_lab.rfl'), at='10:45')", test_day="")
    test = pytester.makepyfile(
        test_snap="def test_list(replay, snapshot_ranking):\n    snapshot_ranking(replay('late_lab.rfl'), at='10:45')"
    )

    missing = run(test)
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(["*there is no snapshot test_snap.test_list.txt yet*--readfirst-update*", "*1  ACC1   10:21:49  K 6.8*"])
    assert not (pytester.path / "rankings").exists()

    run(test, "--readfirst-update").assert_outcomes(passed=1)
    run(test).assert_outcomes(passed=1)

    kept = pytester.path / "rankings" / "test_snap.test_list.txt"
    kept.write_text(
        kept.read_text().replace("  1  ACC1   10:21:49  K 6.8 at 10:20Z\n  2  SOON", "  1  SOON").replace("3  LATER", "2  LATER")
    )
    changed = run(test)
    changed.assert_outcomes(failed=1)
    changed.stdout.fnmatch_lines(
        [
            "the ranking is not that of test_snap.test_list.txt*",
            "*ACC1: new on the list, 1st, due 10:21:49: K 6.8 at 10:20Z",
            "*SOON: down from 1st to 2nd",
            "as it was:",
            "as it is:",
        ]
    )
