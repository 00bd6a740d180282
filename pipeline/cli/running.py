"""The stack that the other commands talk to: the one that runs on a data folder, or one started for the time of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipeline.adapters.local.stack import settings_of, status
from pipeline.errors import StackError
from pipeline.settings import Settings, default_data_dir


def folder(data: Path | None) -> Path:
    """The data folder a command means: its option, READFIRST_DATA, the user's data folder."""
    return data or Settings().data or default_data_dir()


def models_folder(data: Path | None) -> Path:
    """Where the versions of models lie that a command means: where the stack that runs there has them, else where the settings say."""
    place = folder(data)
    settings = settings_of(place) if status(place).running else Settings().model_copy(update={"data": place})
    return settings.models_dir


def running_settings(data: Path | None) -> Settings:
    """What reaches the running stack. In a container, or wherever no stack runs and the settings name the servers: the settings.

    Raises StackError where there is neither.
    """
    if not status(folder(data)).running:
        settings = Settings()
        if data is None and {"kafka", "postgres"} <= settings.model_fields_set:
            return settings
        raise StackError(
            f"no stack runs on {folder(data)}", "start one with `readfirst up` or `readfirst demo`, or name its folder with --data"
        )
    return settings_of(folder(data))


@contextmanager
def foreground_stack(data: Path | None, console: Console) -> Iterator[Settings]:
    """A stack for the time of the block; one that runs already is used and left running."""
    place = folder(data)
    if status(place).running:
        console.print(f"using the stack that runs on {place}")
        yield settings_of(place)
        return
    from pipeline.cli.stack import local_stack, progress_display

    stack = local_stack(place)
    try:
        with progress_display(console) as progress:
            stack.start(progress)
        yield stack.addresses()
    finally:
        console.print("stopping the stack")
        stack.stop()


def progress_bars() -> Progress:
    """On standard error, so that standard output holds only the result."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
