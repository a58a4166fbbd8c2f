"""The stack of `make run`: web server, daemon and code server of `dagster dev`, sensors on.

Its queue and its table are the bench's. Settings of whoever measures do not reach it.
"""

from __future__ import annotations

from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic, sleep
from typing import TYPE_CHECKING

import dagster as dg

from dpp_feedback.ingest import process_feedback
from dpp_feedback.local import ports, process
from dpp_feedback.local.dagster_dev import DagsterDev
from dpp_feedback.local.process import Record
from dpp_feedback.resources import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import psutil

_UNDER_WAY = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


class NotInTime(Exception):
    """What was waited for did not happen."""


@dataclass(frozen=True, slots=True)
class Drained:
    """A run of process_feedback that succeeded; in seconds since 1970.

    Attributes:
        asked: when the sensor's request became a run.
        started: when RUN_START was logged.
        succeeded: when RUN_SUCCESS was.
    """

    asked: float
    started: float
    succeeded: float


@dataclass(frozen=True, slots=True)
class Live:
    """A stack that runs.

    Attributes:
        instance: its Dagster instance.
        leader: the process that leads the session of all of them.
    """

    instance: dg.DagsterInstance
    leader: Record

    def processes(self) -> list[psutil.Process]:
        """Return the living processes: `dagster dev`, all that it started, and the runs."""
        found = (record.process() for record in [self.leader, *process.session(self.leader)])
        return [one for one in found if one]

    def runs(self) -> int:
        """Count the runs so far, of whatever job."""
        return self.instance.get_runs_count()

    def quiet(self) -> bool:
        """Whether no run is queued or under way."""
        return not self.instance.get_runs_count(dg.RunsFilter(statuses=_UNDER_WAY))

    def drained(self) -> list[Drained]:
        """Return the successful runs of process_feedback, in the order in which they began."""
        records = self.instance.get_run_records(
            dg.RunsFilter(job_name=process_feedback.name, statuses=[dg.DagsterRunStatus.SUCCESS])
        )
        runs = [
            Drained(record.create_timestamp.timestamp(), record.start_time, record.end_time)
            for record in records
            if record.start_time and record.end_time
        ]
        return sorted(runs, key=lambda run: run.started)


@contextmanager
def live(
    parent: Path, settings: Mapping[str, str], workspace: Path | None = None
) -> Iterator[Live]:
    """Start a stack, and stop it in the end.

    Args:
        parent: where it makes a folder for all that it writes.
        settings: of the product.
        workspace: what it loads instead of the project.

    Raises:
        StackError: it does not start.
    """
    folder = Path(mkdtemp(prefix="live-", dir=parent))
    stack = DagsterDev(folder, ports.free_port(), *([workspace] if workspace else []))
    # The folder has no .env, from which Dagster would read other settings.
    with chdir(folder):
        stack.start({**dict.fromkeys(SETTINGS, ""), **settings, "TZ": "UTC"})
    try:
        leader = Record.read(folder / "process.json")
        assert leader is not None  # noqa: S101 - it has started
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            yield Live(instance, leader)
    finally:
        stack.stop()


def wait_for(what: str, happened: Callable[[], bool], *, seconds: float, every: float) -> None:
    """Ask again and again whether it has happened.

    Raises:
        NotInTime: it has not.
    """
    end = monotonic() + seconds
    while not happened():
        if monotonic() > end:
            raise NotInTime(f"Waited {seconds:,.0f} seconds for {what}.")
        sleep(every)
