"""Two drains side by side against one: how much faster, and no row twice."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.bench import rows_in
from benchmarks.results import Goal, Measurement, Table, rounded

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.drain import Drain

_LATENCY = 10
_MESSAGES, _FEWER = 30_000, 10_000  # of each run


def measure(bench: Bench, *, quick: bool) -> Measurement:
    """Measure; takes a minute, or 20 seconds."""
    share = _FEWER if quick else _MESSAGES
    one, two = (_drained(bench, runs, share) for runs in (1, 2))
    ratio = rounded(two.rate / one.rate)
    goal = Goal("two drains side by side against one", ratio, "times", 1.6, at_least=True)
    return Measurement(
        name="parallel",
        title="Two runs side by side",
        how=f"At {_LATENCY} ms, from the first RUN_START to the last RUN_SUCCESS. After both it "
        "was checked that each message was deleted, and each row there once.",
        goals=[goal],
        tables=[
            Table(
                "One run and two",
                [
                    *("runs", "messages", "rows they hold", "rows stored"),
                    *("seconds", "messages/s"),
                    *("their CPU seconds", "CPU seconds of Postgres and SQS"),
                ],
                [
                    [
                        len(found.drains),
                        found.messages,
                        found.rows_expected,
                        found.rows_stored,
                        rounded(found.seconds),
                        rounded(found.rate),
                        rounded(found.cpu_seconds),
                        rounded(found.drains[0].servers_cpu_seconds),
                    ]
                    for found in (one, two)
                ],
            )
        ],
        binds="" if goal.met else _binds(two),
    )


@dataclass(frozen=True, slots=True)
class _Drained:
    drains: list[Drain]
    rows_expected: int
    rows_stored: int

    @property
    def messages(self) -> int:
        return sum(drain.messages for drain in self.drains)

    @property
    def seconds(self) -> float:
        return max(d.succeeded for d in self.drains) - min(d.started for d in self.drains)

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def cpu_seconds(self) -> float:
        return sum(drain.cpu_seconds for drain in self.drains)


def _drained(bench: Bench, runs: int, share: int) -> _Drained:
    bench.say(f"{runs} of {share:,} side by side")
    queue, database_url = bench.load(runs * share, latency_ms=_LATENCY), bench.fresh_database()
    drains = bench.drain_side_by_side(queue, database_url, runs, max_messages=share)
    return _Drained(drains, queue.rows, rows_in(database_url))


def _binds(found: _Drained) -> str:
    servers, cores = found.drains[0].servers_cpu_seconds, os.cpu_count() or 1
    busy = (found.cpu_seconds + servers) / (cores * found.seconds)
    return (
        f"In {rounded(found.seconds)} seconds the two runs used {rounded(found.cpu_seconds)} "
        "seconds of processors, and Postgres and the benchmark's SQS, which share the machine with "
        f"them, {rounded(servers)}: {rounded(busy * 100)} % of what {cores} cores have."
    )
