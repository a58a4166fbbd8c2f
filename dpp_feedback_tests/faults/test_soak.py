"""A minute of the soak of `make soak`, and the rule by which something is flat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from benchmarks import results
from benchmarks.soak.__main__ import main
from benchmarks.soak.flatness import Tolerance, flatness

if TYPE_CHECKING:
    from pathlib import Path


def test_a_minute_of_faults_leaves_every_message_in_its_place_and_nothing_grown(
    tmp_path: Path,
) -> None:
    options = ["--minutes", "1", "--rate", "150", "--seed", "1", "--results", str(tmp_path)]
    ended = CliRunner().invoke(main, options, catch_exceptions=False)
    measured = results.read("soak", tmp_path).measurement
    assert [goal for goal in measured.goals if not goal.met] == []
    places, _, runs, faults, _ = ({str(row[0]): row[1] for row in t.rows} for t in measured.tables)
    # The publisher may be held up at the very end, by the load of a second or two.
    assert 8_000 < int(places["published"]) <= 9_000
    gone = ("stored", "duplicates", "ignored", "in the dead-letter queue")
    assert sum(int(places[name]) for name in gone) == places["published"]
    assert places["in the dead-letter queue"] == places["poison"]
    assert places["rows"] == places["counted"]
    assert int(runs["in the process that stays: succeeded"]) > 0
    assert int(runs["in processes of their own: succeeded"]) > 0
    assert len(faults) > 3
    assert ended.exit_code == 0


@pytest.mark.parametrize(
    ("samples", "is_flat"),
    [
        ([100, 100, 100, 100, 100, 100], True),
        ([100, 100, 130, 900, 108, 107], True),
        ([100, 100, 100, 100, 112, 113], False),
        ([1, 100, 100, 104, 104, 104, 104, 104, 104], True),
        ([100, 101, 102, 103, 104, 105, 106, 107, 200], True),
        ([100, 101, 102, 103, 104, 105, 180, 190, 200], False),
    ],
)
def test_what_is_flat_has_a_last_third_like_its_first(samples: list[float], is_flat: bool) -> None:
    assert flatness(samples, Tolerance("memory", 0.05, 5)).is_flat is is_flat


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="5 samples are too few"):
        flatness([1, 1, 1, 1, 1], Tolerance("memory", 0, 0))
