"""The measurement of migrating, at tiny sizes, on a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import migrations
from benchmarks.migrations import Migrated, Waits, Watch
from dpp_feedback.migrate import migrations_directory

if TYPE_CHECKING:
    from benchmarks.bench import Bench

ROWS = 300
FILES = sorted(path.name for path in migrations_directory().glob("*.sql"))


@pytest.mark.parametrize(("version", "beforehand"), [("20260220", False), ("20261127", True)])
def test_an_earlier_version_is_migrated_while_others_use_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, version: str, beforehand: bool
) -> None:
    monkeypatch.setattr(migrations, "_BEFORE", 0.2)
    monkeypatch.setattr(migrations, "_MOST_MESSAGES", 2_000)
    found = migrations.migrated(bench, version, ROWS, beforehand=beforehand)
    assert found.files == len([name for name in FILES if name[:8] > version])
    assert found.stored > 0
    assert (found.lost, found.miscounted) == (0, 0)
    assert min(found.storing.before, found.reading.before) > 0
    assert version == "20260220" or found.uncounted == 0


def test_what_is_watched_fails_where_it_is_stopped() -> None:
    watch = Watch(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        watch.stop()


@pytest.mark.parametrize(("longest", "met"), [(0.99, True), (1.01, False)])
def test_the_goal_is_the_longest_wait_where_what_goes_before_a_file_went(
    longest: float, met: bool
) -> None:
    def one(beforehand: bool, during: float) -> Migrated:
        return Migrated(
            "20260220", beforehand, 3, 4.0, Waits(0.01, 0.02), Waits(0.01, during), 50, 0, 0, 0
        )

    some = [one(True, 0.03), one(True, longest), one(False, 4.2)]
    assert [goal.met for goal in migrations.summed_up(some, 1_000, quick=False).goals] == [met]
    assert migrations.summed_up(some, 1_000, quick=True).goals == []
