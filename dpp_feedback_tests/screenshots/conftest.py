"""A whole local stack with a month of traffic in it, and a browser to look at it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dpp_feedback.local import ports
from dpp_feedback_tests.screenshots.browser import Month, chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback_tests.screenshots.browser import Browser

_PATIENCE = 900  # seconds until the month is stored, rolled up and reported


@pytest.fixture(scope="session")
def pictures(request: pytest.FixtureRequest) -> Path:
    """Where they go: what `--screenshots` says."""
    folder = request.config.getoption("--screenshots")
    if folder is None:
        pytest.skip("takes minutes and a browser: `make screenshots`")
    path = Path(str(folder)).resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def browser(pictures: Path) -> Iterator[Browser]:  # noqa: ARG001 - skips first
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.fail("There is no browser. Debian: apt-get install chromium chromium-driver")
    with chromium(program, driver) as started:
        yield started


@pytest.fixture(scope="session")
def month(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:  # noqa: ARG001
    """`dpp-feedback run` over 30 days with a bounce spike, as a newcomer would start it."""
    folder = tmp_path_factory.mktemp("month")
    url = f"http://127.0.0.1:{(port := ports.free_port())}"
    command = [
        str(Path(sys.executable).with_name("dpp-feedback")),
        *("run", "--days", "30", "--incident", "bounce-spike"),
        *("--folder", str(folder / "stack"), "--port", str(port)),
        *("--postgres-port", str(ports.free_port()), "--aws-port", str(ports.free_port())),
    ]
    said = folder / "said.txt"
    root = Path(__file__).resolve().parents[2]
    with said.open("w") as output:
        started = subprocess.Popen(
            command, cwd=root, stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _PATIENCE
        while "Ctrl-C stops everything" not in said.read_text():
            assert started.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(2)
        yield Month(url, folder / "stack" / "reports", said.read_text())
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        started.wait(60)
