"""Dagster's daemon and code server are killed, as processes of their own like in Kubernetes.

Runs are processes that the code server starts, as on a laptop: there is no Kubernetes here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import dagster as dg
import psutil
import pytest
import yaml

import dpp_feedback
from benchmarks.loopback_sqs.faults import Fault
from dpp_feedback.local import ports, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dpp_feedback.local.process import Record
    from dpp_feedback_tests.faults.conftest import Queues

_PROJECT = Path(dpp_feedback.__file__).parents[1]
_CODE_LOCATION = "dpp_feedback_tests.faults.code_location"  # by name: it changes what it loads
_SECONDS = 90
_MESSAGES = 100
Status = dg.DagsterRunStatus


class Dagster:
    """A code server and a daemon over one DAGSTER_HOME.

    Args:
        home: an empty folder.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = ports.free_port()
        self._settings = yaml.safe_load((_PROJECT / "dagster.yaml").read_text())
        self._workspace = home / "workspace.yaml"
        server = {"host": ports.LOOPBACK, "port": self._port, "location_name": "dpp_feedback"}
        self._workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        self._records: list[Record] = []
        self.let_run(4)

    def let_run(self, number: int) -> None:
        """Let a daemon that starts from now on launch so many runs at a time; 0: it queues them."""
        self._settings["concurrency"]["runs"]["max_concurrent_runs"] = number
        (self._home / "dagster.yaml").write_text(yaml.safe_dump(self._settings))

    def start_code_server(self) -> psutil.Process:
        """Start it, on the port on which it was before."""
        # fmt: off
        return self._start(
            "api", "grpc", "-m", _CODE_LOCATION, "-h", ports.LOOPBACK,
            "-p", str(self._port),
        )
        # fmt: on

    def start_daemon(self) -> psutil.Process:
        """Start it; it waits for the code server by itself."""
        return self._start("daemon", "run", "-w", str(self._workspace))

    def stop(self) -> None:
        """End what was started and lives, runs among it."""
        for record in self._records:
            for left in (record, *process.session(record)):
                process.stop(left, seconds=10)

    def _start(self, *words: str) -> psutil.Process:
        module = "dagster._daemon" if words[0] == "daemon" else "dagster"
        arguments: Sequence[str] = words[1:] if words[0] == "daemon" else words
        record = process.start_detached(
            [sys.executable, "-m", module, *arguments],
            folder=_PROJECT,
            log=self._home / f"{words[0]}.log",
            env={**os.environ, "DAGSTER_HOME": str(self._home)},
        )
        self._records.append(record)
        return psutil.Process(record.pid)


@pytest.fixture
def dagster(queues: Queues, tmp_path: Path) -> Iterator[Dagster]:
    assert queues.environment  # it is set
    home = tmp_path / "dagster"
    home.mkdir()
    dagster = Dagster(home)
    yield dagster
    dagster.stop()


def test_a_daemon_and_a_code_server_that_are_killed_lose_and_double_nothing(
    dagster: Dagster, queues: Queues, tmp_path: Path
) -> None:
    server = queues.server

    def befallen() -> bool:
        return sum(server.stats().faults.values()) > 0

    def empty() -> bool:
        return queues.left() == 0

    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:

        def runs(*statuses: Status) -> int:
            return instance.get_runs_count(dg.RunsFilter(statuses=list(statuses)))

        code_server = dagster.start_code_server()
        dagster.let_run(0)
        daemon = dagster.start_daemon()

        queues.publish(_MESSAGES, seed=1)
        _wait("a run to be queued", lambda: runs(Status.QUEUED) == 1)
        daemon.kill()
        dagster.let_run(4)
        server.faults([Fault("late", "DeleteMessageBatch", seconds=3)])
        daemon = dagster.start_daemon()
        _wait("the run to acknowledge", befallen)
        daemon.kill()
        server.faults([])
        _wait("the run to end without the daemon", lambda: runs(Status.SUCCESS) == 1)
        assert empty()

        server.reset_stats()
        server.faults([Fault("hang", "GetQueueAttributes", seconds=9, times=1)])
        queues.publish(_MESSAGES, seed=2)
        daemon = dagster.start_daemon()
        _wait("the sensor to ask", befallen)
        code_server.kill()
        server.faults([])
        code_server = dagster.start_code_server()
        _wait("the sensor to go on", empty)

        server.reset_stats()
        server.faults([Fault("late", "DeleteMessageBatch", seconds=3)])
        queues.publish(_MESSAGES, seed=3)
        _wait("the run to acknowledge", befallen)
        code_server.kill()
        server.faults([])
        _wait("the run to end without its code server", empty)
        dagster.start_code_server()
        queues.publish(_MESSAGES, seed=4)
        _wait("the sensor to go on", empty)
        _wait("the runs to end", lambda: runs(Status.QUEUED, Status.STARTED) == 0)
        assert runs(Status.FAILURE, Status.CANCELED) == 0
    queues.assert_nothing_lost()


def _wait(what: str, arrived: Callable[[], bool]) -> None:
    end = monotonic() + _SECONDS
    while not arrived():
        assert monotonic() < end, f"waited {_SECONDS} s for {what}"
        sleep(0.2)
