"""The measurement of arrivals, with one message and a whole stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import arrival
from benchmarks.arrival import Arrival

if TYPE_CHECKING:
    from benchmarks.bench import Bench


def test_a_message_is_followed_to_its_row(bench: Bench) -> None:
    (came,) = arrival.arrivals(bench, 1, within=0)
    assert came.to_row > 0
    assert 0 < came.of_ops < came.of_run


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(20, 0, -1)]
    assert arrival.percentile(values, 95) == 19
    assert arrival.percentile(values, 50) == 10
    assert arrival.percentile(values, 100) == 20
    assert arrival.percentile([7.5], 95) == 7.5


def test_goals_are_judged_by_the_95th_percentile() -> None:
    came = [Arrival(30, 5, 1)] * 19 + [Arrival(60, 9, 1)]
    assert [goal.met for goal in arrival.summed_up(came, quick=False).goals] == [True, True]
    came = [Arrival(30, 5, 1)] * 18 + [Arrival(60, 9, 1)] * 2
    assert [goal.met for goal in arrival.summed_up(came, quick=False).goals] == [False, False]
