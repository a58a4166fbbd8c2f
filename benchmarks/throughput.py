"""Messages a second: a real run of process_feedback beside other workers, at three latencies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from benchmarks import compared
from benchmarks.baselines.running import Cost, run
from benchmarks.bodies import SEED
from benchmarks.compared import CONSUMER, CONSUMERS, GOAL_AT, MESSAGES, QUEUE, TUTORIAL, At
from benchmarks.loopback_sqs.ceiling import ceiling
from benchmarks.results import Measurement, rounded

if TYPE_CHECKING:
    from benchmarks.bench import Bench

_FEW = 10  # messages: what a run finds on a quiet day
_SLOW_MESSAGES = 1_000  # of the tutorial's worker
_FAST_MESSAGES = 5_000  # of the consumer
_THREADS = (16, 32)
_HOW = """\
`process_feedback` is a real run: Dagster's own process for runs, with an instance on disk, from
RUN_START to RUN_SUCCESS as its event log has them, with the imports that the ops make in between.
The median run counts. CPU is user and system time of all threads of that process in that time. The
baselines' clocks start when they are connected. All drain the same messages from the same endpoint
into the same Postgres, and after each it is checked that every message is deleted and every row is
there once; (a) and (b) get fewer messages, since they are slow, and keep no daily counters. (c) is
the better of its numbers of threads. (d) inserts events that are parsed already, with the product's
statement, daily counters and all.

PyPI's `sqs-consumer` dates from 2015 and deletes one by one; (b) is `aws-sqs-consumer`, the
consumer there that has a batch mode. It starts no threads, so it is also given ten of ours.
"""


def measure(bench: Bench, *, quick: bool) -> Measurement:
    """Measure; takes 8 minutes, or one."""
    found = [_at(bench, latency, quick=quick) for latency in ((0, 10) if quick else (0, 10, 50))]
    bench.say("Postgres alone")
    floor = run(bench, "floor_postgres", MESSAGES, arguments=(SEED,), empties=False)
    size = _table_bytes(floor.database_url)
    bench.say(f"a run of {_FEW}")
    small = bench.drain(bench.load(_FEW, latency_ms=GOAL_AT), bench.fresh_database())
    at_goal = next(at for at in found if at.latency_ms == GOAL_AT)
    return Measurement(
        name="throughput",
        title="Messages a second",
        how=_HOW,
        goals=compared.goals(found),
        tables=compared.tables(found, floor),
        plots=[compared.plot(found)],
        binds=compared.binds(found),
        figures={
            "few_messages": _FEW,
            "few_requests": sum(small.requests.values()),
            "few_cpu_seconds": rounded(small.process_cpu_seconds),
            "many_messages": MESSAGES,
            "many_requests": sum(at_goal.typical.requests.values()),
            "many_cpu_seconds": rounded(at_goal.typical.process_cpu_seconds),
            "tutorial_requests_a_message": rounded(compared.per_message(at_goal.others[TUTORIAL])),
            "tutorial_cpu_us_a_message": rounded(at_goal.others[TUTORIAL].cpu_us),
            "tutorial_messages_a_second": rounded(at_goal.others[TUTORIAL].rate),
            "bytes_a_message": rounded(size / MESSAGES),
        },
    )


def _at(bench: Bench, latency: int, *, quick: bool) -> At:
    fewer = quick or latency > GOAL_AT  # for what is slow

    def other(script: str, messages: int, *arguments: int, fills: bool = True) -> Cost:
        bench.say(f"{latency} ms: {script} {' '.join(map(str, arguments))}")
        return run(bench, script, messages, latency_ms=latency, arguments=arguments, fills=fills)

    ours = []
    for number in range(1 if quick else 3):
        bench.say(f"{latency} ms: process_feedback, run {number + 1}")
        ours.append(bench.drain(bench.load(MESSAGES, latency_ms=latency), bench.fresh_database()))
    floors = [
        other("floor_queue", MESSAGES, threads, fills=False)
        for threads in (_THREADS[-1:] if quick else _THREADS)
    ]
    others = {
        TUTORIAL: other("tutorial", _SLOW_MESSAGES // 3 if fewer else _SLOW_MESSAGES),
        CONSUMER: other("consumer", _FAST_MESSAGES // 5 if fewer else _FAST_MESSAGES, 1),
        CONSUMERS: other("consumer", _FAST_MESSAGES, 10),
        QUEUE: max(floors, key=lambda cost: cost.rate),
    }
    bench.say(f"{latency} ms: what the endpoint can answer")
    bench.sqs.latency(latency)
    # Enough of them that the latency alone does not bound what they ask.
    answered = ceiling(bench.sqs.url, 16 + 16 * latency)
    bench.sqs.latency(0)
    return At(latency, ours, others, answered)


def _table_bytes(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT pg_total_relation_size('public.ses_feedback_events')"
        ).fetchone()
    return int(row[0]) if row else 0
