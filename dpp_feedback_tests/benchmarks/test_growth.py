"""The measurement of a growing table, at tiny sizes, on a real table."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from benchmarks import growth
from benchmarks.filling import fill, moment
from benchmarks.growth import Rate, Without
from dpp_feedback.daily_counts import DailyCounts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from benchmarks.bench import Bench

RECIPIENT = "ses_feedback_events_recipient_idx"


@pytest.fixture
def connection(bench: Bench) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(bench.fresh_database(), autocommit=True)) as connection:
        yield connection


def _count(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT count(*) FROM public.ses_feedback_events").fetchone()
    assert row
    return int(row[0])


def _indexes(connection: psycopg.Connection[Any]) -> set[str]:
    return {name for name, _ in connection.execute(growth._INDEXES)}


def test_the_table_is_filled_with_all_kinds_in_the_order_of_time_and_counted(
    connection: psycopg.Connection[Any],
) -> None:
    fill(connection, 0, 1_500)
    fill(connection, 1_500, 2_000)
    assert _count(connection) == 2_000
    kinds = connection.execute(
        "SELECT DISTINCT notification_type FROM public.ses_feedback_events ORDER BY 1"
    ).fetchall()
    assert kinds == [("Bounce",), ("Complaint",), ("Delivery",)]
    # Later events have later keys, so new rows go to the right end of the unique index.
    disorder = connection.execute(
        "SELECT count(*) FROM (SELECT dedupe_key < lag(dedupe_key) OVER (ORDER BY event_at) "
        "FROM public.ses_feedback_events) AS event (out_of_order) WHERE out_of_order"
    ).fetchone()
    assert disorder == (0,)
    assert DailyCounts(connection).mend(moment(0).date(), moment(2_000).date()) == []


def test_at_each_size_other_rows_are_stored_after_those_of_the_table(
    bench: Bench, connection: psycopg.Connection[Any]
) -> None:
    rates = growth.at_sizes(bench, connection, [0, 1_000], rows=200)
    assert {size: len(some) for size, some in rates.items()} == {0: 3, 1_000: 3}
    assert all(rate.rows > 0 and rate.log_bytes > 0 for some in rates.values() for rate in some)
    assert _count(connection) == 1_000 + 2 * 3 * 200


def test_without_each_index_nothing_is_changed_in_the_end(
    bench: Bench, connection: psycopg.Connection[Any]
) -> None:
    fill(connection, 0, 1_000)
    indexes = _indexes(connection)
    measured = growth.without_each_index(bench, connection, 1_000, rows=100)
    assert {one.index for one in measured} == {"", *indexes}
    assert RECIPIENT in indexes
    assert all(one.rate.rows > 0 for one in measured)
    assert _indexes(connection) == indexes
    assert _count(connection) == 1_000


@pytest.mark.parametrize(
    ("slowest", "met"), [(Rate(6_900, 9_000), False), (Rate(7_100, 9_000), True)]
)
def test_what_binds_is_said_where_the_goal_is_missed(slowest: Rate, met: bool) -> None:
    rates = {0: [Rate(10_000, 1_000)] * 3, 1_000_000: [slowest] * 3}
    without = [Without("", 0, slowest), Without(RECIPIENT, 66, Rate(9_876, 1_234))]
    found = growth.summed_up(rates, without, 20_000, quick=False)
    assert [goal.met for goal in found.goals] == [met]
    assert bool(found.binds) is not met
    assert ("9,876 rows" in found.binds) is not met


def test_quick_sizes_judge_nothing() -> None:
    rates = {0: [Rate(10_000, 1_000)], 1_000: [Rate(1, 1_000)]}
    without = [Without("", 0, Rate(1, 1)), Without(RECIPIENT, 1, Rate(1, 1))]
    assert growth.summed_up(rates, without, 20_000, quick=True).goals == []
