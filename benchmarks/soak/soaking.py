"""One soak, from empty tables to the account."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from dataclasses import dataclass
from threading import Event, Timer
from typing import TYPE_CHECKING

import psycopg

from benchmarks.bench import Queue
from benchmarks.loopback_sqs.control import Control
from benchmarks.soak.drains import Fresh, LongLived
from benchmarks.soak.faults import Faults
from benchmarks.soak.flatness import TOLERANCES, Flatness, flatness
from benchmarks.soak.publishing import Publishing
from dpp_feedback_tests.faults.accounting import Account, account

if TYPE_CHECKING:
    from benchmarks.bench import Bench

_VISIBILITY_SECONDS = 30  # short, so that what a fault left in flight comes back while we look
_MOST_DRAINS = 100
_WARM = 3  # runs until everything is imported and each pool has its size
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dpp_feedback'"


@dataclass(frozen=True, slots=True)
class Soaked:
    """What a soak found.

    Attributes:
        account: where every message is.
        poison: messages that must be in the dead-letter queue.
        good_in_dlq: good ones that had come there, before `reprocess_dlq` fetched them.
        runs: by where they were executed and how they ended.
        faults: what went wrong, how often.
        requests_befallen: requests to SQS by the fault that befell them.
        flat: of each thing that is sampled.
    """

    account: Account
    poison: int
    good_in_dlq: int
    runs: dict[str, int]
    faults: dict[str, int]
    requests_befallen: dict[str, int]
    flat: list[Flatness]

    @property
    def is_exact(self) -> bool:
        """Whether each message is where it belongs, and each row there and counted once."""
        found = self.account
        nothing = (
            found.left, found.lost, found.good_in_dlq, found.rows_twice, found.rows_missing,
            found.rows_unexpected, found.counters_differ,
        )  # fmt: skip
        placed = found.stored + found.duplicates + found.ignored + found.dead
        return (
            not any(nothing)
            and found.dead == self.poison
            and placed == found.published
            and found.rows == found.counted
        )

    @property
    def is_flat(self) -> bool:
        """Whether nothing grew."""
        return all(one.is_flat for one in self.flat)


class Soaking:
    """A queue, a database, and all who work on them.

    Args:
        bench: with Postgres and SQS.
        minutes: for which messages come.
        rate: messages a second.
        seed: of messages and faults.
    """

    def __init__(self, bench: Bench, *, minutes: float, rate: int, seed: int) -> None:
        self._bench = bench
        self._seconds = minutes * 60
        self._url = bench.fresh_database()
        self._queue, self._dlq = f"soak-{seed}", f"soak-{seed}-dlq"
        bench.sqs.create(self._dlq)
        bench.sqs.create(self._queue, visibility_timeout=_VISIBILITY_SECONDS, dead_letter=self._dlq)
        settings = bench.sqs.environment(self._queue, self._dlq)
        queue = Queue(self._queue, self._dlq, 0, 0, 0.0, settings)
        environment = {
            **bench.environment(queue, self._url),
            "DAGSTER_HOME": str(bench.dagster_home()),
        }
        self._log = bench.folder / "drains.log"
        self._environment = environment
        self._fresh = Fresh(environment, self._log)
        self._publishing = Publishing(
            Control(bench.sqs.url),
            self._queue,
            rate=rate,
            number=round(self._seconds * rate),
            seed=seed,
        )
        self._faults = Faults(seed, Control(bench.sqs.url), bench.postgres, self._url, self._fresh)
        self._connections: list[int] = []

    def soak(self) -> Soaked:
        """Do it.

        Raises:
            RuntimeError: the process that stays has ended, or the queue is never empty.
        """
        with closing(LongLived(self._environment, self._log)) as worker:
            self._bench.say(f"{self._seconds:,.0f} seconds of messages, drains and faults.")
            self._all_at_once(worker)
            self._bench.say("No more faults: draining until the queue is empty.")
            befallen = self._bench.sqs.stats().faults
            self._settle(worker)
            samples = worker.samples[_WARM:]
        good_in_dlq = len(self._account().good_in_dlq)
        if good_in_dlq:
            config = self._bench.folder / "reprocess.yaml"
            config.write_text("dry_run: false\n")
            self._fresh.run("reprocess_dlq", config)
        succeeded = sum(bool(one["success"]) for one in worker.samples)
        sampled = {
            name: self._connections if name == "connections" else [s[name] for s in samples]
            for name in TOLERANCES
        }
        return Soaked(
            account=self._account(),
            poison=self._publishing.published.poison,
            good_in_dlq=good_in_dlq,
            runs={
                "in the process that stays: succeeded": succeeded,
                "in the process that stays: failed": len(worker.samples) - succeeded,
                **{f"in processes of their own: {n}": m for n, m in self._fresh.runs.items()},
            },
            faults=dict(sorted(self._faults.befallen.items())),
            requests_befallen=dict(sorted(befallen.items())),
            flat=[flatness(sampled[name], of) for name, of in TOLERANCES.items()],
        )

    def _all_at_once(self, worker: LongLived) -> None:
        """Publish, drain and do harm until the time is over, or somebody fails."""
        ended = Event()
        timer = Timer(self._seconds, ended.set)
        timer.start()
        everybody = (self._publishing, worker, self._fresh, self._faults)
        with ThreadPoolExecutor() as pool:
            try:
                going = [pool.submit(one.go_on, ended) for one in everybody]
                going.append(pool.submit(self._count_connections, ended))
                for one in as_completed(going):
                    if one.exception():
                        ended.set()
                for one in going:
                    one.result()
            finally:  # Ctrl-C, too
                ended.set()
                timer.cancel()

    def _count_connections(self, ended: Event) -> None:
        while not ended.wait(1):
            with (
                suppress(psycopg.OperationalError),  # it restarts
                closing(psycopg.connect(self._url, autocommit=True)) as server,
            ):
                row = server.execute(_CONNECTIONS).fetchone()
                self._connections.append(int(row[0]) if row else 0)

    def _settle(self, worker: LongLived) -> None:
        for _ in range(_MOST_DRAINS):
            worker.drain()
            found = self._bench.sqs.contents(self._queue)
            if not found.waiting and not found.delayed and not found.in_flight:
                return
            if not found.waiting:
                self._bench.sqs.tick(_VISIBILITY_SECONDS + 1)
        raise RuntimeError(
            f"The queue is not empty after {_MOST_DRAINS} runs: see the end of {self._log}."
        )

    def _account(self) -> Account:
        sqs = self._bench.sqs
        with closing(psycopg.connect(self._url, autocommit=True)) as database:
            return account(
                database,
                sqs.contents(self._queue),
                sqs.contents(self._dlq),
                self._publishing.published,
            )
