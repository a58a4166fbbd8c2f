"""Results: rounded once, written, and read back as they were."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.results import (
    Goal,
    Measurement,
    Plot,
    Result,
    Table,
    read,
    read_all,
    rounded,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

FAST = Goal("messages a second", 7_012, "messages/s", 6_500, at_least=True)
LARGE = Goal("peak memory", 251, "MB", 250, at_least=False)
RESULT = Result(
    Measurement(
        name="tried",
        title="A trial",
        how="It was tried.",
        goals=[FAST, LARGE],
        tables=[Table("Numbers", ["what", "how many"], [["some", 7_012], ["few", 0.5]])],
        plots=[Plot("tried", "Numbers", "what", "", "lines", {"a": [[1, 2.5]]})],  # type: ignore[list-item] # as JSON has it
        binds="It binds.",
        figures={"few_messages": 10},
    ),
    {"cores": "2"},
    quick=True,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(7_012.4, 7_012), (123.45, 123), (12.345, 12.3), (0.012345, 0.0123), (0, 0), (199.96, 200)],
)
def test_three_digits_are_kept_and_all_before_the_point(value: float, expected: float) -> None:
    assert rounded(value) == expected


def test_a_goal_says_what_it_is_and_whether_it_is_met() -> None:
    assert (FAST.goal, FAST.measured, FAST.met) == (
        "at least 6,500 messages/s",
        "7,012 messages/s",
        True,
    )
    assert (LARGE.goal, LARGE.met) == ("at most 250 MB", False)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write(RESULT, tmp_path)
    assert read("tried", tmp_path) == RESULT
    goals = json.loads(path.read_text())["measurement"]["goals"]
    assert [goal["met"] for goal in goals] == [True, False]


def test_what_nobody_has_measured_is_left_out(tmp_path: Path) -> None:
    write(RESULT, tmp_path)
    assert read_all(["missing", "tried"], tmp_path) == [RESULT]
