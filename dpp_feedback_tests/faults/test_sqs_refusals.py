"""SQS refuses for good: the queue is deleted, credentials expire, rights are taken, limits reached.

Nothing that was committed is forgotten, and the run says in a sentence what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import pytest

from benchmarks.loopback_sqs.faults import Fault
from dpp_feedback.definitions import defs
from dpp_feedback.queue import Depth, Queue
from dpp_feedback.reprocess import NAME as REPROCESS
from dpp_feedback.resources import FeedbackQueue
from dpp_feedback.sensors import feedback_queue_sensor
from dpp_feedback.store import Store
from dpp_feedback_tests.failures import failure
from dpp_feedback_tests.faults.conftest import (
    MAX_RECEIVES,
    VISIBILITY,
    numbers,
    once_before,
)

if TYPE_CHECKING:
    from benchmarks.loopback_sqs.faults import Kind
    from dpp_feedback_tests.faults.conftest import Drain, Queues

EXPIRED = (
    "the credentials have expired: check the role of the pod's service account, or log in again."
)
LATER = (
    "could be acknowledged, though their rows are committed: they come again, and in the end reach "
    "the DLQ."
)


def reprocess(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Put back what lies in the dead-letter queue, as an operator does."""
    return defs.resolve_job_def(REPROCESS).execute_in_process(
        {"dry_run": False}, instance=instance, raise_on_error=False
    )


def test_a_queue_that_is_deleted_while_a_run_holds_its_messages_takes_no_row_with_it(
    queues: Queues, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.publish(50)
    url = queues.environment["SQS_QUEUE_URL"]
    sqs = boto3.client("sqs", region_name=queues.environment["AWS_REGION"])
    once_before(monkeypatch, Store, "insert", lambda: sqs.delete_queue(QueueUrl=url))
    gone = f"SQS_QUEUE_URL names a queue that does not exist: {url}. "
    assert failure(drain()).startswith(f"None of 50 messages {LATER} {gone}")
    # Wired anew, it goes on. What was in it is gone from SQS, and all in the table.
    queues.tick(61)  # AWS refuses the same name for a minute
    queues.server.create(
        queues.queue, visibility_timeout=VISIBILITY, dead_letter=queues.dead_letter_queue
    )
    before = queues.published
    new = queues.publish(30, seed=1)
    assert numbers(drain())["stored"] == 30
    found = queues.account()
    assert found.rows == found.counted == len(before.keys) + len(new.keys)
    assert (found.rows_missing, found.rows_unexpected, found.counters_differ) == ([], [], [])
    assert found.lost == [one.id for one in before]  # by whoever deleted the queue; but for rows


def test_a_queue_that_is_deleted_while_a_run_receives(queues: Queues, drain: Drain) -> None:
    queues.publish(200)
    queues.server.faults([Fault("not_found", action="ReceiveMessage", after=5)])
    first = numbers(drain())
    assert (first["received"], first["not_acknowledged"]) == (50, 0)
    assert queues.account().rows == first["new_rows"] > 0


def test_credentials_that_expire_while_a_run_receives_store_what_came(
    queues: Queues, drain: Drain, drain_until_empty: Drain
) -> None:
    queues.publish(200)
    queues.server.faults([Fault("expired_token", action="ReceiveMessage", after=5)])
    first = numbers(drain())
    assert (first["received"], first["not_acknowledged"]) == (50, 0)
    queues.server.faults([])
    drain_until_empty()
    found = queues.assert_nothing_lost()
    assert (found.stored, found.ignored) == (199, 1)


def test_credentials_that_expire_before_anything_is_acknowledged_fail_the_run_once_it_is_committed(
    queues: Queues, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.publish(50)
    once_before(
        monkeypatch, Queue, "acknowledge", lambda: queues.server.faults([Fault("expired_token")])
    )
    assert failure(drain()) == (
        f"None of 50 messages {LATER} SQS refused DeleteMessageBatch (ExpiredToken): {EXPIRED}"
    )
    assert queues.account().rows_missing == []
    assert failure(drain()) == f"SQS refused GetQueueAttributes (ExpiredToken): {EXPIRED}"
    queues.server.faults([])
    queues.tick()
    assert numbers(drain())["duplicates"] == 50
    assert queues.assert_nothing_lost().stored == 50


def test_credentials_that_expire_while_a_run_acknowledges_leave_duplicates(
    queues: Queues, drain: Drain
) -> None:
    queues.publish(200)
    queues.server.faults([Fault("expired_token", action="DeleteMessageBatch", after=5)])
    assert numbers(drain())["not_acknowledged"] == 150
    queues.server.faults([])
    queues.tick()
    assert numbers(drain())["received"] == 150
    found = queues.assert_nothing_lost()
    assert (found.stored, found.ignored) == (199, 1)


def test_a_role_that_may_not_delete_brings_stored_messages_to_the_dlq_and_reprocessing_takes_them(
    queues: Queues, drain: Drain, instance: dg.DagsterInstance
) -> None:
    queues.publish(20)
    queues.server.faults([Fault("access_denied", action="DeleteMessageBatch")])
    for _ in range(MAX_RECEIVES):
        assert failure(drain()).startswith(
            f"None of 20 messages {LATER} The role may not call sqs:DeleteMessageBatch"
        )
        queues.tick()
    assert numbers(drain())["received"] == 0
    found = queues.account()
    assert (found.dead, found.rows_missing, found.rows_twice) == (20, [], 0)
    queues.server.faults([])
    assert reprocess(instance).success
    assert queues.assert_nothing_lost().stored == 20


@pytest.mark.usefixtures("impatient")
def test_answers_that_are_always_lost_bring_good_messages_to_the_dlq_and_reprocessing_stores_them(
    queues: Queues, drain: Drain, instance: dg.DagsterInstance
) -> None:
    """SQS has counted the receives; no consumer can tell such a message from poison."""
    queues.publish(10)
    queues.server.faults([Fault("reset_after", action="ReceiveMessage")])
    while queues.left():
        assert failure(drain()).startswith("SQS does not answer (ConnectionClosedError)")
        queues.tick()
    queues.server.faults([])
    assert queues.account().rows == 0
    assert reprocess(instance).success
    assert queues.assert_nothing_lost().stored == 10


def test_more_in_flight_than_sqs_allows_fails_the_run_and_is_named(
    queues: Queues, drain: Drain
) -> None:
    queues.publish(50)
    queues.server.faults([Fault("over_limit", action="ReceiveMessage")])
    assert failure(drain()) == (
        "SQS refused ReceiveMessage (OverLimit): 120,000 messages are in flight: find out why runs "
        "fail."
    )
    queues.server.faults([])
    assert numbers(drain())["stored"] == 50
    queues.assert_nothing_lost()


@pytest.mark.parametrize("told", [0, 5, 100_000])
def test_a_depth_that_is_not_true_stops_no_run(
    queues: Queues, drain: Drain, monkeypatch: pytest.MonkeyPatch, told: int
) -> None:
    """The depth is a stand-in's: the server counts exactly, where SQS lags by up to a minute."""
    queues.publish(150, poison=0.02)
    monkeypatch.setattr(Queue, "depth", lambda _: Depth(told, 0, VISIBILITY))
    assert numbers(drain())["received"] == 150
    # 64 calls at a time may find nothing, where so many more were promised.
    assert queues.server.stats().requests["ReceiveMessage"] <= 15 + 64


def test_a_depth_of_0_though_messages_wait_makes_the_sensor_wait_for_its_next_tick(
    queues: Queues, drain: Drain, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The depth is a stand-in's, as above."""
    queues.publish(30)

    def ticked() -> list[dg.RunRequest] | str | None:
        with dg.build_sensor_context(
            instance=instance, resources={"queue": FeedbackQueue()}, definitions=defs
        ) as context:
            data = feedback_queue_sensor.evaluate_tick(context)
        return list(data.run_requests or []) or data.skip_message

    with monkeypatch.context() as patched:
        patched.setattr(Queue, "depth", lambda _: Depth(0, 0, VISIBILITY))
        assert ticked() == "Nothing waiting; 0 in flight."
    assert isinstance(ticked(), list)
    assert numbers(drain())["stored"] == 30
    queues.assert_nothing_lost()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["throttle", "hang", "expired_token", "not_found", "garbage"])
def test_a_sensor_that_cannot_ask_says_why_and_goes_on(
    queues: Queues, instance: dg.DagsterInstance, kind: Kind
) -> None:
    queues.publish(5)
    queues.server.faults([Fault(kind)])
    with dg.build_sensor_context(
        instance=instance, resources={"queue": FeedbackQueue()}, definitions=defs
    ) as context:
        said: Any = feedback_queue_sensor.evaluate_tick(context).skip_message
    assert "SQS" in said
    queues.server.faults([])
    assert queues.account().left == 5
