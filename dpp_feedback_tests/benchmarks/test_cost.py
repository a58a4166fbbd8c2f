"""What a month costs, reckoned by hand."""

from __future__ import annotations

import pytest

from benchmarks import cost

FIGURES = {
    "few_messages": 10,
    "few_requests": 6,
    "few_cpu_seconds": 2.001,
    "many_messages": 10_010,
    "many_requests": 2_006,  # 0.2 a message, and 4 a run
    "many_cpu_seconds": 3.001,  # 0.0001 a message, and 2 a run
    "tutorial_requests_a_message": 1.1,
    "tutorial_cpu_us_a_message": 1_000,
    "tutorial_messages_a_second": 75,
}
TICKS = 86_400  # in 30 days, each 30 seconds


def test_a_run_at_each_tick_costs_its_part_and_each_message_its_own() -> None:
    month = cost.ours(100_000_000, FIGURES)
    assert month.requests == pytest.approx(TICKS + 4 * TICKS + 0.2 * 100_000_000)
    assert month.sqs == pytest.approx(month.requests / 1e6 * 0.40)
    hours = (2 * TICKS + 0.0001 * 100_000_000) / 3600
    assert month.compute == pytest.approx(hours * (0.04656 + 0.5 * 0.00511))
    assert month.standing == pytest.approx(720 * (0.25 * 0.04656 + 0.87 * 0.00511))
    assert month.total == month.sqs + month.compute + month.standing


def test_a_few_mails_start_a_run_each() -> None:
    month = cost.ours(10, FIGURES)
    assert month.requests == pytest.approx(TICKS + 4 * 10 + 0.2 * 10, rel=1e-4)


def test_a_lambda_costs_two_requests_and_its_milliseconds_for_each_message() -> None:
    month = cost.lambda_each(1_000_000, FIGURES)
    assert month.requests == 2_000_000 + 648_000
    seconds = 0.001 * 1_769 / 256 + 0.01
    assert month.compute == pytest.approx(0.20 + 1_000_000 * seconds * 0.25 * 0.0000166667)
    assert month.standing == 0


def test_as_many_workers_stand_as_it_takes_at_half_their_load() -> None:
    one = cost.worker(97_000_000, FIGURES)  # 37.5 a second: 97.2 million in 30 days
    two = cost.worker(98_000_000, FIGURES)
    assert one.standing == pytest.approx(720 * (0.25 * 0.04656 + 0.5 * 0.00511))
    assert two.standing == pytest.approx(2 * one.standing)
    assert one.requests == pytest.approx(1.1 * 97_000_000 + 180 * 720)
