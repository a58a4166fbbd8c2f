"""How long a message takes to become a row while nothing else happens."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from math import ceil
from random import Random
from time import sleep, time
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks.bodies import bodies
from benchmarks.live import live, wait_for
from benchmarks.results import Goal, Measurement, Table, rounded
from dpp_feedback.sensors import feedback_queue_sensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench, Queue
    from benchmarks.live import Live

_FULL, _QUICK = 12, 1
_LATENCY_MS = 10
_QUIET_SECONDS = 5  # before the next message may come
_SECONDS = 300
_AT_MOST, _RUN_AT_MOST = 45, 6
_SEED = 11
_INTERVAL = feedback_queue_sensor.minimum_interval_seconds or 30
_HOW = """\
A whole stack (`dagster dev`) with an empty queue, at {latency} ms. One message at a time,
{messages} in all, is put into the queue, at a moment that is random against the sensor's interval
of {interval} seconds, and the table is asked five times a second whether its row is committed. The
run's own time is from when Dagster created it to RUN_SUCCESS, with the wait in the run queue and
the start of its process.
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message's way; in seconds.

    Attributes:
        to_row: from its arrival in the queue until its row was seen.
        of_run: from the creation of the run that took it to RUN_SUCCESS.
        of_ops: from RUN_START to RUN_SUCCESS.
    """

    to_row: float
    of_run: float
    of_ops: float


def measure(bench: Bench, *, quick: bool) -> Measurement:
    """Send one message at a time."""
    messages = _QUICK if quick else _FULL
    bench.say(f"arrival: one message at a time, {messages} in all")
    return summed_up(arrivals(bench, messages, _INTERVAL), quick=quick)


def arrivals(bench: Bench, messages: int, within: float) -> list[Arrival]:
    """Send messages one by one, each when the one before is done and all is quiet again.

    Args:
        bench: the bench.
        messages: how many.
        within: a message comes at a random moment of so many seconds.

    Raises:
        NotInTime: a message has not become a row in five minutes.
    """
    queue, database_url = bench.load(0, latency_ms=_LATENCY_MS), bench.fresh_database()
    rng = Random(_SEED)  # noqa: S311 - a benchmark must be repeatable
    settings = {**queue.environment, "DATABASE_URL": database_url}
    with (
        live(bench.folder, settings) as stack,
        closing(psycopg.connect(database_url, autocommit=True)) as database,
    ):
        # The first look at the dead-letter queue is a run too.
        wait_for("the first runs", lambda: bool(stack.runs()), seconds=_SECONDS, every=0.5)
        waits = [_QUIET_SECONDS + rng.uniform(0, within) for _ in range(messages)]
        return [
            _arrival(bench, queue, stack, database, (number, wait))
            for number, wait in enumerate(waits)
        ]


def summed_up(came: Sequence[Arrival], *, quick: bool) -> Measurement:
    """Make the table."""
    rows = [
        ("from its arrival in the queue to its row", [one.to_row for one in came]),
        ("of this the run, from its creation", [one.of_run for one in came]),
        ("of this RUN_START to RUN_SUCCESS", [one.of_ops for one in came]),
    ]
    arrival, run = (rounded(percentile(values, 95)) for _, values in rows[:2])
    what = "95th percentile, quiet system"
    return Measurement(
        name="arrival",
        title="From a message's arrival to its row",
        how=_HOW.format(latency=_LATENCY_MS, messages=len(came), interval=_INTERVAL),
        goals=[]
        if quick
        else [
            Goal(f"from arrival to row, {what}", arrival, "s", _AT_MOST, at_least=False),
            Goal(f"of this the run itself, {what}", run, "s", _RUN_AT_MOST, at_least=False),
        ],
        tables=[
            Table(
                f"Seconds from arrival to row, messages: {len(came)}",
                ["", "median", "95th percentile", "longest"],
                [
                    [name, *(rounded(percentile(values, part)) for part in (50, 95, 100))]
                    for name, values in rows
                ],
            )
        ],
    )


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest of the values that so many percent of them do not exceed."""
    return sorted(values)[max(ceil(len(values) * part / 100), 1) - 1]


def _arrival(
    bench: Bench,
    queue: Queue,
    stack: Live,
    database: psycopg.Connection[Any],
    message: tuple[int, float],
) -> Arrival:
    number, wait = message
    wait_for("the runs to end", stack.quiet, seconds=_SECONDS, every=0.5)
    before, runs = _rows(database), len(stack.drained())
    sleep(wait)
    (body,) = bodies(1, seed=_SEED + number)
    sent = time()
    bench.sqs.load(queue.name, [body.text])
    wait_for("the row", lambda: _rows(database) > before, seconds=_SECONDS, every=0.2)
    to_row = time() - sent
    wait_for("the run to end", lambda: len(stack.drained()) > runs, seconds=_SECONDS, every=0.2)
    run = stack.drained()[-1]
    return Arrival(to_row, run.succeeded - run.asked, run.succeeded - run.started)


def _rows(database: psycopg.Connection[Any]) -> int:
    row = database.execute("SELECT count(*) FROM public.ses_feedback_events").fetchone()
    return int(row[0]) if row else 0
