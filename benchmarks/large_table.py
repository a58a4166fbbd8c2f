"""`python -m benchmarks.large_table`: B-trees, BRIN or partitions? Measured on one large table.

It writes benchmarks/results/large_table.json; what is decided by it stands in docs/decisions.md.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
import psycopg
from psycopg import sql

from benchmarks import results
from benchmarks.bench import Bench
from benchmarks.filling import add, fill, moment
from benchmarks.machine import describe
from benchmarks.results import Measurement, Result, Table, rounded
from dpp_feedback.daily_counts import DailyCounts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from benchmarks.results import Cell

_TIMES = 3
_BATCH = 1_000  # rows inserted at a time, as a drain does
_REMOVED_AT_ONCE = 5_000
_LOOKED_UP = 200  # recipients
_LARGE = 100_000_000
_DAYS = 400  # that events are kept for, so that _LARGE rows are 250,000 a day
_HOW = """\
{rows:,} events in the order of time, {day:,} a day, in three layouts of the same table: the indexes
of the migrations; the same with BRIN instead of the B-trees on event_at and received_at; and
partitions of a month each by event_at, whose unique key has to hold event_at too. Rows are inserted
{batch:,} at a time with a commit each, right after a CHECKPOINT, by a statement that does not count
them; the fastest of {times} counts. A recount is `DailyCounts.mend` of one day, a look-up reads all
events of one recipient; of both the median counts. Retention removes the oldest day, {removed:,}
rows at a time with a commit each, and then vacuums with all indexes; of the partitions it drops the
oldest. The load average of the machine was {load_before} before and {load_after} after: what it
says beyond 1, others did.

The last table is computed: sizes, and the time of VACUUM, which reads each index whole, grow with
the rows; the time of a recount and of a removal grow with the rows of a day; a look-up by a B-tree
does not grow, but for partitions with their number; removing a partition does not grow.
"""
# The table itself, or its partitions beside it: a partitioned table has a size of 0.
_PARTS = """
  SELECT 'public.ses_feedback_events'::regclass
  UNION ALL
  SELECT inhrelid FROM pg_inherits WHERE inhparent = 'public.ses_feedback_events'::regclass
"""
_INDEXES = f"""
SELECT regexp_replace(coalesce(inhparent, indexrelid)::regclass::text, '^.*[.]', ''),
  sum(pg_relation_size(indexrelid)) / 1e6
FROM pg_index LEFT JOIN pg_inherits ON inhrelid = indexrelid
WHERE indrelid IN ({_PARTS})
GROUP BY 1 ORDER BY 2 DESC
"""  # noqa: S608 - made of the constant above
_TABLE_MB = f"SELECT sum(pg_table_size(oid)) / 1e6 FROM ({_PARTS}) AS part (oid)"  # noqa: S608
_BRIN = b"""
DROP INDEX public.ses_feedback_events_event_at_idx;
DROP INDEX public.ses_feedback_events_received_at_idx;
CREATE INDEX ses_feedback_events_event_at_idx ON public.ses_feedback_events
  USING brin (event_at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX ses_feedback_events_received_at_idx ON public.ses_feedback_events
  USING brin (received_at) WITH (pages_per_range = 32, autosummarize = on);
"""
_PARTITIONED = b"""
CREATE TABLE public.monthly (
  LIKE public.ses_feedback_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS
) PARTITION BY RANGE (event_at);
DROP TABLE public.ses_feedback_events CASCADE;
ALTER TABLE public.monthly RENAME TO ses_feedback_events;
ALTER TABLE public.ses_feedback_events
  ADD CONSTRAINT ses_feedback_events_pkey PRIMARY KEY (id, event_at),
  ADD CONSTRAINT ses_feedback_events_dedupe_key_key UNIQUE (dedupe_key, event_at);
CREATE INDEX ses_feedback_events_event_at_idx
  ON public.ses_feedback_events (event_at, notification_type);
CREATE INDEX ses_feedback_events_received_at_idx ON public.ses_feedback_events (received_at);
CREATE INDEX ses_feedback_events_recipient_idx
  ON public.ses_feedback_events (primary_recipient) WHERE primary_recipient IS NOT NULL;
CREATE INDEX ses_feedback_events_suppression_idx
  ON public.ses_feedback_events (primary_recipient, event_at)
  WHERE notification_type IN ('Bounce', 'Complaint') AND primary_recipient IS NOT NULL;
"""
_INSERT = """
INSERT INTO public.ses_feedback_events SELECT * FROM pg_temp.incoming
WHERE event_at >= %s AND event_at < %s ON CONFLICT DO NOTHING
"""
_LOOK_UP = """
SELECT * FROM public.ses_feedback_events WHERE primary_recipient = %s ORDER BY event_at DESC
"""
_LATEST = "SELECT * FROM public.ses_feedback_events ORDER BY received_at DESC LIMIT 20"
_OLD = f"""
SELECT id, event_at FROM public.ses_feedback_events
WHERE event_at > %s AND event_at < %s ORDER BY event_at LIMIT {_REMOVED_AT_ONCE}
"""  # noqa: S608 - made of the constant above
_REMOVE = "DELETE FROM public.ses_feedback_events WHERE id = ANY (%s)"
_VACUUM = "VACUUM (INDEX_CLEANUP ON) public.ses_feedback_events"


@dataclass(frozen=True, slots=True)
class Retention:
    """What it took to remove what is too old.

    Attributes:
        rows: removed.
        seconds: that the removal took.
        log_bytes: of the write-ahead log for each row.
        vacuum_seconds: that the VACUUM afterwards took.
    """

    rows: int
    seconds: float
    log_bytes: float
    vacuum_seconds: float


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout of the table, measured.

    Attributes:
        name: in words.
        table_mb: of the table, with what is stored out of line.
        indexes_mb: of each index; of all partitions together.
        inserted: rows a second.
        log_bytes: of the write-ahead log for each row inserted.
        recount_seconds: of one day.
        look_up_ms: of one recipient.
        latest_ms: of the last 20 rows that were received.
        retention: of the oldest day, or of the oldest month.
    """

    name: str
    table_mb: float
    indexes_mb: dict[str, float]
    inserted: float
    log_bytes: float
    recount_seconds: float
    look_up_ms: float
    latest_ms: float
    retention: Retention


@click.command()
@click.option("--rows", default=10_000_000, show_default=True, help="In the table.")
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    default=results.FOLDER,
    help="Where large_table.json goes.",
)
def main(rows: int, folder: Path) -> None:
    """Measure three layouts; takes some 25 minutes and 15 GB for 10 million rows."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    with Bench.started() as bench:
        measured = measure(bench, rows)
        machine = describe(bench.postgres.url())
    path = results.write(Result(measured, machine, quick=False), folder)
    click.echo(f"{path} is written.")


def measure(bench: Bench, rows: int) -> Measurement:
    """Measure each layout with so many rows."""
    load_before = _load()
    layouts = []
    with closing(psycopg.connect(bench.fresh_database(), autocommit=True)) as connection:
        _fill(bench, connection, rows)
        layouts.append(_measured(bench, connection, "as it is: B-trees", rows))
        connection.execute(_BRIN)
        layouts.append(_measured(bench, connection, "BRIN by time", rows, after=1))
    with closing(psycopg.connect(bench.fresh_database(), autocommit=True)) as connection:
        partition(connection, rows)
        _fill(bench, connection, rows)
        layouts.append(_measured(bench, connection, "monthly partitions", rows))
    how = _HOW.format(
        rows=rows, day=_rows_of_a_day(), batch=_BATCH, times=_TIMES, removed=_REMOVED_AT_ONCE,
        load_before=load_before, load_after=_load(),
    )  # fmt: skip
    return Measurement(
        name="large_table",
        title="One large table: B-trees, BRIN or partitions",
        how=how,
        goals=[],
        tables=[_found(layouts, rows), _sizes(layouts), _computed(layouts, rows)],
    )


def partition(connection: psycopg.Connection[Any], rows: int) -> None:
    """Put a partitioned table in the place of the migrations' one, which is empty."""
    connection.execute(_PARTITIONED)
    for first, next_first in _months(moment(0).date(), moment(rows).date()):
        connection.execute(
            sql.SQL(
                "CREATE TABLE public.{} PARTITION OF public.ses_feedback_events "
                "FOR VALUES FROM ({}) TO ({})"
            ).format(
                sql.Identifier(f"ses_feedback_events_{first:%Y_%m}"),
                sql.Literal(f"{first} 00:00Z"),
                sql.Literal(f"{next_first} 00:00Z"),
            )
        )


def _months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """The first day of each month and of the next; one month more, for what is inserted."""
    month, end = first.replace(day=1), last + timedelta(days=31)
    while month <= end:
        following = (month + timedelta(days=31)).replace(day=1)
        yield month, following
        month = following


def _fill(bench: Bench, connection: psycopg.Connection[Any], rows: int) -> None:
    bench.say(f"large_table: filling {rows:,} rows")
    start = perf_counter()
    fill(connection, 0, rows)
    bench.say(f"large_table: filled in {perf_counter() - start:.0f} s")


def _measured(
    bench: Bench, connection: psycopg.Connection[Any], name: str, rows: int, after: int = 0
) -> Layout:
    """Measure a table that is full; `after` so many other layouts of it were."""
    bench.say(f"large_table: {name}")
    table_mb = float(_one(connection, _TABLE_MB))
    indexes_mb = {index: float(mb) for index, mb in connection.execute(_INDEXES.encode())}
    inserted, log_bytes = _insert(connection, rows, after)
    middle = moment(rows // 2).date()
    days = [middle + timedelta(days=number) for number in range(3)]
    recount_seconds = median(
        _seconds(lambda day=day: DailyCounts(connection).mend(day, day)) for day in days
    )
    recipients = connection.execute(
        "SELECT primary_recipient FROM pg_temp.incoming LIMIT %s", [_LOOKED_UP]
    ).fetchall()
    look_up = median(
        _seconds(lambda one=one: connection.execute(_LOOK_UP, one).fetchall()) for one in recipients
    )
    latest = median(_seconds(lambda: connection.execute(_LATEST).fetchall()) for _ in range(3))
    retention = (
        _drop_partition(connection) if "partition" in name else _remove_day(connection, after)
    )
    return Layout(
        name, table_mb, indexes_mb, inserted, log_bytes, recount_seconds, look_up * 1e3,
        latest * 1e3, retention,
    )  # fmt: skip


def _insert(connection: psycopg.Connection[Any], rows: int, after: int) -> tuple[float, float]:
    """Insert later rows a few times; return rows a second of the fastest, log bytes a row."""
    number = max(rows // 200, _BATCH)
    begin = rows + after * _TIMES * number
    connection.execute("DROP TABLE IF EXISTS pg_temp.incoming")
    connection.execute(
        "CREATE TEMP TABLE incoming (LIKE public.ses_feedback_events INCLUDING DEFAULTS)"
    )
    add(connection, begin, begin + _TIMES * number, sql.Identifier("pg_temp", "incoming"))
    connection.execute("CREATE INDEX ON pg_temp.incoming (event_at)")
    connection.execute("ANALYZE pg_temp.incoming")
    rates = []
    for one in range(begin, begin + _TIMES * number, number):
        connection.execute("CHECKPOINT")
        before, start, stored = _log_position(connection), perf_counter(), 0
        for first in range(one, one + number, _BATCH):
            period = [moment(first), moment(min(first + _BATCH, one + number))]
            stored += connection.execute(_INSERT, period).rowcount
        seconds = perf_counter() - start
        assert stored == number  # noqa: S101 - it would be no measurement of inserting
        rates.append((stored / seconds, (_log_position(connection) - before) / stored))
    return max(rates)


def _remove_day(connection: psycopg.Connection[Any], after: int) -> Retention:
    """Remove the oldest day, in batches."""
    begin = datetime.combine(moment(0).date() + timedelta(days=after), time.min, UTC)
    reached, end = begin - timedelta.resolution, begin + timedelta(days=1)
    connection.execute("CHECKPOINT")
    before, start, removed = _log_position(connection), perf_counter(), 0
    while some := connection.execute(_OLD.encode(), [reached, end]).fetchall():
        removed += connection.execute(_REMOVE, [[identity for identity, _ in some]]).rowcount
        reached = some[-1][1]
    seconds, log_bytes = perf_counter() - start, _log_position(connection) - before
    vacuum = _seconds(lambda: connection.execute(_VACUUM))
    return Retention(removed, seconds, log_bytes / removed, vacuum)


def _drop_partition(connection: psycopg.Connection[Any]) -> Retention:
    """Remove the oldest month, whole."""
    oldest = f"ses_feedback_events_{moment(0):%Y_%m}"
    name = sql.Identifier("public", oldest)
    rows = int(_one(connection, sql.SQL("SELECT count(*) FROM {}").format(name)))
    connection.execute("CHECKPOINT")
    before = _log_position(connection)
    seconds = _seconds(lambda: connection.execute(sql.SQL("DROP TABLE {}").format(name)))
    return Retention(rows, seconds, (_log_position(connection) - before) / rows, 0)


def _found(layouts: list[Layout], rows: int) -> Table:
    return Table(
        f"Measured with {rows:,} rows",
        ["", *(layout.name for layout in layouts)],
        [
            _row("inserted, rows a second", [one.inserted for one in layouts]),
            _row("log bytes for each of them", [one.log_bytes for one in layouts]),
            _row("recount of a day, seconds", [one.recount_seconds for one in layouts]),
            _row("look-up of a recipient, ms", [one.look_up_ms for one in layouts]),
            _row("the last 20 received, ms", [one.latest_ms for one in layouts]),
            _row("retention: rows removed", [one.retention.rows for one in layouts]),
            _row("retention: seconds", [one.retention.seconds for one in layouts]),
            _row("retention: log bytes a row", [one.retention.log_bytes for one in layouts]),
            _row("VACUUM after it, seconds", [one.retention.vacuum_seconds for one in layouts]),
        ],
    )


def _sizes(layouts: list[Layout]) -> Table:
    names = list(layouts[0].indexes_mb)
    return Table(
        "Sizes in MB",
        ["", *(layout.name for layout in layouts)],
        [
            _row("table", [one.table_mb for one in layouts]),
            *(_row(name, [one.indexes_mb[name] for one in layouts]) for name in names),
            _row("all indexes", [sum(one.indexes_mb.values()) for one in layouts]),
        ],
    )


def _computed(layouts: list[Layout], rows: int) -> Table:
    """What follows for a table of `_LARGE` rows that is kept for `_DAYS` days."""
    larger, day = _LARGE / rows, _LARGE / _DAYS
    months = len(list(_months(moment(0).date(), moment(rows).date())))
    parts = [_DAYS / 30 / months if "partition" in one.name else 1 for one in layouts]
    return Table(
        f"Computed for {_LARGE:,} rows, {day:,.0f} a day",
        ["", *(layout.name for layout in layouts)],
        [
            _row("table, GB", [one.table_mb * larger / 1e3 for one in layouts]),
            _row(
                "all indexes, GB", [sum(one.indexes_mb.values()) * larger / 1e3 for one in layouts]
            ),
            _row(
                "recount of a day, seconds",
                [one.recount_seconds * day / _rows_of_a_day() for one in layouts],
            ),
            _row(
                "look-up of a recipient, ms",
                [one.look_up_ms * part for one, part in zip(layouts, parts, strict=True)],
            ),
            _row(
                "retention of a day, seconds",
                [
                    one.retention.seconds
                    if "partition" in one.name
                    else one.retention.seconds * day / one.retention.rows
                    for one in layouts
                ],
            ),
            _row(
                "VACUUM after it, seconds",
                [one.retention.vacuum_seconds * larger for one in layouts],
            ),
        ],
    )


def _row(what: str, values: list[float]) -> list[Cell]:
    return [what, *(rounded(value) for value in values)]


def _rows_of_a_day() -> int:
    return round(timedelta(days=1) / (moment(1) - moment(0)))


def _seconds(act: Any) -> float:
    start = perf_counter()
    act()
    return perf_counter() - start


def _one(connection: psycopg.Connection[Any], query: str | sql.Composed) -> Any:
    row = connection.execute(query.encode() if isinstance(query, str) else query).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has a row
    return row[0]


def _log_position(connection: psycopg.Connection[Any]) -> float:
    return float(_one(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'"))


def _load() -> str:
    return f"{os.getloadavg()[0]:.2g}"


if __name__ == "__main__":
    main()
