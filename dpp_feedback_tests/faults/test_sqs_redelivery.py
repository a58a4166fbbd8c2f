"""SQS delivers a message again: late, to two runs at once, days later, in any order, and so on.

What AWS calls possible ("at-least-once delivery"), and what follows from the visibility timeout.
"""

from __future__ import annotations

from random import Random
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from benchmarks.loopback_sqs.faults import Fault
from dpp_feedback.local.traffic import traffic
from dpp_feedback.queue import Queue
from dpp_feedback.store import Store
from dpp_feedback_tests.failures import failure
from dpp_feedback_tests.faults.conftest import NOON, numbers, once_before

if TYPE_CHECKING:
    from typing import Any

    from dpp_feedback_tests.faults.conftest import Drain, Queues

DAY = 24 * 60 * 60


def _meanwhile(drain: Drain, seen: list[dict[str, Any]]) -> None:
    """Let another run drain the queue from beginning to end."""
    other = Thread(target=lambda: seen.append(numbers(drain())))
    other.start()
    other.join()


@pytest.mark.parametrize(
    ("owner", "method", "stored"),
    [(Store, "insert", (0, 40)), (Queue, "acknowledge", (40, 0))],
    ids=["before it stores", "before it acknowledges"],
)
def test_a_run_that_is_slower_than_the_visibility_timeout_shares_its_messages_with_another(
    queues: Queues,
    drain: Drain,
    monkeypatch: pytest.MonkeyPatch,
    owner: type[object],
    method: str,
    stored: tuple[int, int],
) -> None:
    queues.publish(40)
    other: list[dict[str, Any]] = []

    def overtake() -> None:
        queues.tick()
        _meanwhile(drain, other)

    once_before(monkeypatch, owner, method, overtake)
    slow = numbers(drain())
    assert (slow["received"], other[0]["received"]) == (40, 40)
    assert (slow["stored"], other[0]["stored"]) == stored
    assert slow["stored"] + slow["duplicates"] == 40
    assert set(queues.server.contents(queues.queue).deleted.values()) == {2}
    assert queues.assert_nothing_lost().stored == 40


def test_a_handle_that_somebody_has_received_since_deletes_nothing_and_the_message_comes_again(
    queues: Queues, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.publish(20)

    def receive() -> None:
        queues.tick()
        assert (
            len(
                Queue.connect(
                    queues.environment["SQS_QUEUE_URL"], region="us-east-1", setting="SQS_QUEUE_URL"
                )
                .receive(20, 30)
                .messages
            )
            == 20
        )

    once_before(monkeypatch, Queue, "acknowledge", receive)
    assert numbers(drain())["stored"] == 20
    assert queues.account().left == 20
    queues.tick()
    assert numbers(drain())["duplicates"] == 20
    assert queues.assert_nothing_lost().stored == 20


def test_poison_whose_handles_have_expired_comes_again_by_itself(
    queues: Queues, drain: Drain, drain_until_empty: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.publish(20, poison=0.2)
    once_before(monkeypatch, Queue, "release", queues.tick)
    first = numbers(drain())
    assert (first["stored"], first["rejected"]) == (16, 4)
    drain_until_empty()
    found = queues.assert_nothing_lost()
    assert (found.stored, found.dead) == (16, 4)


def test_an_answer_that_comes_after_the_visibility_timeout_brings_what_another_run_has_stored(
    queues: Queues, drain: Drain
) -> None:
    queues.publish(30)
    queues.server.faults([Fault("late", action="ReceiveMessage", times=3, seconds=4)])
    late: list[dict[str, Any]] = []
    waiting = Thread(target=lambda: late.append(numbers(drain())))
    waiting.start()
    while len(queues.server.contents(queues.queue).in_flight) < 30:
        assert waiting.is_alive()
    queues.tick()
    other = numbers(drain())
    waiting.join()
    assert late[0]["received"] == 30
    assert late[0]["stored"] + other["stored"] == 30  # the other's, unless it took 4 seconds
    assert queues.assert_nothing_lost().stored == 30


@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_part_of_a_delete_batch_fails_or_all_of_it(
    queues: Queues, drain: Drain, rate: float
) -> None:
    queues.publish(200, duplicates=0.05)
    queues.server.faults([Fault("partial", action="DeleteMessageBatch", rate=rate, seed=1)])
    result = drain()
    if rate == 1:
        assert failure(result) == (
            "None of 200 messages could be acknowledged, though their rows are committed: they "
            "come again, and in the end reach the DLQ. SQS refused DeleteMessageBatch: "
            "InternalError"
        )
        left = 200
    else:
        left = int(numbers(result)["not_acknowledged"])
        assert 20 < left < 100
    found = queues.account()
    assert (found.left, found.rows_missing) == (left, [])
    queues.server.faults([])
    queues.tick()
    again = numbers(drain())
    assert (again["received"], again["stored"]) == (left, 0)
    found = queues.assert_nothing_lost()
    assert (found.stored, found.duplicates, found.ignored) == (189, 10, 1)


def test_the_same_messages_delivered_to_two_runs_at_once_count_once(
    queues: Queues, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.publish(10)
    queues.server.faults([Fault("duplicate", action="ReceiveMessage")])
    other: list[dict[str, Any]] = []
    once_before(monkeypatch, Store, "insert", lambda: _meanwhile(drain, other))
    one = numbers(drain(max_messages=10))  # with one call: the copies wait for the other run
    assert (one["received"], one["duplicates"]) == (10, 10)
    assert (other[0]["received"], other[0]["stored"]) == (10, 10)
    assert queues.assert_nothing_lost().stored == 10


def test_a_message_that_one_run_receives_twice_counts_once(
    queues: Queues, drain_until_empty: Drain
) -> None:
    queues.publish(200, poison=0.02)
    queues.server.faults([Fault("duplicate", rate=0.5)])
    drain_until_empty()
    assert queues.server.stats().received > 250
    found = queues.assert_nothing_lost()
    assert (found.stored, found.ignored, found.dead) == (195, 1, 4)


def test_the_same_events_days_later_are_duplicates(queues: Queues, drain: Drain) -> None:
    queues.publish(100)
    assert numbers(drain())["stored"] == 99
    queues.tick(3 * DAY)
    queues.publish(100)
    again = numbers(drain())
    assert (again["stored"], again["duplicates"], again["ignored"]) == (0, 99, 1)
    found = queues.assert_nothing_lost()
    assert (found.published, found.stored, found.duplicates) == (200, 99, 99)


def test_messages_that_wait_for_days_are_stored(queues: Queues, drain: Drain) -> None:
    queues.publish(50)
    queues.tick(3 * DAY)
    assert numbers(drain())["stored"] == 50
    assert queues.assert_nothing_lost().stored == 50


def test_the_order_in_which_events_arrive_makes_no_difference(
    queues: Queues, drain_until_empty: Drain
) -> None:
    kinds = ("Send", "Delivery", "Bounce", "Complaint", "Open", "Click", "DeliveryDelay")
    bodies = [
        one.body for one in traffic(300, seed=3, at=NOON, poison=0, duplicates=0.1, kinds=kinds)
    ]
    Random(5).shuffle(bodies)  # noqa: S311 - nothing secret hangs on it
    queues.publish(bodies=bodies)
    queues.server.short_receives(7)
    drain_until_empty(max_messages=70)
    found = queues.assert_nothing_lost()
    assert (found.published, found.stored, found.duplicates, found.ignored) == (300, 269, 30, 1)
