"""Random orders of everything that happens to a queue, a table and those who work between them.

Hypothesis drives the four real ops, one at a time, for three workers that hold messages at once,
over a real Postgres and a real SQS protocol. After each step it looks from outside.

What stands in: long polls and the pauses between attempts take no time, batches have 3 rows
instead of 1,000, and each call of SQS is tried twice instead of three times.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid4

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
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
from dpp_feedback_tests.bounces import bounce
from dpp_feedback_tests.faults.commits import Front, Loss, front
from dpp_feedback_tests.faults.conftest import MAX_RECEIVES, NOON, VISIBILITY, Queues
from dpp_feedback_tests.feedback.bodies import in_sns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.loopback_sqs.control import Contents, LoopbackSqs

WORKERS = 3
DRAINS = 8  # more than the receives after which a message is dead
# Some repeat others, in SES's other format among them. One has a good record and a broken one.
_SIMULATED = [one.body for one in traffic(24, seed=3, at=NOON, duplicates=0.2, poison=0.2)]
_SEVERAL = bounce(1, "a@example.org", "b@example.org", "c@example.org", "d@example.org")
_HALF = json.dumps({"Records": [{"Sns": in_sns(_SIMULATED[0])}, {"Sns": in_sns("{}")}]})
BODIES = [*_SIMULATED, control(0), control(1), _SEVERAL, _HALF]

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
    instance: dg.DagsterInstance
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
    with front(database_url) as before, dg.DagsterInstance.ephemeral() as instance:
        yield Stage(loopback, database_url, before, instance, monkeypatch)


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
        # As the last look from outside found it: steps that would change nothing are left out.
        self.rows = self.recounted = self.in_flight = self.dead = 0
        self.refuses = False

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
        self.context = dg.build_op_context(instance=self.stage.instance)

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
        assert isinstance(persisted, Persisted)
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

    @precondition(lambda self: self.in_flight)
    @rule(seconds=st.sampled_from([5, VISIBILITY + 1]))
    def time_passes(self, seconds: int) -> None:
        self.queues.tick(seconds)

    @precondition(lambda self: self.dead)
    @rule(dry_run=st.booleans())
    def reprocess(self, dry_run: bool) -> None:
        result = defs.resolve_job_def("reprocess_dlq").execute_in_process(
            run_config={"dry_run": dry_run}, instance=self.stage.instance
        )
        assert result.success

    @precondition(lambda self: self.rows > self.recounted)
    @rule()
    def recount_the_day(self) -> None:
        self.recounted = self.rows
        with self.store.connect() as connected:
            assert connected.daily_counts.mend(NOON.date(), NOON.date()) == []

    @precondition(lambda self: self._any(Received) or self.refuses)
    @rule()
    def the_table_refuses_bounces_or_no_longer(self) -> None:
        self._refuse_bounces(not self.refuses)

    def _refuse_bounces(self, refuses: bool) -> None:
        self.refuses = refuses
        self.database.execute(
            "ALTER TABLE public.ses_feedback_events DROP CONSTRAINT IF EXISTS no_bounces"
        )
        if refuses:
            self.database.execute(
                "ALTER TABLE public.ses_feedback_events ADD CONSTRAINT no_bounces "
                "CHECK (notification_type <> 'Bounce') NOT VALID"
            )

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        found = self.queues.account()
        assert not found.lost
        assert not found.rows_twice
        assert not found.rows_unexpected
        assert not found.counters_differ
        dead = self.stage.server.contents(self.queues.dead_letter_queue)
        for name in found.good_in_dlq:
            assert (dead.waiting | dead.in_flight)[name] >= MAX_RECEIVES
        self.rows, self.dead = found.rows, found.dead

    @invariant()
    def nothing_deleted_is_on_the_list_of_rejects(self) -> None:
        contents = self._contents()
        waiting = self.database.execute(
            "SELECT message_id FROM public.ses_feedback_rejects "
            "WHERE resolution = 'waiting' AND message_id = ANY (%s)",
            [list(contents.deleted)],
        ).fetchall()
        assert waiting == []
        self.in_flight = len(contents.in_flight)

    def teardown(self) -> None:
        """Let all be well, and everybody work: then each message is where it belongs."""
        self.stage.server.faults([])
        self.stage.front.mend()
        self._refuse_bounces(refuses=False)
        self.held = [None] * WORKERS
        for _ in range(DRAINS):
            if not self.queues.left():
                break
            self.queues.tick()
            self._receive(0, 10_000)
            self._parse(0)
            self._persist(0)
            self._acknowledge(0)
        if self.queues.account().good_in_dlq:
            self.reprocess(dry_run=False)
        self.queues.assert_nothing_lost()
        self.database.close()

    def _receive(self, worker: int, number: int) -> None:
        config = ReceiveConfig(max_messages=number)
        self._work(worker, ingest.receive_messages, config=config)

    def _parse(self, worker: int) -> None:
        self._work(worker, ingest.parse_messages, received=self.held[worker])

    def _persist(self, worker: int) -> None:
        self._work(worker, ingest.persist_events, parsed=self.held[worker])

    def _acknowledge(self, worker: int) -> None:
        self._work(worker, ingest.acknowledge_messages, persisted=self.held[worker])

    def _work(self, worker: int, op: dg.OpDefinition, **given: Any) -> None:
        """Let a worker do one of the four ops; if that fails, the worker is gone."""
        self.held[worker] = None
        with suppress(dg.Failure):
            # The function itself: Dagster would make the resources anew, and boto3's client.
            assert isinstance(op.compute_fn, DecoratedOpFunction)
            did = op.compute_fn.decorated_fn(
                self.context, queue=self.queue, store=self.store, **given
            )
            self.held[worker] = None if isinstance(did, dg.Output) else did

    def _while(self, fault: Fault | None, work: Callable[..., None], *given: Any) -> None:
        self.stage.server.faults([fault] if fault else [])
        work(*given)
        self.stage.server.faults([])

    def _any(self, kind: type) -> bool:
        return any(isinstance(held, kind) for held in self.held)

    def _one(self, kind: type, chosen: int) -> int:
        """Choose among the workers that hold such."""
        those = [n for n, held in enumerate(self.held) if held and isinstance(held, kind)]
        return those[chosen % len(those)]

    def _contents(self) -> Contents:
        return self.stage.server.contents(self.queues.queue)

    def _assert_gone(self, persisted: Persisted, before: Mapping[str, int]) -> None:
        """What was nobody else's is deleted or back, as no fault was in the way."""
        after = self._contents()
        for message in persisted.done:
            if before.get(message.id) == message.receive_count:
                assert message.id in after.deleted
        for left in persisted.left:
            if before.get(left.message.id) == left.message.receive_count:
                assert left.message.id in after.waiting

    def _in_an_envelope(self, body: str) -> str:
        self.envelopes += 1
        return json.dumps(in_sns(body, MessageId=str(UUID(int=self.envelopes))))


def test_any_order_of_events_loses_nothing_and_counts_nothing_twice(stage: Stage) -> None:
    class OnStage(Feedback):
        def __init__(self) -> None:
            super().__init__(stage)

    run_state_machine_as_test(
        OnStage,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
