"""Takes the picture of the page for the README.

python -m tests.e2e.screenshot worklist.png                     # over an invented department
python -m tests.e2e.screenshot worklist.png --url http://127.0.0.1:8080 [--theme light] [--size 1280x800] [--study UID]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.e2e.chromium import launch
from tests.e2e.department import Department
from tests.e2e.live_server import LiveServer, SteeredClock


def picture(
    url: str, output: Path, *, theme: str = "dark", size: tuple[int, int] = (1440, 900), study: str | None = None, scale: float = 1
) -> None:
    """Opens the page under an invented reader's name, opens a study (the first by default), and writes a PNG."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, device_scale_factor=scale)
        context.add_cookies([{"name": "readfirst_reader", "value": "Dr%20Weber", "url": url}])
        context.add_init_script(f"localStorage.setItem('readfirst-theme', '{theme}')")
        page = context.new_page()
        page.goto(url)
        row = page.locator(f'#rows tr[data-uid="{study}"]' if study else "#rows tr").first
        row.click()
        page.locator("#detail .reasons").wait_for()
        page.mouse.move(size[0] // 2, 10)  # off the list, so that nothing holds it
        page.wait_for_timeout(700)
        page.screenshot(path=output)
        browser.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--url", help="a running worklist; without it an invented department is shown")
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("--size", default="1440x900")
    parser.add_argument("--study")
    given = parser.parse_args()
    width, height = (int(part) for part in given.size.split("x"))
    options = {"theme": given.theme, "size": (width, height), "study": given.study}
    if given.url:
        picture(given.url, given.output, **options)
        return
    with LiveServer(Department.busy(SteeredClock())).running() as server:
        picture(server.url, given.output, **options)


if __name__ == "__main__":
    main()
