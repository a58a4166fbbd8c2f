"""The measurement of idleness, for a few seconds, with two whole stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import idle
from benchmarks.idle import Idle

if TYPE_CHECKING:
    from benchmarks.bench import Bench

DAGSTER = {"web server", "daemon", "code server", "dagster dev"}


def test_all_processes_of_both_stacks_are_counted(bench: Bench) -> None:
    ours, dagster = idle.idle(bench, seconds=3, settling=0)
    assert set(dagster.cpu) == DAGSTER
    assert set(ours.cpu) == DAGSTER | {"Postgres", "runs of schedules"}
    assert all(seconds >= 0 for seconds in [*ours.cpu.values(), *dagster.cpu.values()])
    assert ours.cpu["runs of schedules"] > 0
    assert dagster.total > 0


def test_the_goal_is_a_tenth_more_than_dagster() -> None:
    dagster = Idle({"daemon": 100}, 0)
    ours = Idle({"daemon": 105, "Postgres": 4}, 180)
    found = idle.summed_up(ours, dagster, 300, quick=False)
    assert found.goals[0].met
    assert found.binds == ""
    ours = Idle({"daemon": 105, "Postgres": 6}, 180)
    found = idle.summed_up(ours, dagster, 300, quick=False)
    assert not found.goals[0].met
    assert "ticks an hour" in found.binds
