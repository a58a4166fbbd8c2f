"""One real run of process_feedback, in a process of its own, on an instance with a database."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import serialize_value

from benchmarks.machine import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

_MINUTES = 10


class DrainError(Exception):
    """A run did not do what is measured."""


@dataclass(frozen=True, slots=True)
class Drain:
    """What a run cost.

    Attributes:
        messages: that it stored and acknowledged.
        started: when RUN_START was logged, in seconds since 1970.
        succeeded: when RUN_SUCCESS was.
        cpu_seconds: of its process between the two: user and system, of all threads.
        process_seconds: of the process, once Dagster is imported.
        process_cpu_seconds: of the process from its beginning, imports and all.
        peak_mb: the most memory it had resident, in MB.
        steps: seconds by op.
        requests: requests to SQS by action, of all runs that were side by side.
        servers_cpu_seconds: what Postgres and SQS used meanwhile, for all of these runs.
    """

    messages: int
    started: float
    succeeded: float
    cpu_seconds: float
    process_seconds: float
    process_cpu_seconds: float
    peak_mb: float
    steps: dict[str, float]
    requests: dict[str, int]
    servers_cpu_seconds: float

    @property
    def seconds(self) -> float:
        """From RUN_START to RUN_SUCCESS."""
        return self.succeeded - self.started

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of a processor for each message, between RUN_START and RUN_SUCCESS."""
        return self.cpu_seconds / self.messages * 1e6


class RunWorker:
    """A run, created in an instance and executed in a process: `with RunWorker(...) as worker`.

    Args:
        home: the instance's folder, with a dagster.yaml.
        environment: of the process; the whole of it.
        max_messages: of the run; None: the default.
    """

    def __init__(
        self, home: Path, environment: Mapping[str, str], max_messages: int | None = None
    ) -> None:
        self._environment = {**environment, "DAGSTER_HOME": str(home)}
        with dg.DagsterInstance.from_config(str(home)) as instance:
            run, arguments = _create(instance, max_messages)
        self._file = home / f"costs-{run}.json"
        self._log = home / f"run-{run}.log"
        self._command = [
            sys.executable, "-m", "benchmarks.run_worker", str(self._file), arguments,
        ]  # fmt: skip

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=REPOSITORY,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self) -> None:
        """Let it execute the run, once Dagster is imported."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe, as the next
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdout.readline()
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def costs(self) -> dict[str, Any]:
        """Wait for it to end, and return what it noted.

        Raises:
            DrainError: the run failed.
        """
        self._process.communicate(timeout=_MINUTES * 60)
        costs = json.loads(self._file.read_text()) if self._file.exists() else {}
        if "success" not in costs:
            end = self._log.read_text(errors="replace")[-2_000:]
            raise DrainError(f"The run did not succeed. The end of its output:\n{end}")
        return costs


def execute(workers: Sequence[RunWorker]) -> list[dict[str, Any]]:
    """Execute runs side by side; they begin together."""
    with ExitStack() as stack:
        for worker in workers:
            stack.enter_context(worker)
        for worker in workers:
            worker.begin()
        return [worker.costs() for worker in workers]


def drain(
    costs: Mapping[str, Any], messages: int, requests: Mapping[str, int], servers: float
) -> Drain:
    """Sum up what a worker noted."""
    start, success = costs["start"], costs["success"]
    return Drain(
        messages=messages,
        started=start["at"],
        succeeded=success["at"],
        cpu_seconds=success["cpu"] - start["cpu"],
        process_seconds=costs["process_seconds"],
        process_cpu_seconds=costs["process_cpu_seconds"],
        peak_mb=costs["peak_mb"],
        steps=costs["steps"],
        requests=dict(requests),
        servers_cpu_seconds=servers,
    )


def _create(instance: dg.DagsterInstance, max_messages: int | None) -> tuple[str, str]:
    """Create a run, as a launcher finds it; return its id and the arguments of its process."""
    repository = ReconstructableRepository.for_module("dpp_feedback.definitions", "defs")
    job = repository.get_reconstructable_job("process_feedback")
    origin = job.get_python_origin()
    config = {} if max_messages is None else {"max_messages": max_messages}
    ops = {"receive_messages": {"config": config}}
    run = instance.create_run_for_job(
        job.get_definition(),
        run_config={"ops": {"ses_feedback_events": {"ops": ops}}},
        job_code_origin=origin,
    )
    arguments = ExecuteRunArgs(
        job_origin=origin,
        run_id=run.run_id,
        instance_ref=instance.get_ref(),
        set_exit_code_on_failure=True,
    )
    return run.run_id, serialize_value(arguments)
