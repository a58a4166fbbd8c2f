"""One drain after another over a real Postgres and an SQS that fails on request.

`queues` gives each test a queue, its dead-letter queue and a database, and names them in the
environment; `drain` is the job in this process; `queues.assert_nothing_lost()` is how a test ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID, uuid4

import dagster as dg
import psycopg
import pytest

from dpp_feedback import queue, sqs_calls
from dpp_feedback.definitions import defs
from dpp_feedback.feedback.events import Ignored, Rejected
from dpp_feedback.feedback.glance import events_of
from dpp_feedback.feedback.parser import parse
from dpp_feedback.ingest import process_feedback
from dpp_feedback.local.poison import control
from dpp_feedback.local.traffic import traffic
from dpp_feedback_tests.faults import accounting
from dpp_feedback_tests.faults.accounting import Account, Fate, Published, Sent
from dpp_feedback_tests.faults.postgres import Front, Naps, front
from dpp_feedback_tests.feedback.bodies import in_sns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from benchmarks.loopback_sqs.control import LoopbackSqs

NOON = datetime(2026, 2, 17, 12, tzinfo=UTC)  # when the traffic happened
VISIBILITY = 30  # seconds; a run receives for at most a third of it
MAX_RECEIVES = 5
BATCH = 100  # rows in one statement, where a test has a `way`: a run then has several
_MOST_DRAINS = 40


class Drain(Protocol):
    """Runs process_feedback in this process; fields of its `ReceiveConfig` as keywords."""

    def __call__(self, **config: int) -> dg.ExecuteInProcessResult: ...


@dataclass
class Queues:
    """A queue of the test's own, its dead-letter queue, and what was put in.

    Attributes:
        server: the SQS that both are on: faults, latency, clock, counts.
        database_url: of the test's own database, as superuser; migrated.
        queue: the queue's name.
        dead_letter_queue: the other's.
        environment: the variables that were set.
        published: everything so far.
    """

    server: LoopbackSqs
    database_url: str
    queue: str
    dead_letter_queue: str
    environment: dict[str, str]
    published: Published = field(default_factory=Published)

    def publish(
        self,
        number: int = 0,
        *,
        seed: int = 0,
        bodies: Iterable[str] = (),
        poison: float = 0.0,
        duplicates: float = 0.0,
        ignored: float = 0.0,
    ) -> Published:
        """Put messages into the queue: SES's traffic in SNS envelopes, and bodies as they are.

        Args:
            number: how many simulated ones; from 100 on 0.2 % of them are control messages.
            seed: which; the same seed and shares give the same events, in other envelopes.
            bodies: further messages, mixed among them.
            poison: share of `number` that cannot be stored.
            duplicates: share of `number` that repeats an earlier event.
            ignored: share of `number` that is control messages, beyond those above.

        Returns:
            What was put in by this call.
        """
        chance = Random(seed)  # noqa: S311 - nothing secret hangs on it
        controls = [control(i) for i in range(round(number * ignored))]
        simulated = traffic(
            number - len(controls), seed=seed, at=NOON, duplicates=duplicates, poison=poison
        )
        mixed = [_in_sns(one.body, chance) for one in simulated]
        for body in (*(_in_sns(one, chance) for one in controls), *bodies):
            mixed.insert(chance.randint(0, len(mixed)), body)
        ids = self.server.load(self.queue, mixed)
        new = Published(tuple(_expected(name, body) for name, body in zip(ids, mixed, strict=True)))
        self.published += new
        return new

    def tick(self, seconds: float = VISIBILITY + 1) -> None:
        """Move SQS's clock ahead, past the visibility timeout unless told otherwise."""
        self.server.tick(seconds)

    def left(self) -> int:
        """Messages in the queue: waiting, in flight or delayed."""
        found = self.server.contents(self.queue)
        return len(found.waiting) + len(found.in_flight) + len(found.delayed)

    def account(self) -> Account:
        """See accounting.py: where everything is that was published."""
        with psycopg.connect(self.database_url, autocommit=True) as database:
            return accounting.account(
                database,
                self.server.contents(self.queue),
                self.server.contents(self.dead_letter_queue),
                self.published,
            )

    def assert_nothing_lost(self) -> Account:
        """Hold the three promises, once the queue is empty."""
        found = self.account()
        accounting.assert_nothing_lost(found, self.published)
        return found


@pytest.fixture
def queues(
    loopback: LoopbackSqs,
    database: psycopg.Connection[tuple[Any, ...]],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Queues:
    """A queue and a database of the test's own, in the environment."""
    assert not database.closed  # it is migrated
    own = uuid4().hex
    name, dead_letters = f"queue-{own}", f"dlq-{own}"
    loopback.create(dead_letters)
    loopback.create(
        name,
        visibility_timeout=VISIBILITY,
        dead_letter=dead_letters,
        max_receive_count=MAX_RECEIVES,
    )
    environment = {
        **loopback.environment(name, dead_letters),
        "DATABASE_URL": database_url,
    }
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    return Queues(loopback, database_url, name, dead_letters, environment)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait half a second for an answer instead of ten, and not before the next attempt."""
    for module in (queue, sqs_calls):
        monkeypatch.setattr(module, "READ_SECONDS", 0.5)
    monkeypatch.setattr(queue, "_WAIT", 0)  # a long poll lasts longer
    monkeypatch.setattr(sqs_calls, "uniform", lambda *_: 0.0)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's storage, in the test's own folder."""
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield instance


@pytest.fixture
def drain(queues: Queues, instance: dg.DagsterInstance) -> Drain:
    """The job process_feedback, in this process; a run that fails raises nothing."""
    assert queues.environment
    job = defs.resolve_job_def(process_feedback.name)

    def run(**config: int) -> dg.ExecuteInProcessResult:
        ops = {"ses_feedback_events": {"ops": {"receive_messages": {"config": config}}}}
        return job.execute_in_process(
            run_config={"ops": ops}, instance=instance, raise_on_error=False
        )

    return run


@pytest.fixture
def drain_until_empty(queues: Queues, drain: Drain) -> Drain:
    """Drains until the queue is empty, letting what is in flight come back; the last run's result.

    What fails is tried again, as the sensor does.
    """

    def run(**config: int) -> dg.ExecuteInProcessResult:
        for _ in range(_MOST_DRAINS):
            result = drain(**config)
            if not queues.left():
                return result
            if not queues.server.contents(queues.queue).waiting:
                queues.tick()
        raise AssertionError(f"{queues.left()} messages are left after {_MOST_DRAINS} runs")

    return run


def once_before(
    patch: pytest.MonkeyPatch, owner: type[object], method: str, act: Callable[[], object]
) -> None:
    """Let something happen just before a method is called the next time, and only then."""
    real = getattr(owner, method)

    def first(*arguments: Any, **options: Any) -> Any:
        patch.setattr(owner, method, real)
        act()
        return real(*arguments, **options)

    patch.setattr(owner, method, first)


def numbers(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What a run that succeeded says of itself: the materialization's metadata."""
    assert result.success
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    return {name: getattr(value, "value", value) for name, value in metadata.items()}


def _in_sns(body: str, chance: Random) -> str:
    """Put a body into an SNS envelope with an id of its own."""
    return json.dumps(in_sns(body, MessageId=str(UUID(int=chance.getrandbits(128)))))


def _expected(message_id: str, body: str) -> Sent:
    """Say what must become of a body; the parser's own tests say whether that is right."""
    outcome = parse(body, NOON)
    fate: Fate = "events"
    if isinstance(outcome, Rejected):
        fate = "poison"
    elif isinstance(outcome, Ignored):
        fate = "ignored"
    return Sent(message_id, fate, frozenset(event.dedupe_key for event in events_of(outcome)))


@pytest.fixture
def way(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """The product's way to the database, in batches of 100 rows."""
    monkeypatch.setattr("dpp_feedback.store.BATCH", BATCH)
    with front(queues.database_url) as own:
        monkeypatch.setenv("DATABASE_URL", own.url)
        yield own


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> Naps:
    """Pauses between tries are noted, and not slept."""
    return Naps.instead_of_sleeping(monkeypatch)
