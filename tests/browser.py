"""A real headless Chromium to look at pages with."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@dataclass(frozen=True)
class Browser:
    """Opens pages from disk."""

    driver: webdriver.Chrome

    def open(self, page: Path, width: int, *, dark: bool = False) -> None:
        """Open a page in a window of this width."""
        scheme = "dark" if dark else "light"
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        self.driver.get(page.absolute().as_uri())

    def run(self, script: str) -> Any:
        """What a piece of JavaScript returns."""
        return self.driver.execute_script(script)

    def open_details(self) -> None:
        """Unfold all that is folded, and wait until it is drawn."""
        self.driver.execute_async_script(
            """document.querySelectorAll('details').forEach(each => each.open = true);
            const done = arguments[0];
            requestAnimationFrame(() => requestAnimationFrame(() => done()));"""
        )

    def errors(self) -> list[str]:
        """What the console has said since it was last asked: script errors, files not found."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium; the test fails, naming the packages, where there is none."""
    found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in found:
        pytest.fail(
            "this test looks at pages in a real browser: apt-get install chromium chromium-driver",
            pytrace=False,
        )
    options = webdriver.ChromeOptions()
    options.binary_location = str(found[0])
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options, webdriver.ChromeService(str(found[1])))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
