"""Opens a page in Chromium, for the benchmarks of pages."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPENINGS = 3


def openings(page: Path) -> Iterator[tuple[Any, float]]:
    """Open a page three times. Yields each tab and the seconds until the page was ready; nothing without a browser."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("no chromium or no playwright: the page was not opened")
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(OPENINGS):
            tab = browser.new_page()
            started = time.perf_counter()
            tab.goto(page.as_uri())
            tab.wait_for_selector("html[data-ready=yes]")
            yield tab, time.perf_counter() - started
            tab.close()
        browser.close()


def read_text(tab: Any, number: int, id: str) -> float:
    """Open a text in the page's reader by its address. Returns the seconds until it is shown.

    Args:
        tab: From ``openings``.
        number: Place of the text in the page, from 0.
        id: The id that the reader then shows.
    """
    started = time.perf_counter()
    tab.evaluate("place => { location.hash = 'text-' + (place + 1) }", number)
    tab.wait_for_function("id => document.querySelector('#detail code')?.textContent === id", arg=id)
    return time.perf_counter() - started
