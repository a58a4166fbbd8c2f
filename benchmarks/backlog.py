"""A backlog, drained by the runs that the sensor asks for, against one run alone."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.live import live, wait_for
from benchmarks.results import Goal, Measurement, Table, rounded

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.live import Drained

_FULL, _QUICK = 200_000, 20_000
_ALONE, _TIMES = 10_000, 3
_LATENCY_MS = 10
_PART_OF_ONE_RUN = 0.8
_SECONDS = 900
_HOW = """\
A queue with {messages:,} messages, at {latency} ms, is found by `feedback_queue_sensor` of a whole
stack (`dagster dev`: web server, daemon, code server) with the settings of a new installation. The
rate is all messages through the seconds from the first run's RUN_START to the last one's
RUN_SUCCESS, so the time between runs counts: the sensor's interval, the run queue, the start of a
process. Beside it single runs of {alone:,} messages, executed alone right before, {times} of them,
of which the median counts. Each message is deleted in the end, and each row is there once.
"""
_BINDS = """\
The time between runs. The runs themselves took {busy} of {seconds} seconds (runs side by side
counted once); in the others nothing was drained: a run waited for the sensor's next look, for the
run queue's, or for its process to start.
"""


def measure(bench: Bench, *, quick: bool) -> Measurement:
    """Drain one run's worth alone, then the backlog."""
    bench.say(f"backlog: one run of {_ALONE:,}")
    alone = median(_alone(bench) for _ in range(1 if quick else _TIMES))
    messages = _QUICK if quick else _FULL
    bench.say(f"backlog: {messages:,} messages, drained by the sensor's runs")
    return summed_up(messages, alone, drained(bench, messages), quick=quick)


def drained(bench: Bench, messages: int) -> list[Drained]:
    """Let a whole stack drain a backlog; return its runs.

    Raises:
        NotInTime: it took longer than a quarter of an hour.
        DrainError: a message is left, or a row is missing.
    """
    queue, database_url = bench.load(messages, latency_ms=_LATENCY_MS), bench.fresh_database()
    settings = {**queue.environment, "DATABASE_URL": database_url}
    with live(bench.folder, settings) as stack:
        wait_for(
            "the backlog to be drained",
            lambda: bench.sqs.stats().deleted >= messages and stack.quiet(),
            seconds=_SECONDS,
            every=0.5,
        )
        runs = stack.drained()
    bench.require_drained(queue, database_url)
    return runs


def summed_up(messages: int, alone: float, runs: list[Drained], *, quick: bool) -> Measurement:
    """Make the tables, and say what binds."""
    first = runs[0].started
    seconds = max(run.succeeded for run in runs) - first
    rate = messages / seconds
    goal = Goal(
        f"a backlog of {messages:,}, drained by the sensor's runs, against one run",
        rounded(rate / alone, 2),
        "of its rate",
        _PART_OF_ONE_RUN,
        at_least=True,
    )
    return Measurement(
        name="backlog",
        title="A backlog, drained by the sensor's runs",
        how=_HOW.format(
            messages=messages,
            latency=_LATENCY_MS,
            alone=_ALONE,
            times=1 if quick else _TIMES,
        ),
        goals=[] if quick else [goal],
        tables=[
            Table(
                f"{messages:,} messages that wait",
                ["", "messages a second", "seconds"],
                [
                    ["one run alone", rounded(alone), rounded(_ALONE / alone)],
                    [f"{len(runs)} runs of the sensor's", rounded(rate), rounded(seconds)],
                ],
            ),
            Table(
                "Its runs, in seconds since the first RUN_START",
                ["run", "asked for", "RUN_START", "RUN_SUCCESS"],
                [
                    [number, *(round(moment - first, 1) for moment in
                               (run.asked, run.started, run.succeeded))]
                    for number, run in enumerate(runs, start=1)
                ],
            ),
        ],
        binds=""
        if goal.met or quick
        else _BINDS.format(busy=rounded(busy_seconds(runs)), seconds=rounded(seconds)),
    )  # fmt: skip


def busy_seconds(runs: list[Drained]) -> float:
    """Sum up the time in which at least one of the runs was between RUN_START and RUN_SUCCESS."""
    busy = end = 0.0
    for run in sorted(runs, key=lambda run: run.started):
        busy += max(run.succeeded - max(run.started, end), 0)
        end = max(end, run.succeeded)
    return busy


def _alone(bench: Bench) -> float:
    queue = bench.load(_ALONE, latency_ms=_LATENCY_MS)
    return bench.drain(queue, bench.fresh_database()).rate
