"""SQS refuses, hangs, breaks off, or answers what nobody can read: each message is where it was.

Each fault befalls every call of a drain some times, and some messages of each sort wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.loopback_sqs.faults import Fault
from dpp_feedback.queue import Queue
from dpp_feedback_tests.failures import failure
from dpp_feedback_tests.faults.conftest import numbers, once_before

if TYPE_CHECKING:
    from benchmarks.loopback_sqs.faults import Kind
    from dpp_feedback_tests.faults.conftest import Drain, Queues

CALLS = ("ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "kind",
    [
        *("throttle", "error500", "unavailable503"),
        *("hang", "late", "reset", "reset_after", "cut", "garbage"),
    ],
)
def test_what_passes_is_tried_again_and_each_message_counts_once(
    queues: Queues, drain_until_empty: Drain, kind: Kind
) -> None:
    queues.publish(300, poison=0.02, duplicates=0.05)
    seconds = 2.0 if kind == "late" else 0.0
    queues.server.faults(
        [Fault(kind, action=action, rate=0.3, times=6, seconds=seconds) for action in CALLS]
    )
    drain_until_empty()
    assert queues.server.stats().faults[kind] >= 12
    found = queues.assert_nothing_lost()
    assert (found.stored, found.duplicates, found.ignored, found.dead) == (278, 15, 1, 6)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("throttle", "SQS cannot do GetQueueAttributes now: RequestThrottled (400). Try again."),
        ("hang", "SQS does not answer (ReadTimeoutError): check AWS_REGION"),
        ("garbage", "What answered GetQueueAttributes does not speak as SQS does: check"),
    ],
)
def test_an_sqs_that_is_down_fails_the_run_in_a_sentence_and_no_receive_is_counted(
    queues: Queues, drain: Drain, drain_until_empty: Drain, kind: Kind, said: str
) -> None:
    queues.publish(50)
    queues.server.faults([Fault(kind)])
    assert failure(drain()).startswith(said)
    assert set(queues.server.contents(queues.queue).waiting.values()) == {0}
    queues.server.faults([])
    drain_until_empty()
    assert queues.assert_nothing_lost().stored == 50


@pytest.mark.parametrize("kind", ["throttle", "cut", "garbage"])
def test_receiving_that_breaks_off_stores_what_came(
    queues: Queues, drain: Drain, drain_until_empty: Drain, kind: Kind
) -> None:
    queues.publish(300)
    queues.server.faults([Fault(kind, action="ReceiveMessage", after=10)])
    first = numbers(drain())
    assert (first["received"], first["not_acknowledged"]) == (100, 0)
    assert queues.account().rows == first["new_rows"] > 0
    queues.server.faults([])
    drain_until_empty()
    found = queues.assert_nothing_lost()
    assert (found.stored, found.ignored) == (299, 1)


@pytest.mark.parametrize("kind", ["throttle", "cut", "garbage"])
def test_acknowledging_that_breaks_off_leaves_stored_messages_that_come_again_as_duplicates(
    queues: Queues, drain: Drain, kind: Kind
) -> None:
    queues.publish(300)
    queues.server.faults([Fault(kind, action="DeleteMessageBatch", after=10)])
    first = numbers(drain())
    # An answer that is cut is about a batch that was deleted.
    deleted = 300 if kind == "cut" else 100
    assert (first["received"], first["not_acknowledged"]) == (300, 200)
    assert len(queues.server.contents(queues.queue).deleted) == deleted
    queues.server.faults([])
    queues.tick()
    again = numbers(drain())
    assert (again["stored"], again["received"]) == (0, 300 - deleted)
    found = queues.assert_nothing_lost()
    assert (found.stored, found.ignored) == (299, 1)


def test_an_sqs_that_goes_down_while_rows_are_committed_fails_the_run(
    queues: Queues, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.publish(50)
    once_before(
        monkeypatch, Queue, "acknowledge", lambda: queues.server.faults([Fault("unavailable503")])
    )
    assert failure(drain()) == (
        "None of 50 messages could be acknowledged, though their rows are committed: they come "
        "again, and in the end reach the DLQ. SQS cannot do DeleteMessageBatch now: "
        "ServiceUnavailable (503). Try again."
    )
    assert queues.account().rows_missing == []
    queues.server.faults([])
    queues.tick()
    assert numbers(drain())["duplicates"] == 50
    assert queues.assert_nothing_lost().stored == 50
