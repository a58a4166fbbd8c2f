"""The processes that drain side by side: one that stays, and one after another beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.machine import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from threading import Event

_EXECUTE = [sys.executable, "-m", "dagster", "job", "execute", "-m", "dpp_feedback.definitions"]
PAUSE = 0.5  # seconds between two runs; the sensor waits longer


class LongLived:
    """A process that drains each time it is told to: `with LongLived(...) as worker`.

    Args:
        environment: of the process; the whole of it.
        log: where its output goes.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.soak.worker"],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        self._log = log
        self.samples: list[dict[str, Any]] = []

    def drain(self) -> bool:
        """Let it execute one run; note what it holds then, and tell whether the run succeeded.

        Raises:
            RuntimeError: the process has ended.
        """
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe, as the next
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process that drains has ended: see the end of {self._log}.")
        self.samples.append(json.loads(line))
        return bool(self.samples[-1]["success"])

    def go_on(self, ended: Event) -> None:
        """Drain until the end, one run after another."""
        while not ended.is_set():
            self.drain()
            ended.wait(PAUSE)

    def close(self) -> None:
        """End it."""
        self._process.communicate()


class Fresh:
    """Runs in processes of their own, one after another, as Dagster's command executes them.

    Args:
        environment: of the processes; the whole of it.
        log: where their output goes.

    Attributes:
        runs: those that ended: how many succeeded, failed, and were killed.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()
        self.runs = {"succeeded": 0, "failed": 0, "killed": 0}

    def run(self, job: str, *config: Path) -> int:
        """Execute one run, with files of run config; return how its process ended."""
        with self._log.open("ab") as output:
            process = subprocess.Popen(
                [*_EXECUTE, "-j", job, *(word for path in config for word in ("-c", str(path)))],
                cwd=REPOSITORY,
                env=self._environment,
                stdout=output,
                stderr=output,
            )
        with self._lock:
            self._process = process
        code = process.wait()
        with self._lock:
            self._process = None
        return code

    def go_on(self, ended: Event) -> None:
        """Drain until the end, one process after another."""
        while not ended.is_set():
            code = self.run("process_feedback")
            name = "succeeded" if code == 0 else "failed" if code > 0 else "killed"
            self.runs[name] += 1
            ended.wait(PAUSE)

    def kill(self, ended: Event) -> None:
        """Send SIGKILL to a process that is at work: it has a connection, to SQS or Postgres."""
        while not ended.wait(0.05):
            with self._lock:
                if self._process is not None and _is_connected(self._process.pid):
                    self._process.kill()
                    return


def _is_connected(pid: int) -> bool:
    with suppress(psutil.Error):  # it may end now
        return bool(psutil.Process(pid).net_connections(kind="tcp"))
    return False
