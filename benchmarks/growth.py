"""Rows stored in a second while the table grows: Postgres alone, by the product's own insert."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import sql

from benchmarks.bodies import bodies
from benchmarks.filling import fill, moment
from benchmarks.results import Goal, Measurement, Plot, Table, rounded
from dpp_feedback.feedback.glance import events_of
from dpp_feedback.feedback.parser import parse
from dpp_feedback.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.bench import Bench
    from dpp_feedback.feedback.events import FeedbackEvent

_FULL, _QUICK = [0, 1_000_000, 5_000_000, 10_000_000], [0, 100_000, 500_000]
_ROWS, _QUICK_ROWS = 20_000, 5_000  # in one measurement
_TIMES = 3
_PART_OF_EMPTY = 0.7
_HOW = """\
Events that are parsed already are inserted by `Store.insert`: the product's own statement, which
counts them too, in batches of 1,000 with a commit each. {rows:,} rows, {times} times in a row at
each size, of which the median counts, right after a CHECKPOINT: from then on Postgres writes each
page to its log whole when it is first touched, so this is the slower part of its day. The rows
before them are 180 days of events for 10 million, in the order of time, with all indexes in place
and the daily counters filled; a row's recipient is one of three million. The second table takes one
index away at a time at the largest size, in a transaction that is rolled back.
"""
_BINDS = """\
The index on the recipient. All others grow at their right end, where the pages of the last rows
are in memory and in the log already; the next recipient may be anybody, so at {largest:,} rows
nearly each row touches a page of its own, which goes whole to the write-ahead log: {bytes:,} bytes
a row, and {small:,} without that index. Without it {bare:,} rows a second are stored, with it
{rows:,} (the second table). It stays, for the history of a recipient and the view of suppressed
recipients are read by it.
"""
_INDEXES = """
SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) / 1e6
FROM pg_index WHERE indrelid = 'public.ses_feedback_events'::regclass AND NOT indisunique
ORDER BY 2 DESC
"""
_RECIPIENT = "ses_feedback_events_recipient_idx"


class Rate(NamedTuple):
    """What storing cost.

    Attributes:
        rows: stored in a second.
        log_bytes: of the write-ahead log for each row.
    """

    rows: float
    log_bytes: float


@dataclass(frozen=True, slots=True)
class Without:
    """The rate without one index ("": with all of them), which is `mb` large."""

    index: str
    mb: float
    rate: Rate


def measure(bench: Bench, *, quick: bool) -> Measurement:
    """Measure at growing sizes, and at the largest one without one index at a time."""
    sizes, rows = (_QUICK, _QUICK_ROWS) if quick else (_FULL, _ROWS)
    with closing(psycopg.connect(bench.fresh_database(), autocommit=True)) as connection:
        rates = at_sizes(bench, connection, sizes, rows)
        without = without_each_index(bench, connection, sizes[-1], rows)
    return summed_up(rates, without, rows, quick=quick)


def at_sizes(
    bench: Bench, connection: psycopg.Connection[Any], sizes: Sequence[int], rows: int
) -> dict[int, list[Rate]]:
    """Fill an empty table up to each of the sizes, and measure there, a few times."""
    rates: dict[int, list[Rate]] = {}
    for before, size in zip([0, *sizes], sizes, strict=False):
        bench.say(f"growth: {size:,} rows")
        fill(connection, before, size)
        rates[size] = [_rate(connection, some) for some in _events(size, rows, _TIMES)]
    return rates


def without_each_index(
    bench: Bench, connection: psycopg.Connection[Any], size: int, rows: int
) -> list[Without]:
    """Measure with all indexes, and without each of those that no constraint needs."""
    found = connection.execute(_INDEXES).fetchall()
    measured = []
    # Later events than those of `at_sizes`; rolled back, so the same ones each time.
    (events,) = _events(size, rows, 1, after=timedelta(days=1))
    for name, mb in [("", 0.0), *found]:
        bench.say(f"growth: without {name}" if name else "growth: with all indexes")
        connection.execute("CHECKPOINT")
        with connection.transaction(force_rollback=True):
            if name:
                connection.execute(sql.SQL("DROP INDEX public.{}").format(sql.Identifier(name)))
            measured.append(Without(name, float(mb), _rate(connection, events)))
    return measured


def summed_up(
    rates: dict[int, list[Rate]], without: list[Without], rows: int, *, quick: bool
) -> Measurement:
    """Make the tables, and say what binds."""
    middle = {
        size: Rate(*(median(values) for values in zip(*some, strict=True)))
        for size, some in rates.items()
    }
    largest = max(middle)
    ratio = rounded(min(rate.rows for rate in middle.values()) / middle[0].rows, 2)
    goal = Goal(
        f"stored rows a second at up to {largest:,} rows, against the empty table",
        ratio,
        "of it",
        _PART_OF_EMPTY,
        at_least=True,
    )
    whole, bare = without[0].rate, {one.index: one.rate for one in without}[_RECIPIENT]
    return Measurement(
        name="growth",
        title="Rows stored in a second, while the table grows",
        how=_HOW.format(rows=rows, times=_TIMES),
        goals=[] if quick else [goal],
        tables=[
            Table(
                "Rows stored in a second, by rows in the table",
                ["rows in the table", "rows a second", "of the empty table's", "each time",
                 "log bytes a row"],
                [
                    [size, rounded(rate.rows), rounded(rate.rows / middle[0].rows, 2),
                     ", ".join(f"{rounded(one.rows):,}" for one in rates[size]),
                     rounded(rate.log_bytes)]
                    for size, rate in middle.items()
                ],
            ),
            Table(
                f"What each index costs at {largest:,} rows",
                ["without the index", "its MB", "rows a second", "log bytes a row"],
                [
                    [one.index or "(all are there)", rounded(one.mb), rounded(one.rate.rows),
                     rounded(one.rate.log_bytes)]
                    for one in without
                ],
            ),
        ],
        plots=[
            Plot(
                "growth", "Rows stored in a second", "million rows in the table", "rows a second",
                "lines",
                {"median": [(size / 1e6, rounded(rate.rows)) for size, rate in middle.items()]},
            )
        ],
        binds=""
        if goal.met or quick
        else _BINDS.format(
            largest=largest,
            bytes=rounded(whole.log_bytes),
            small=rounded(bare.log_bytes),
            rows=rounded(whole.rows),
            bare=rounded(bare.rows),
        ),
    )  # fmt: skip


def _events(
    size: int, rows: int, times: int, after: timedelta = timedelta()
) -> list[list[FeedbackEvent]]:
    """Parse messages that came after those in the table, for so many equal measurements."""
    start = moment(size) + after
    made: list[FeedbackEvent] = []
    for body in bodies(rows * times, seed=size, start=start):
        made += events_of(parse(body.text, start))
    return [made[number * rows : (number + 1) * rows] for number in range(times)]


def _rate(connection: psycopg.Connection[Any], events: list[FeedbackEvent]) -> Rate:
    before = _log_position(connection)
    start = perf_counter()
    stored = len(Store(connection).insert(events).new)
    seconds = perf_counter() - start
    assert stored == len(events)  # noqa: S101 - it would be no measurement of storing
    return Rate(stored / seconds, (_log_position(connection) - before) / stored)


def _log_position(connection: psycopg.Connection[Any]) -> float:
    row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM
    return float(row[0])
