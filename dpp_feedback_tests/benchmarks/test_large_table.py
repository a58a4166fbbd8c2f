"""The measurement of a large table, at a tiny size, in each layout."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from benchmarks import filling, large_table
from benchmarks.filling import fill, moment

if TYPE_CHECKING:
    import pytest

    from benchmarks.bench import Bench

ROWS = 3_000


def test_each_layout_is_measured_and_computed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_APART", timedelta(hours=1))
    monkeypatch.setattr(large_table, "_BATCH", 10)
    monkeypatch.setattr(large_table, "_LOOKED_UP", 10)
    measured = large_table.measure(bench, ROWS)
    found, sizes, computed = (
        {row[0]: [float(cell) for cell in row[1:]] for row in table.rows}
        for table in measured.tables
    )
    assert {len(row) for row in [*found.values(), *sizes.values(), *computed.values()]} == {3}
    assert found["retention: rows removed"] == [24, 24, 31 * 24]
    assert (
        sizes["ses_feedback_events_event_at_idx"][0] > sizes["ses_feedback_events_event_at_idx"][1]
    )
    assert computed["table, GB"][0] > 0


def test_partitions_hold_each_event_in_its_month(bench: Bench) -> None:
    with closing(psycopg.connect(bench.fresh_database(), autocommit=True)) as connection:
        large_table.partition(connection, ROWS)
        fill(connection, 0, ROWS)
        months = connection.execute(
            "SELECT tableoid::regclass::text, count(*) FROM public.ses_feedback_events GROUP BY 1"
        ).fetchall()
        indexes = {str(name) for name, _ in connection.execute(large_table._INDEXES.encode())}
    assert months == [(f"ses_feedback_events_{moment(0):%Y_%m}", ROWS)]
    assert indexes == {
        f"ses_feedback_events_{name}"
        for name in ("pkey", "dedupe_key_key", "event_at_idx", "received_at_idx", "recipient_idx",
                     "suppression_idx")
    }  # fmt: skip
