"""Random orders of everything that happens to a queue, a table and those who work between them.

Hypothesis drives the four real ops, one at a time, for three workers that hold messages at once,
over a real Postgres and a real SQS protocol. After each step it looks from outside.

What stands in: long polls and the pauses between attempts take no time, batches have 3 rows
instead of 1,000, and each call of SQS is tried twice instead of three times.
"""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid4

import dagster as dg
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from benchmarks.loopback_sqs.faults import Fault
from dpp_feedback import ingest, queue, sqs_calls, store
from dpp_feedback.definitions import defs
from dpp_feedback.drain_config import ReceiveConfig
from dpp_feedback.drained import Parsed, Persisted, Received
from dpp_feedback.local.poison import control
from dpp_feedback.local.traffic import traffic
from dpp_feedback.resources import FeedbackQueue, FeedbackStore
from dpp_feedback_tests.faults import accounting
from dpp_feedback_tests.faults.commits import Front, Loss, front
from dpp_feedback_tests.faults.conftest import MAX_RECEIVES, NOON, VISIBILITY, Queues
from dpp_feedback_tests.feedback.bodies import in_sns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.loopback_sqs.control import Contents, LoopbackSqs

WORKERS = 3
# Some repeat others, in SES's other format among them. One has a good record and a broken one.
_SIMULATED = [one.body for one in traffic(24, seed=3, at=NOON, duplicates=0.2, poison=0.2)]
_HALF = json.dumps({"Records": [{"Sns": in_sns(_SIMULATED[0])}, {"Sns": in_sns("{}")}]})
BODIES = [*_SIMULATED, control(0), control(1), _HALF]
_REFUSED = "DELIVERED HERE NO MORE"

RECEIVING = [
    Fault("reset_after", "ReceiveMessage", times=2),  # so many that the caller gives up
    Fault("reset_after", "ReceiveMessage", times=1),
    Fault("duplicate", "ReceiveMessage"),
    Fault("cut", "ReceiveMessage", times=1),
    Fault("throttle", "ReceiveMessage", times=2),
]
ACKNOWLEDGING = [
    Fault("partial", "DeleteMessageBatch", rate=0.5),
    Fault("partial", "*", rate=1.0),
    Fault("reset_after", "DeleteMessageBatch", times=2),
    Fault("reset", "DeleteMessageBatch", times=2),
    Fault("error500", "*", times=1),
    Fault("expired_token", "*", times=1),
]


class Stage(NamedTuple):
    """The real parts, one for all examples."""

    server: LoopbackSqs
    database_url: str
    front: Front
    patch: pytest.MonkeyPatch


@pytest.fixture
def stage(
    loopback: LoopbackSqs,
    database: psycopg.Connection[tuple[Any, ...]],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    assert not database.closed  # it is migrated
    monkeypatch.setattr(queue, "_WAIT", 0)
    monkeypatch.setattr(sqs_calls, "ATTEMPTS", 2)
    monkeypatch.setattr(store, "BATCH", 3)
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(logging.getLogger("dagster"), "disabled", True)
    with front(database_url) as before:
        yield Stage(loopback, database_url, before, monkeypatch)


class Feedback(RuleBasedStateMachine):
    """What happens; each rule is a step of the world or of one worker.

    Args:
        stage: the real parts.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        own = uuid4().hex
        self.queues = Queues(stage.server, stage.database_url, f"queue-{own}", f"dlq-{own}", {})
        self.database = psycopg.connect(stage.database_url, autocommit=True)
        self.held: list[Received | Parsed | Persisted | None] = [None] * WORKERS
        self.envelopes = 0

    @initialize()
    def begin(self) -> None:
        queues, server = self.queues, self.stage.server
        server.create(queues.dead_letter_queue)
        server.create(
            queues.queue,
            visibility_timeout=VISIBILITY,
            dead_letter=queues.dead_letter_queue,
            max_receive_count=MAX_RECEIVES,
        )
        settings = server.environment(queues.queue, queues.dead_letter_queue)
        for name, value in {**settings, "DATABASE_URL": self.stage.front.url}.items():
            self.stage.patch.setenv(name, value)
        self.database.execute(
            "TRUNCATE public.ses_feedback_events, public.ses_feedback_daily_counts, "
            "public.ses_feedback_daily_totals, public.ses_feedback_rejects"
        )
        self.queue, self.store = FeedbackQueue(), FeedbackStore()

    @rule(numbers=st.lists(st.integers(0, len(BODIES) - 1), min_size=1, max_size=8))
    def publish(self, numbers: list[int]) -> None:
        self.queues.publish(bodies=[self._in_an_envelope(BODIES[number]) for number in numbers])

    @precondition(lambda self: None in self.held)
    @rule(number=st.integers(1, 12), fault=st.none() | st.sampled_from(RECEIVING))
    def receive(self, number: int, fault: Fault | None) -> None:
        self._while(fault, self._receive, self.held.index(None), number)

    @precondition(lambda self: self._any(Received))
    @rule(chosen=st.integers(0, WORKERS - 1))
    def parse(self, chosen: int) -> None:
        self._parse(self._one(Received, chosen))

    @precondition(lambda self: self._any(Parsed))
    @rule(
        chosen=st.integers(0, WORKERS - 1),
        loss=st.sampled_from([None, "before", "after"]),
        after=st.integers(0, 4),
        then_down=st.booleans(),
    )
    def persist(self, chosen: int, loss: Loss | None, after: int, then_down: bool) -> None:
        if loss:
            self.stage.front.lose(loss, after, then_down=then_down)
        self._persist(self._one(Parsed, chosen))
        self.stage.front.mend()

    @precondition(lambda self: self._any(Persisted))
    @rule(
        chosen=st.integers(0, WORKERS - 1),
        fault=st.none() | st.sampled_from(ACKNOWLEDGING),
        twice=st.booleans(),
    )
    def acknowledge(self, chosen: int, fault: Fault | None, twice: bool) -> None:
        worker = self._one(Persisted, chosen)
        persisted = self.held[worker]
        before = self._contents().in_flight
        self._while(fault, self._acknowledge, worker)
        if fault is None:
            self._assert_gone(persisted, before)
        if twice:
            self.held[worker] = persisted
            self._acknowledge(worker)

    @precondition(lambda self: any(self.held))
    @rule(chosen=st.integers(0, WORKERS - 1))
    def crash(self, chosen: int) -> None:
        self.held[self._one(object, chosen)] = None

    @rule(seconds=st.sampled_from([5, VISIBILITY + 1]))
    def time_passes(self, seconds: int) -> None:
        self.queues.tick(seconds)

    @rule(dry_run=st.booleans())
    def reprocess(self, dry_run: bool) -> None:
        result = defs.resolve_job_def("reprocess_dlq").execute_in_process(
            run_config={"dry_run": dry_run}
        )
        assert result.success

    @rule()
    def recount_the_day(self) -> None:
        with self.store.connect() as connected:
            assert connected.daily_counts.mend(NOON.date(), NOON.date()) == []

    @rule(refuses=st.booleans())
    def the_table_refuses_deliveries(self, refuses: bool) -> None:
        self.database.execute(
            f'ALTER TABLE public.ses_feedback_events DROP CONSTRAINT IF EXISTS "{_REFUSED}"'
        )
        if refuses:
            self.database.execute(
                f'ALTER TABLE public.ses_feedback_events ADD CONSTRAINT "{_REFUSED}" '
                "CHECK (notification_type <> 'Delivery' OR feedback_id = 'none') NOT VALID"
            )

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        found = self.queues.account()
        assert not found.lost
        assert not found.rows_twice
        assert not found.rows_unexpected
        assert not found.counters_differ
        assert found.counted == 2 * found.rows or found.counted == found.rows
        dead = self.stage.server.contents(self.queues.dead_letter_queue)
        for name in found.good_in_dlq:
            assert (dead.waiting | dead.in_flight)[name] >= MAX_RECEIVES

    @invariant()
    def nothing_deleted_is_on_the_list_of_rejects(self) -> None:
        deleted = [*self._contents().deleted]
        waiting = self.database.execute(
            "SELECT message_id FROM public.ses_feedback_rejects "
            "WHERE resolution = 'waiting' AND message_id = ANY (%s)",
            [deleted],
        ).fetchall()
        assert waiting == []

    def teardown(self) -> None:
        """Let the world be well, and everybody work: then everything is where it belongs."""
