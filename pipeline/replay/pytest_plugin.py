"""The pytest plugin: replays an event log in a test, keeps a ranking beside it, and reduces a log that fails.

    def test_late_potassium(replay):
        replay("late_lab.rfl").assert_rank("ACC1").at("10:45").is_top(1).because("K 6.8")

Only what pytest itself asks for is imported before a test wants a replay: the plugin is loaded in every run of pytest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from datetime import datetime

    from pipeline.replay.played import Played
    from pipeline.replay.small_log import SmallLog
    from pipeline.replay.story import Story

SNAPSHOTS = "rankings"
"""The folder beside the tests that holds their snapshots."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """--readfirst-update."""
    group = parser.getgroup("readfirst", "replaying event logs")
    group.addoption("--readfirst-update", action="store_true", help="write the rankings that this run comes to as the new snapshots")


@pytest.fixture
def replay(request: pytest.FixtureRequest) -> Replay:
    """Replays a log file that lies beside the test, or patients' stories."""
    return Replay(request.path.parent)


@pytest.fixture
def snapshot_ranking(request: pytest.FixtureRequest) -> SnapshotRanking:
    """Compares a ranking with the one kept beside the test."""
    return SnapshotRanking(request.path, request.node.name, bool(request.config.getoption("--readfirst-update")))


class Replay:
    """Called with the name of a log file, a path, a SmallLog, or the stories of patients."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *what: str | Path | SmallLog | Story, **options: Any) -> Played:
        """Options: `policy` (pipeline.domain.site.Policy), `scorer` ("rules", "model", "recorded"), `until` ("10:30"); see `play`."""
        from pipeline.replay.play import play

        __tracebackhide__ = True
        return play(self.log(*what), **options)

    def log(self, *what: str | Path | SmallLog | Story) -> SmallLog:
        """The log itself, to change or to shrink."""
        from pipeline.replay.small_log import SmallLog

        __tracebackhide__ = True
        first = what[0] if what else None
        if isinstance(first, SmallLog):
            return first
        if isinstance(first, str | Path):
            return SmallLog.read(self._path(first))
        return SmallLog.of(*what)  # type: ignore[arg-type]

    def shrink(self, log: SmallLog, check: Callable[[Played], object], **options: Any) -> SmallLog:
        """The fewest events after which `check`, a function of the replay that asserts, still fails. Print it to see its story."""
        from pipeline.replay.play import play
        from pipeline.replay.shrink import shrink

        def fails(part: SmallLog) -> bool:
            try:
                check(play(part, **options))
            except AssertionError:
                return True
            except ValueError:  # the study that the check is about is gone from the log: another failure than the one looked for
                return False
            return False

        return shrink(log, fails)

    def _path(self, name: str | Path) -> Path:
        __tracebackhide__ = True
        path = self._folder / name
        if not path.exists():
            there = sorted(file.name for file in self._folder.glob("*.rfl"))
            near = get_close_matches(str(name), there, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(there) or 'no logs'}"
            raise pytest.UsageError(f"no log {name} in {self._folder}; {hint}")
        return path


class SnapshotRanking:
    """Called with a replay, and a time; one file for each call in a test."""

    def __init__(self, test: Path, name: str, update: bool) -> None:
        self._test = test
        self._name = name
        self._update = update
        self._calls: Counter[str] = Counter()

    def __call__(self, played: Played, at: str | datetime | None = None) -> None:
        """Fails where the list is another than the one kept, and says what moved."""
        from pipeline.replay.snapshot import difference, text_of

        __tracebackhide__ = True
        path, text = self._next(), text_of(played.at(at or played.end))
        if self._update:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            return
        if not path.exists():
            pytest.fail(
                f"there is no snapshot {path.name} yet; look at this list, then write it with --readfirst-update\n\n{text}", pytrace=False
            )
        if (before := path.read_text()) != text:
            told = difference(before, text)
            pytest.fail(f"the ranking is not that of {path.name} (if it should be: --readfirst-update)\n\n{told}", pytrace=False)

    def _next(self) -> Path:
        self._calls[self._name] += 1
        count = self._calls[self._name]
        safe = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in self._name)
        return self._test.parent / SNAPSHOTS / f"{self._test.stem}.{safe}{f'.{count}' if count > 1 else ''}.txt"
