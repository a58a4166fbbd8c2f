"""Dagster's web server and daemon for `dpp-feedback run`: `dagster dev`, in a folder that stays.

What Dagster loads is in workspace.yaml and dagster.yaml of the project.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dpp_feedback
from dpp_feedback.local import ports, process
from dpp_feedback.local.errors import StackError
from dpp_feedback.local.process import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

_READY_SECONDS = 120.0
_PROJECT = Path(dpp_feedback.__file__).parents[1]


class DagsterDev:
    """One `dagster dev`.

    Args:
        folder: its DAGSTER_HOME; made when missing. Runs and their logs stay in it.
        port: of the web server, on 127.0.0.1.
        workspace: what it loads: the project.
    """

    def __init__(
        self, folder: Path, port: int, workspace: Path = _PROJECT / "workspace.yaml"
    ) -> None:
        self._workspace = workspace
        self._folder = folder
        self._port = port
        self._log = folder / "dagster-dev.log"
        self._record = folder / "process.json"
        self.url = f"http://{ports.LOOPBACK}:{port}"

    def start(self, settings: Mapping[str, str]) -> None:
        """Start it, and wait until the web server answers.

        One that an earlier, killed command left behind is stopped first.

        Args:
            settings: the product's, for the environment of the runs.

        Raises:
            StackError: this is no clone of the project, the port is taken, or it does not start.
        """
        if not self._workspace.exists():
            raise StackError(f"{_PROJECT} is no clone of the project: clone it, and try there.")
        self.stop()
        ports.require_free(self._port, "--port")
        self._folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(_PROJECT / "dagster.yaml", self._folder)
        # fmt: off
        command = [
            sys.executable, "-m", "dagster", "dev", "--workspace", str(self._workspace),
            "--host", ports.LOOPBACK, "--port", str(self._port),
        ]
        # fmt: on
        record = process.start_detached(
            command,
            folder=Path.cwd(),  # Dagster reads .env from there, and lets it go first
            log=self._log,
            env={**os.environ, **settings, "DAGSTER_HOME": str(self._folder)},
        )
        record.write(self._record)
        deadline = time.monotonic() + _READY_SECONDS
        while not ports.serves(self._port, "/server_info"):
            self.require_running()
            if time.monotonic() > deadline:
                raise StackError(f"Dagster does not answer at {self.url}: see {self._log}.")
            time.sleep(0.2)

    def require_running(self) -> None:
        """Return if it lives.

        Raises:
            StackError: it has ended.
        """
        record = Record.read(self._record)
        if record is None or record.process() is None:
            raise StackError(f"Dagster has ended: see the end of {self._log}.")

    def stop(self) -> None:
        """Stop it with all it started: web server, daemon, code server, runs.

        They are of one session, the one that it leads, even when it was killed itself.
        """
        record = Record.read(self._record)
        if record:
            process.stop(record, politely=signal.SIGINT)
            for left in process.session(record):
                process.stop(left, seconds=5)
        self._record.unlink(missing_ok=True)
