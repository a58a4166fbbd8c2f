"""Each baseline does all of its work: it is no baseline otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.baselines.running import run
from benchmarks.bench import rows_in
from benchmarks.bodies import SEED, bodies
from benchmarks.drain import DrainError

if TYPE_CHECKING:
    from benchmarks.bench import Bench

MESSAGES = 100
ROWS = sum(body.rows for body in bodies(MESSAGES))


def test_the_tutorials_worker_stores_and_deletes_one_by_one(bench: Bench) -> None:
    cost = run(bench, "tutorial", MESSAGES)
    assert rows_in(cost.database_url) == ROWS
    assert cost.requests == {"ReceiveMessage": 10, "DeleteMessage": MESSAGES}
    assert cost.report.messages == MESSAGES


@pytest.mark.parametrize("consumers", [1, 4])
def test_the_consumer_stores_and_deletes_in_batches(bench: Bench, consumers: int) -> None:
    cost = run(bench, "consumer", MESSAGES, arguments=(consumers,))
    assert rows_in(cost.database_url) == ROWS
    assert cost.requests["DeleteMessageBatch"] == MESSAGES // 10


def test_the_floor_of_the_queue_deletes_everything_and_stores_nothing(bench: Bench) -> None:
    cost = run(bench, "floor_queue", MESSAGES, arguments=(4,), fills=False)
    assert rows_in(cost.database_url) == 0
    assert cost.requests["DeleteMessageBatch"] == MESSAGES // 10
    assert cost.report.messages == MESSAGES


def test_the_floor_of_postgres_stores_everything_and_asks_no_queue(bench: Bench) -> None:
    cost = run(bench, "floor_postgres", MESSAGES, arguments=(SEED,), empties=False)
    assert rows_in(cost.database_url) == ROWS
    assert cost.requests == {}


def test_a_baseline_that_leaves_rows_out_is_no_result(bench: Bench) -> None:
    with pytest.raises(DrainError, match=f"deleted 100 of 100 messages, and stored 0 of {ROWS}"):
        run(bench, "floor_queue", MESSAGES, arguments=(4,))


def test_a_baseline_that_fails_says_why(bench: Bench) -> None:
    with pytest.raises(DrainError, match="IndexError"):
        run(bench, "floor_queue", MESSAGES)
