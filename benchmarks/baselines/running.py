"""Runs a baseline's script in a process of its own, and checks that it did its work."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.baselines.script import Report
from benchmarks.bench import rows_in
from benchmarks.drain import DrainError
from benchmarks.machine import REPOSITORY

if TYPE_CHECKING:
    from benchmarks.bench import Bench

_MINUTES = 10


@dataclass(frozen=True, slots=True)
class Cost:
    """What a baseline cost.

    Attributes:
        report: what its script said.
        requests: to SQS, by action.
        database_url: where its rows are, until the next database is made.
    """

    report: Report
    requests: dict[str, int]
    database_url: str

    @property
    def messages(self) -> int:
        """How many it drained."""
        return self.report.messages

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.report.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of a processor for each message."""
        return self.report.cpu_seconds / self.messages * 1e6


def run(
    bench: Bench,
    script: str,
    messages: int,
    *,
    latency_ms: float = 0,
    arguments: tuple[int, ...] = (),
    fills: bool = True,
    empties: bool = True,
) -> Cost:
    """Run a script against a full queue and an empty database.

    Args:
        bench: where.
        script: its module in benchmarks.baselines.
        messages: how many wait.
        latency_ms: of SQS.
        arguments: more of the script's arguments.
        fills: it stores every row.
        empties: it deletes every message.

    Raises:
        DrainError: it failed, or left something.
    """
    database_url = bench.fresh_database()
    queue = bench.load(messages, latency_ms=latency_ms)
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            f"benchmarks.baselines.{script}",
            str(messages),
            *map(str, arguments),
        ],
        cwd=REPOSITORY,
        env=bench.environment(queue, database_url),
        capture_output=True,
        text=True,
        timeout=_MINUTES * 60,
        check=False,
    )
    requests = bench.sqs.stats().requests
    bench.sqs.latency(0)
    if ended.returncode:
        raise DrainError(f"The baseline {script} failed. The end of it:\n{ended.stderr[-2_000:]}")
    deleted, rows = len(bench.sqs.contents(queue.name).deleted), rows_in(database_url)
    if (empties and deleted != messages) or (fills and rows != queue.rows):
        raise DrainError(
            f"The baseline {script} deleted {deleted:,} of {messages:,} messages, and stored "
            f"{rows:,} of {queue.rows:,} rows.\n{ended.stderr[-2_000:]}"
        )
    return Cost(Report(**json.loads(ended.stdout)), requests, database_url)
