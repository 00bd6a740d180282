"""Where a Chromium is, and how it is started so that it calls nobody."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Browser, Playwright

DEBIAN = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def executable(playwright: Playwright) -> str | None:
    """Playwright's own Chromium, else READFIRST_CHROMIUM, else Debian's; None when there is none."""
    for path in (playwright.chromium.executable_path, os.environ.get("READFIRST_CHROMIUM", ""), DEBIAN):
        if path and Path(path).exists():
            return path
    return None


def launch(playwright: Playwright) -> Browser:
    """Raises LookupError, with what to do about it, when there is no Chromium."""
    path = executable(playwright)
    if path is None:
        raise LookupError("no Chromium: run `playwright install chromium`, or `apt-get install chromium`, or set READFIRST_CHROMIUM")
    return playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
