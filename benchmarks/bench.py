"""What all measurements share: one Postgres, one SQS, one folder, the same bodies.

Its Postgres has the settings of a small production server, and commits are durable: what is
acknowledged is on disk.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from rich.console import Console

from benchmarks import drain
from benchmarks.accounting import tree_cpu_seconds
from benchmarks.bodies import SEED, bodies
from benchmarks.loopback_sqs.control import LoopbackSqs
from benchmarks.machine import REPOSITORY
from benchmarks.results import FOLDER
from dpp_feedback.local import ports
from dpp_feedback.local.postgres import EmbeddedPostgres
from dpp_feedback.local.process import Record
from dpp_feedback.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.drain import Drain

POSTGRES = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}
_VISIBILITY_SECONDS = 300  # as scripts/phase1_infra.sh sets it
_INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that is full of messages, and its dead-letter queue.

    Attributes:
        name: its name.
        dlq: the other's.
        messages: how many it was filled with.
        rows: how many rows they lead to.
        latency_ms: milliseconds that each answer is held back.
        environment: how clients find it: variables of boto3's and the product's.
    """

    name: str
    dlq: str
    messages: int
    rows: int
    latency_ms: float
    environment: dict[str, str]


class Bench:
    """The bench; `started()` makes one.

    Args:
        folder: for everything that the measurements write; goes in the end.
        postgres: a server that runs.
        sqs: likewise.
        results: where results are, for what is computed of others.
    """

    def __init__(
        self, folder: Path, postgres: EmbeddedPostgres, sqs: LoopbackSqs, results: Path
    ) -> None:
        self.folder = folder
        self.results = results
        self.postgres = postgres
        self.sqs = sqs
        self._console = Console()
        self._names = count(1)
        self._database = ""

    @classmethod
    @contextmanager
    def started(cls, results: Path = FOLDER) -> Iterator[Bench]:
        """Start Postgres and SQS; stop them in the end. `results` as the class says."""
        with TemporaryDirectory(prefix="dpp-bench-") as path, LoopbackSqs() as sqs:
            folder = Path(path)
            postgres = EmbeddedPostgres(folder / "postgres", ports.free_port(), POSTGRES)
            postgres.start()
            try:
                yield cls(folder, postgres, sqs, results)
            finally:
                postgres.stop()

    def say(self, text: str) -> None:
        """Tell the person who waits."""
        self._console.print(f"  {text}", markup=False, highlight=False)

    def fresh_database(self) -> str:
        """Make a database without rows, migrated; the one before goes. Return its URL."""
        before, self._database = self._database, f"bench_{next(self._names)}"
        with closing(psycopg.connect(self.postgres.url("postgres"), autocommit=True)) as server:
            if before:
                server.execute(
                    sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(before))
                )
        self.postgres.create_database(self._database)
        url = self.postgres.url(self._database)
        migrate(url)
        return url

    def load(self, number: int, *, latency_ms: float, seed: int = SEED) -> Queue:
        """Fill a new queue with bodies, set the latency, and let SQS count from 0."""
        name = f"bench-{next(self._names)}"
        dlq = f"{name}-dlq"
        self.sqs.latency(0)
        self.sqs.create(dlq)
        self.sqs.create(name, visibility_timeout=_VISIBILITY_SECONDS, dead_letter=dlq)
        rows = 0

        def texts() -> Iterator[str]:
            nonlocal rows
            for body in bodies(number, seed=seed):
                rows += body.rows
                yield body.text

        self.sqs.load(name, texts())
        self.sqs.latency(latency_ms)
        self.sqs.reset_stats()
        return Queue(name, dlq, number, rows, latency_ms, self.sqs.environment(name, dlq))

    def environment(self, queue: Queue, database_url: str) -> dict[str, str]:
        """Give a child the whole of its environment."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {**inherited, **queue.environment, "DATABASE_URL": database_url, "TZ": "UTC"}

    def drain(self, queue: Queue, database_url: str, *, max_messages: int | None = None) -> Drain:
        """Execute one real run that drains the queue into an empty database.

        Raises:
            DrainError: it failed, or a message is left, or a row is missing.
        """
        (one,) = self.drain_side_by_side(queue, database_url, 1, max_messages=max_messages)
        return one

    def drain_side_by_side(
        self, queue: Queue, database_url: str, runs: int, *, max_messages: int | None = None
    ) -> list[Drain]:
        """Execute runs that drain the queue together, each its part of it.

        Args:
            queue: what is drained.
            database_url: of an empty database.
            runs: how many.
            max_messages: of each; the part of each, if there are several.

        Raises:
            DrainError: as `drain`.
        """
        home = self.dagster_home()
        environment = self.environment(queue, database_url)
        workers = [drain.RunWorker(home, environment, max_messages) for _ in range(runs)]
        before = self._servers_cpu_seconds()
        costs = drain.execute(workers)
        servers = self._servers_cpu_seconds() - before
        requests = self.sqs.stats().requests
        self.require_drained(queue, database_url)
        return [drain.drain(cost, queue.messages // runs, requests, servers) for cost in costs]

    def dagster_home(self) -> Path:
        """Make the instance of the runs: the laptop's, which keeps its runs here."""
        home = self.folder / "dagster"
        if not home.exists():
            home.mkdir()
            shutil.copy(REPOSITORY / "dagster.yaml", home)
        return home

    def require_drained(self, queue: Queue, database_url: str) -> None:
        """Make sure that each message is deleted, and each row there once.

        Raises:
            DrainError: it is not so.
        """
        deleted = len(self.sqs.contents(queue.name).deleted)
        rows = rows_in(database_url)
        if (deleted, rows) != (queue.messages, queue.rows):
            raise drain.DrainError(
                f"Of {queue.messages:,} messages {deleted:,} are deleted, and of {queue.rows:,} "
                f"rows {rows:,} are stored."
            )

    def _servers_cpu_seconds(self) -> float:
        postgres = Record.read(self.postgres.folder / "process.json")
        assert postgres is not None  # noqa: S101 - it was started
        return tree_cpu_seconds(postgres.pid) + tree_cpu_seconds(self.sqs.pid)


def rows_in(database_url: str) -> int:
    """Count the events, which cannot be there twice: dedupe_key is unique."""
    with closing(psycopg.connect(database_url)) as connection:
        row = connection.execute("SELECT count(*) FROM public.ses_feedback_events").fetchone()
    return int(row[0]) if row else 0
