"""What goes wrong in a soak: one thing after another from a seeded list, with calm in between."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import psycopg

from benchmarks.loopback_sqs.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from benchmarks.loopback_sqs.control import Control
    from benchmarks.soak.drains import Fresh
    from dpp_feedback.local.postgres import EmbeddedPostgres

_SQS = {
    "SQS throttles": Fault("throttle", rate=0.3),
    "SQS answers 500": Fault("error500", rate=0.3),
    "SQS answers 503": Fault("unavailable503", rate=0.3),
    "SQS resets connections": Fault("reset", rate=0.2),
    "SQS resets connections after it has acted": Fault("reset_after", rate=0.1),
    "SQS's answers are cut": Fault("cut", rate=0.1),
    "SQS answers with a page of HTML": Fault("garbage", rate=0.1),
    "SQS answers late": Fault("late", rate=0.2, seconds=2),
    "SQS does not answer": Fault("hang", rate=0.2, times=5, seconds=15),
    "SQS carries out batches in part": Fault("partial", rate=0.3),
    "SQS gives messages twice": Fault("duplicate", rate=0.5),
    "credentials have expired": Fault("expired_token"),
}
_CALM = 0.5, 3.0  # seconds, from and to
_SECONDS = 1.0, 5.0  # for which a fault lasts
_DOWN = 0.2, 4.0  # for which Postgres is away
_LOCKED = 2.0, 12.0  # longer than the 10 seconds that a drain waits for a lock
_TABLES = (
    "public.ses_feedback_events",
    "public.ses_feedback_daily_counts",
    "public.ses_feedback_rejects",
)
_TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dpp_feedback'
"""


class Faults:
    """Lets things go wrong until the end, all kinds in an order of the seed, then again.

    Args:
        seed: of the order and of how long each lasts.
        sqs: a control of its own.
        postgres: the server that the drains use.
        database_url: of their database.
        fresh: the runs of which some are killed.

    Attributes:
        befallen: what went wrong, how often.
    """

    def __init__(
        self, seed: int, sqs: Control, postgres: EmbeddedPostgres, database_url: str, fresh: Fresh
    ) -> None:
        self._random = Random(f"soak/{seed}")  # noqa: S311 - it must be repeatable
        self._sqs = sqs
        self._postgres = postgres
        self._database_url = database_url
        self._fresh = fresh
        self.befallen: Counter[str] = Counter()
        self._ended: Event

    def go_on(self, ended: Event) -> None:
        """Do harm until the end; then all is well again."""
        self._ended = ended
        kinds: list[str] = []
        harm = self._harm()
        while not ended.wait(self._random.uniform(*_CALM)):
            if not kinds:
                kinds = self._random.sample(sorted(harm), len(harm))
            kind = kinds.pop()
            harm[kind]()
            self.befallen[kind] += 1

    def _harm(self) -> dict[str, Callable[[], None]]:
        return {
            **{name: self._befall_sqs(fault) for name, fault in _SQS.items()},
            "SQS gives fewer messages than it has": self._give_less,
            "SQS is slow": self._slow_down,
            "Postgres restarts": self._restart,
            "Postgres ends connections": self._terminate,
            "a table is locked": self._lock,
            "the process of a run is killed": self._kill,
        }

    def _befall_sqs(self, fault: Fault) -> Callable[[], None]:
        def befall() -> None:
            self._sqs.faults([fault])
            self._last(_SECONDS)
            self._sqs.faults([])

        return befall

    def _give_less(self) -> None:
        self._sqs.short_receives(self._random.randrange(1000))
        self._last(_SECONDS)
        self._sqs.short_receives(None)

    def _slow_down(self) -> None:
        self._sqs.latency(200)
        self._last(_SECONDS)
        self._sqs.latency(0)

    def _restart(self) -> None:
        self._postgres.stop()
        self._last(_DOWN)
        self._postgres.start()

    def _terminate(self) -> None:
        with psycopg.connect(self._database_url, autocommit=True) as server:
            server.execute(_TERMINATE)

    def _lock(self) -> None:
        with psycopg.connect(self._database_url) as server:
            server.execute(f"LOCK TABLE {self._random.choice(_TABLES)} IN ACCESS EXCLUSIVE MODE")
            self._last(_LOCKED)

    def _kill(self) -> None:
        self._fresh.kill(self._ended)

    def _last(self, seconds: tuple[float, float]) -> None:
        self._ended.wait(self._random.uniform(*seconds))
