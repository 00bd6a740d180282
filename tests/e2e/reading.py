"""One reader at the page: what a test asks of it, in the words of a reader."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from tests.e2e.department import Department, study_uid
from tests.e2e.live_server import LiveServer

Serve = Callable[[Department], LiveServer]
Read = Callable[..., "Reading"]
"""The fixtures `serve` and `read`."""
NETWORK = "Failed to load resource"
"""What Chromium writes for every answer that is not a success: ordered by the test, told by the page."""

PATIENT = "AbortSignal.timeout = () => new AbortController().signal;"
"""A script for a page that waits for an answer for as long as a test holds it back."""


class Reading:
    """A page, its server, and what went wrong on it."""

    def __init__(self, server: LiveServer, page: Page) -> None:
        self.server = server
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", self._said)

    def open(self, path: str = "/", *, wait: bool = True) -> None:
        """Goes to the page and waits until it shows its figures and its list: the two are asked for at once, and come in either order."""
        self.page.goto(self.server.url + path)
        if wait:
            expect(self.page.locator("#count-open")).not_to_have_text("–")
            expect(self.page.locator("#shown")).not_to_have_text("Loading the list…")

    def row(self, number: int) -> Locator:
        """The row of study `number` of the department."""
        return self.page.locator(f'#rows tr[data-uid="{study_uid(number)}"]')

    def uids(self) -> list[str]:
        """The rows from the top, by study UID."""
        return self.page.locator("#rows tr").evaluate_all("rows => rows.map(row => row.dataset.uid)")

    def focused(self) -> str | None:
        """The study whose row has the keyboard focus."""
        return self.page.evaluate("document.activeElement?.closest('#rows tr')?.dataset.uid ?? null")

    def opened(self) -> str | None:
        """The study named in the address."""
        _, found, uid = self.page.url.partition("/study/")
        return uid if found else None

    def text(self, selector: str) -> str:
        """What stands there."""
        return self.page.locator(selector).inner_text()

    def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def rest(self) -> None:
        """Pointer and focus away from the list: nothing holds it."""
        self.page.mouse.move(700, 10)
        self.page.evaluate("document.activeElement.blur()")

    def sideways(self) -> int:
        """By how many pixels the page could be scrolled sideways."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and NETWORK not in message.text:
            self.faults.append(f"console: {message.text}")
