"""Headless Chromium, driven by Selenium: what a page says, and how it looks. No tests."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as expected
from selenium.webdriver.support.wait import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from selenium.webdriver.chrome.webdriver import WebDriver

_PATIENCE = 40  # seconds; pages ask the server for most of what they show


@dataclass(frozen=True)
class Month:
    """A running stack with a month in it: Dagster's URL, the reports, and what was printed."""

    url: str
    reports: Path
    said: str


@dataclass(frozen=True)
class Browser:
    """One Chromium for all pages."""

    driver: WebDriver

    def open(self, url: str, width: int, height: int) -> None:
        self.driver.set_window_size(width, height)
        self.driver.get(url)

    def click(self, text: str) -> None:
        """Click on the first link or button that says so."""
        there = f"//*[self::a or self::button][normalize-space(.)='{text}']"
        wait = WebDriverWait(self.driver, _PATIENCE)
        found = wait.until(expected.presence_of_element_located((By.XPATH, there)))
        self.driver.execute_script("arguments[0].click()", found)

    def missing(self, words: Sequence[str]) -> list[str]:
        """Wait until the page has loaded and shows all words; return those that it does not."""

        def lacking() -> list[str]:
            text = self.driver.find_element(By.TAG_NAME, "body").text
            return [word for word in words if word not in text] + ["Loading"] * ("Loading" in text)

        try:
            WebDriverWait(self.driver, _PATIENCE).until(lambda _: not lacking())
        except TimeoutException:
            return lacking()
        return []

    def shoot(self, picture: Path) -> None:
        self.driver.save_screenshot(str(picture))


@contextmanager
def chromium(program: str, driver: str) -> Iterator[Browser]:
    """Start one, and end it."""
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()
