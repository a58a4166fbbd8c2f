"""Headless Chromium: what a page says once its scripts have run, and how it looks. No tests."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LOADED = 20_000  # milliseconds of the page's own clock, which runs ahead while it waits


@dataclass(frozen=True)
class Month:
    """A running stack with a month in it: Dagster's URL, the reports, and what was printed."""

    url: str
    reports: Path
    said: str


@dataclass(frozen=True)
class Browser:
    """One Chromium; each page is opened afresh."""

    program: str

    def text(self, url: str) -> str:
        """The page's HTML after its scripts have run."""
        return self._run(url, "--dump-dom", size=(1500, 1200)).stdout

    def shoot(self, url: str, picture: Path, size: tuple[int, int]) -> None:
        """Take a picture, width and height in pixels."""
        self._run(url, f"--screenshot={picture}", size=size)

    def _run(self, url: str, what: str, size: tuple[int, int]) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as profile:
            return subprocess.run(
                [
                    self.program,
                    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                    *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                    *("--disable-component-update", "--disable-quic"),
                    f"--user-data-dir={profile}",
                    f"--window-size={size[0]},{size[1]}",
                    f"--virtual-time-budget={_LOADED}",
                    what,
                    url,
                ],
                check=True,
                capture_output=True,
                text=True,
                timeout=120,
            )
