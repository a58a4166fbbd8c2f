"""The process of a run, which stops at a named moment and waits to be killed or let go.

What runs in it is `dagster api execute_run`, as K8sRunLauncher starts it in a pod. Dagster and the
project are imported once, in multiprocessing's fork server: a test then waits a second instead of
five.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from itertools import count
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._cli import cli as dagster_command
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import serialize_value

from dpp_feedback import drained, queue, receiving, store
from dpp_feedback.ingest import process_feedback
from dpp_feedback.queue import Queue
from dpp_feedback.rejects import Rejects
from dpp_feedback.store import Store

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.connection import Connection

SECONDS = 60  # until whoever waits for a process gives up

_JOB = ReconstructableJob(
    ReconstructableRepository.for_module("dpp_feedback.definitions", "defs"), process_feedback.name
)
_JOB.get_definition()
_fork_server = get_context("forkserver")
_fork_server.set_forkserver_preload([__name__, "aiohttp", "boto3", "psycopg"])


def new_run(instance: dg.DagsterInstance, **config: int) -> tuple[str, list[str]]:
    """Make a run of process_feedback that nobody executes yet.

    Args:
        instance: Dagster's, with storage on disk.
        config: fields of its `ReceiveConfig`.

    Returns:
        Its id, and the arguments with which `dagster` executes it.
    """
    ops = {"ses_feedback_events": {"ops": {"receive_messages": {"config": config}}}}
    origin = _JOB.get_python_origin()
    run_id = instance.create_run_for_job(
        _JOB.get_definition(), run_config={"ops": ops}, job_code_origin=origin
    ).run_id
    return run_id, [
        "api",
        "execute_run",
        serialize_value(ExecuteRunArgs(origin, run_id, instance.get_ref())),
    ]


class RunWorker:
    """One run of process_feedback, begun in a process of its own.

    Args:
        instance: Dagster's, with storage on disk.
        environment: the product's settings.
        moment: one of `MOMENTS`.
        config: fields of its `ReceiveConfig`.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        environment: Mapping[str, str],
        moment: str,
        **config: int,
    ) -> None:
        self._instance = instance
        self.run_id, arguments = new_run(instance, **config)
        self._told, theirs = _fork_server.Pipe()
        self._process = _fork_server.Process(
            target=_execute, args=(arguments, dict(environment), moment, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    @property
    def run(self) -> dg.DagsterRun:
        """What Dagster says of the run."""
        run = self._instance.get_run_by_id(self.run_id)
        assert run
        return run

    def wait_for_moment(self) -> None:
        """Return when the process has stopped there."""
        assert self._told.poll(SECONDS), "the run did not come to its moment"
        self._told.recv()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process.pid
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, and only it."""
        os.kill(self.pid, number)

    def let_go(self) -> None:
        """Let it go on, if it lives."""
        with suppress(OSError):
            self._told.send(None)

    def wait_for_end(self) -> int:
        """Return its exit code: minus the signal that killed it."""
        self._process.join(SECONDS)
        assert self._process.exitcode is not None, "the run's process hangs"
        self._told.close()
        return self._process.exitcode


class _Gate:
    """Where the process stops."""

    def __init__(self, told: Connection) -> None:
        self._told = told

    def stop(self) -> None:
        self._told.send(None)
        self._told.recv()


def _before(owner: Any, name: str, number: int, gate: _Gate) -> None:
    """Stop before the `number`-th call of a function."""
    original, calls = getattr(owner, name), count(1)

    def stopping(*arguments: Any, **named: Any) -> Any:
        if next(calls) == number:
            gate.stop()
        return original(*arguments, **named)

    setattr(owner, name, stopping)


def _answered(owner: Any, name: str, number: int, gate: _Gate) -> None:
    """Stop when the `number`-th call of a coroutine function has its answer, and its loop too."""
    original, calls = getattr(owner, name), count(1)

    async def stopping(*arguments: Any, **named: Any) -> Any:
        answer = await original(*arguments, **named)
        if next(calls) == number:
            gate.stop()
        return answer

    setattr(owner, name, stopping)


def _told(kind: dg.DagsterEventType, step: str | None, gate: _Gate) -> None:
    """Stop before Dagster stores an event."""
    original = dg.DagsterInstance.handle_new_event

    def stopping(self: dg.DagsterInstance, entry: dg.EventLogEntry, **named: Any) -> None:
        if (
            entry.dagster_event
            and entry.dagster_event.event_type is kind
            and (step is None or str(entry.step_key).endswith(step))
        ):
            gate.stop()
        original(self, entry, **named)

    dg.DagsterInstance.handle_new_event = stopping  # type: ignore[assignment, method-assign]


_DONE = partial(_told, dg.DagsterEventType.STEP_SUCCESS)
MOMENTS: Mapping[str, Callable[[_Gate], None]] = {
    "before receiving": partial(_before, Queue, "depth", 1),
    "while receiving": partial(_answered, Queue, "receive_some", 5),
    "after receiving": partial(_DONE, "receive_messages"),
    "while parsing": partial(_before, drained, "parse", 150),
    "after parsing": partial(_DONE, "parse_messages"),
    "between two batches": partial(_before, Store, "_insert", 3),
    "before recording rejects": partial(_before, Rejects, "record", 1),
    "after persisting": partial(_DONE, "persist_events"),
    "while acknowledging": partial(_answered, Queue, "_send", 5),
    "before handing back": partial(_before, Queue, "release", 1),
    "after acknowledging": partial(_DONE, "acknowledge_messages"),
    "before success": partial(_told, dg.DagsterEventType.RUN_SUCCESS, None),
}
"""Where a run can be stopped, in the order in which it comes there."""


def _execute(
    arguments: Sequence[str], environment: Mapping[str, str], moment: str, told: Connection
) -> None:
    os.environ.update(environment)
    # So that a few hundred messages have a middle.
    for module in (receiving, queue):
        vars(module).update(AT_A_TIME=2)
    store.BATCH = 100
    MOMENTS[moment](_Gate(told))
    dagster_command.main(arguments, standalone_mode=False)
