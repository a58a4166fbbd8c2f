"""A run that is measured is a real one, and one that did not do its work is no result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg
import pytest

from benchmarks import compared, parallel, throughput
from benchmarks.bench import rows_in
from benchmarks.bodies import bodies
from benchmarks.drain import DrainError
from benchmarks.loopback_sqs import ceiling

if TYPE_CHECKING:
    from benchmarks.bench import Bench


def test_a_run_is_executed_by_dagster_and_drains_the_queue(bench: Bench) -> None:
    database_url = bench.fresh_database()
    queue = bench.load(200, latency_ms=1)
    drain = bench.drain(queue, database_url)
    assert rows_in(database_url) == queue.rows
    assert drain.requests["DeleteMessageBatch"] == 20
    assert list(drain.steps) == ["receive", "parse", "persist", "acknowledge"]
    assert 0 < drain.cpu_seconds < drain.process_cpu_seconds
    assert drain.peak_mb > 50
    with dg.DagsterInstance.from_config(str(bench.dagster_home())) as instance:
        (record,) = instance.get_run_records(limit=1)
        assert record.dagster_run.job_name == "process_feedback"
        assert record.dagster_run.status is dg.DagsterRunStatus.SUCCESS
        logged = (record.start_time, record.end_time)
        assert logged == pytest.approx((drain.started, drain.succeeded), abs=0.001)


def test_a_run_that_fails_is_no_result(bench: Bench) -> None:
    bench.postgres.create_database("not_migrated")
    queue = bench.load(10, latency_ms=0)
    with pytest.raises(DrainError, match=r"dpp-feedback migrate"):
        bench.drain(queue, bench.postgres.url("not_migrated"))


def test_a_run_that_leaves_messages_is_no_result(bench: Bench) -> None:
    queue = bench.load(50, latency_ms=0)
    with pytest.raises(DrainError, match="Of 50 messages 20 are deleted"):
        bench.drain(queue, bench.fresh_database(), max_messages=20)


def test_two_runs_side_by_side_are_measured_together(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_FEWER", 100)
    measurement = parallel.measure(bench, quick=True)
    rows = {n: sum(body.rows for body in bodies(n)) for n in (100, 200)}
    assert [row[:4] for row in measurement.tables[0].rows] == [
        [1, 100, rows[100], rows[100]],
        [2, 200, rows[200], rows[200]],
    ]


def test_everything_is_measured_at_each_latency(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, value in (
        (compared, "MESSAGES", 300),
        (throughput, "MESSAGES", 300),
        (throughput, "_FAST_MESSAGES", 100),
        (throughput, "_SLOW_MESSAGES", 20),
        (ceiling, "_REQUESTS", 50),
    ):
        monkeypatch.setattr(module, name, value)
    measurement = throughput.measure(bench, quick=True)
    rates = measurement.tables[0]
    assert rates.columns == ["", "0 ms", "10 ms"]
    assert [row[0] for row in rates.rows] == [
        compared.OURS,
        compared.TUTORIAL,
        compared.CONSUMER,
        compared.CONSUMERS,
        compared.QUEUE,
        compared.POSTGRES,
    ]
    requests = {goal.what: goal.value for goal in measurement.goals}
    assert requests["AWS requests for 1,000 messages, 300 messages, 10 ms"] == 207
    assert measurement.figures["few_messages"] == 10
