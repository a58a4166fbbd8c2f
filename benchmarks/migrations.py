"""How long others wait while a database with rows of an earlier version is migrated."""

from __future__ import annotations

import shutil
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from benchmarks.bodies import bodies
from benchmarks.filling import add, moment
from benchmarks.results import Goal, Measurement, Table, rounded
from dpp_feedback.daily_counts import DailyCounts
from dpp_feedback.feedback.glance import events_of
from dpp_feedback.feedback.parser import parse
from dpp_feedback.migrate import migrate, migrations_directory
from dpp_feedback.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.results import Number

_FULL, _QUICK = 1_000_000, 50_000
_BATCH = 50  # rows that are inserted at a time
_MOST_MESSAGES = 60_000  # that are stored meanwhile
_PAUSE = 0.01  # seconds between two of them, and between two reads
_BEFORE = 2.0  # seconds in which nobody migrates
_LIMIT = 1.0
_FIRST = "20260220"
_EARLIER = (_FIRST, "20261125", "20261127", "20261128")
_HOW = """\
A table with {rows:,} events, as an earlier version left it, is migrated by `dpp_feedback.migrate`.
From {before} seconds before on, one connection stores {batch} events every {pause} ms, as that
version did, and another reads the last 20 events that came and the history of a recipient. The
longest of each is what they wait. In the end every row is there, and after a recount every event is
counted: those that the first version stores while it is migrated are not counted before. The last
line is the same without `migrations/concurrently`: with the files alone, as psql runs them.
"""
_READS = """
SELECT * FROM public.ses_feedback_events ORDER BY received_at DESC LIMIT 20;
SELECT * FROM public.ses_feedback_events WHERE primary_recipient = 'person7@outlook.com'
"""
_COUNTS = """
SELECT (SELECT count(*) FROM public.ses_feedback_events),
  (SELECT coalesce(sum(count), 0)::bigint FROM public.ses_feedback_daily_counts),
  (SELECT coalesce(sum(count), 0)::bigint FROM public.ses_feedback_daily_totals)
"""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long somebody waited, in seconds.

    Attributes:
        before: the longest wait while nobody migrated.
        during: the longest while somebody did.
    """

    before: float
    during: float


@dataclass(frozen=True, slots=True)
class Migrated:
    """One database, migrated.

    Attributes:
        version: the date of the last file that it had.
        beforehand: whether what `migrations/concurrently` says went first.
        files: how many were applied.
        seconds: that it took.
        storing: waits of whoever stores.
        reading: waits of whoever reads.
        stored: events meanwhile, and in the seconds before.
        lost: of the events in the table and of those; 0, or something is wrong.
        uncounted: events that only a recount has counted.
        miscounted: what events and counters still differ by; 0, or something is wrong.
    """

    version: str
    beforehand: bool
    files: int
    seconds: float
    storing: Waits
    reading: Waits
    stored: int
    lost: int
    uncounted: int
    miscounted: int


class Storing:
    """Stores a batch of events whenever it is called.

    Args:
        connection: in autocommit mode.
        rows: how many there are; these come later.
        counted: as a version does that counts what it stores, or as the first one.

    Attributes:
        stored: how many it has stored.
    """

    def __init__(self, connection: psycopg.Connection[Any], rows: int, *, counted: bool) -> None:
        self.stored = 0
        self._connection = connection
        self._rows = rows
        start = moment(rows)
        self._events = [
            event
            for body in bodies(_MOST_MESSAGES if counted else 0, seed=rows, start=start)
            for event in events_of(parse(body.text, start))
        ]

    def __call__(self) -> None:
        """Store the next ones."""
        begin, end = self.stored, self.stored + _BATCH
        if self._events:
            self.stored += len(Store(self._connection).insert(self._events[begin:end]).new)
        else:
            add(self._connection, self._rows + begin, self._rows + end)
            self.stored = end


class Watch:
    """Does something again and again in a thread of its own, and notes the longest time of it."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._over = Event()
        self._longest = 0.0
        self._failed: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def longest(self) -> float:
        """The longest time in seconds since the last call."""
        longest, self._longest = self._longest, 0.0
        return longest

    def stop(self) -> None:
        """End, and raise what was raised there."""
        self._over.set()
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        try:
            over = False
            while not over:
                start = perf_counter()
                self._act()
                self._longest = max(self._longest, perf_counter() - start)
                over = self._over.wait(_PAUSE)
        except BaseException as error:
            self._failed = error  # `stop` raises it


def measure(bench: Bench, *, quick: bool) -> Measurement:
    """Migrate a database of each earlier version."""
    rows = _QUICK if quick else _FULL
    found = [migrated(bench, version, rows) for version in _EARLIER]
    found.append(migrated(bench, _FIRST, rows, beforehand=False))
    return summed_up(found, rows, quick=quick)


def migrated(bench: Bench, version: str, rows: int, *, beforehand: bool = True) -> Migrated:
    """Make a database of an earlier version, and migrate it while others use it."""
    bench.say(f"migrations: {rows:,} rows of {version}" + ("" if beforehand else ", files alone"))
    with _database(bench) as url, closing(psycopg.connect(url, autocommit=True)) as connection:
        migrate(url, _files(bench.folder / "first", until=_FIRST))
        add(connection, 0, rows)
        migrate(url, _files(bench.folder / "earlier", until=version))
        connection.execute("VACUUM (ANALYZE) public.ses_feedback_events")
        connection.execute("CHECKPOINT")
        with (
            closing(psycopg.connect(url, autocommit=True)) as storing_connection,
            closing(psycopg.connect(url, autocommit=True)) as reading_connection,
        ):
            store = Storing(storing_connection, rows, counted=version != _FIRST)
            storing = Watch(store)
            reading = Watch(lambda: reading_connection.execute(_READS.encode()))
            sleep(_BEFORE)
            quiet = storing.longest(), reading.longest()
            start = perf_counter()
            files = migrate(url, _files(bench.folder / "present", beforehand=beforehand))
            seconds = perf_counter() - start
            storing.stop()
            reading.stop()
        events, counted, _ = _counts(connection)
        DailyCounts(connection).mend(moment(0).date(), moment(rows + store.stored).date())
        _, recounted, totals = _counts(connection)
    return Migrated(
        version, beforehand, len(files), seconds,
        Waits(quiet[0], storing.longest()), Waits(quiet[1], reading.longest()),
        store.stored, rows + store.stored - events, recounted - counted,
        max(abs(events - recounted), abs(events - totals)),
    )  # fmt: skip


def summed_up(found: list[Migrated], rows: int, *, quick: bool) -> Measurement:
    """Make the table and the goal."""
    longest = max(max(one.storing.during, one.reading.during) for one in found if one.beforehand)
    goal = Goal(
        f"longest wait of whoever stores or reads while {rows:,} rows are migrated",
        rounded(longest),
        "s",
        _LIMIT,
        at_least=False,
    )
    return Measurement(
        name="migrations",
        title="Waiting while a database is migrated",
        how=_HOW.format(
            rows=rows, before=f"{_BEFORE:g}", batch=_BATCH, pause=f"{_PAUSE * 1e3:g}"
        ),
        goals=[] if quick else [goal],
        tables=[
            Table(
                "Milliseconds that were waited at most, and what became of the events",
                ["from", "files", "seconds", "storing: before", "meanwhile", "reading: before",
                 "meanwhile", "stored meanwhile", "lost", "counted later", "miscounted"],
                [
                    [one.version + ("" if one.beforehand else ", files alone"), one.files,
                     rounded(one.seconds, 2), _ms(one.storing.before), _ms(one.storing.during),
                     _ms(one.reading.before), _ms(one.reading.during), one.stored, one.lost,
                     one.uncounted, one.miscounted]
                    for one in found
                ],
            )
        ],
    )  # fmt: skip


def _ms(seconds: float) -> Number:
    return rounded(seconds * 1e3, 2)


@contextmanager
def _database(bench: Bench) -> Iterator[str]:
    name = sql.Identifier("bench_migrations")
    with closing(psycopg.connect(bench.postgres.url("postgres"), autocommit=True)) as server:
        bench.postgres.create_database("bench_migrations")
        try:
            yield bench.postgres.url("bench_migrations")
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _files(folder: Path, until: str = "9", *, beforehand: bool = True) -> Path:
    """Copy the files of the days up to this one, as an earlier version came with."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "concurrently").mkdir(parents=True)
    for path in migrations_directory().rglob("*.sql"):
        if path.name[:8] <= until and (beforehand or path.parent.name != "concurrently"):
            shutil.copy(path, folder / path.relative_to(migrations_directory()))
    return folder


def _counts(connection: psycopg.Connection[Any]) -> tuple[int, int, int]:
    row = connection.execute(_COUNTS.encode()).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM
    return int(row[0]), int(row[1]), int(row[2])
