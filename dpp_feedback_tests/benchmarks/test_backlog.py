"""The measurement of a backlog, with a tiny one and a whole stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import backlog
from benchmarks.live import Drained

if TYPE_CHECKING:
    from benchmarks.bench import Bench


def test_the_sensors_runs_drain_it(bench: Bench) -> None:
    runs = backlog.drained(bench, 60)  # which counts messages and rows itself
    assert runs
    assert all(run.asked <= run.started <= run.succeeded for run in runs)


def test_time_with_several_runs_under_way_is_counted_once() -> None:
    runs = [Drained(0, 10, 20), Drained(0, 15, 18), Drained(0, 19, 25), Drained(0, 40, 42)]
    assert backlog.busy_seconds(runs) == 15 + 2


def test_the_rate_is_from_the_first_start_to_the_last_success() -> None:
    runs = [Drained(96, 100, 114), Drained(126, 130, 144)]
    found = backlog.summed_up(200_000, 7_000, runs, quick=False)
    (goal,) = found.goals
    assert goal.value == round(200_000 / 44 / 7_000, 2)
    assert not goal.met
    assert "28 of 44 seconds" in found.binds
    fast = backlog.summed_up(200_000, 7_000, [Drained(96, 100, 130)], quick=False)
    assert fast.goals[0].met
    assert fast.binds == ""
