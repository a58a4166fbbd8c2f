"""The disk with Dagster's own storage is full, or takes no logs; the events go to Postgres."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import dagster as dg
import pytest

from dpp_feedback_tests.faults.run_worker import RunWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dpp_feedback_tests.faults.conftest import Queues

MESSAGES = 300


class Disk(Protocol):
    """Where Dagster keeps its runs; nothing can be written to it once it is full."""

    folder: Path

    def fill(self, worker: RunWorker) -> None:
        """Let it be full for a process."""

    def free(self) -> None:
        """Let there be room again."""


class TmpFs:
    """A real one, of 16 MiB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, worker: RunWorker) -> None:  # noqa: ARG002 - it is full for everybody
        with self._filler.open("wb", buffering=0) as filler:
            for size in (65_536, 1):
                try:
                    while filler.write(bytes(size)):
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        self._filler.unlink()


class Limit:
    """Stands in for a full disk where nobody may mount one: the process can write to no file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, worker: RunWorker) -> None:
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (0, 0))

    def free(self) -> None:
        """Other processes never noticed."""


@pytest.fixture(params=[TmpFs, Limit])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    make: Callable[[Path], Disk] = request.param
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param is Limit:
        if sys.platform != "linux":
            pytest.skip("only Linux limits another process")
        yield make(folder)
        return
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root may mount a small disk, and not in every container")
    yield make(folder)
    subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    ("moment", "stored"),
    [("before receiving", False), ("after parsing", False), ("after persisting", True)],
)
def test_a_full_disk_ends_a_run_and_another_finishes_its_work(
    moment: str, stored: bool, disk: Disk, queues: Queues
) -> None:
    keys = queues.publish(MESSAGES).keys
    with dg.DagsterInstance.local_temp(str(disk.folder)) as instance:
        worker = RunWorker(instance, queues.environment, moment, max_messages=MESSAGES)
        worker.wait_for_moment()
        disk.fill(worker)
        worker.let_go()
        worker.wait_for_end()
        assert not queues.server.contents(queues.queue).deleted
        assert queues.account().rows == (len(keys) if stored else 0)
        disk.free()
        assert worker.run.status is dg.DagsterRunStatus.STARTED, "its end could not be written"
        queues.tick()
        _succeed(instance, queues)
    queues.assert_nothing_lost()


def test_a_folder_for_logs_that_takes_none_stops_no_run(queues: Queues, tmp_path: Path) -> None:
    queues.publish(MESSAGES)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        (tmp_path / "storage").touch()  # no folder; a mode would not keep root from writing
        _succeed(instance, queues)
    queues.assert_nothing_lost()


def _succeed(instance: dg.DagsterInstance, queues: Queues) -> None:
    """Drain in a process of its own, which reads Dagster's storage anew."""
    worker = RunWorker(instance, queues.environment, "before success", max_messages=MESSAGES)
    worker.wait_for_moment()
    worker.let_go()
    assert worker.wait_for_end() == 0
    assert worker.run.status is dg.DagsterRunStatus.SUCCESS
