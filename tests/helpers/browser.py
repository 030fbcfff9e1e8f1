"""A real browser for tests of pages: an installed Chromium or Chrome, driven by playwright.

tests/conftest.py makes fixtures of these: `chromium`, and `browser_page`, which fails its test on any error of a page.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
SIZE = {"width": 1280, "height": 900}


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a headless browser; the test is skipped where there is none.

    Yields:
        `playwright.sync_api.Browser`.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="pages are tested with playwright")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"pages are tested in {' or '.join(NAMES)}: install one")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@contextmanager
def error_free_page(browser: Any, **options: Any) -> Iterator[Any]:
    """Open an empty tab, and say at its end which errors its pages reported.

    Args:
        browser: from `chromium`.
        options: of `Browser.new_context`, such as `viewport` or `color_scheme`.

    Yields:
        `playwright.sync_api.Page`.

    Raises:
        AssertionError: an exception was not caught, or something was written to the console as an error.
    """
    context = browser.new_context(**{"viewport": SIZE, **options})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert errors == []
