"""SQS through boto3 and a real HTTP endpoint: receive, acknowledge, hand back, and what fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import pytest

from dpp_feedback.aws_errors import AwsRefused, AwsUnavailable
from dpp_feedback.queue import Depth, Message, Queue, RedrivePolicy
from dpp_feedback.resources import FeedbackQueue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def queue(environment: dict[str, str]) -> Queue:
    assert environment
    return FeedbackQueue().connect()


def _send(sqs: SQSClient, environment: dict[str, str], number: int) -> set[str]:
    bodies = {f"body {i}" for i in range(number)}
    waiting = sorted(bodies)
    for start in range(0, number, 10):
        sqs.send_message_batch(
            QueueUrl=environment["SQS_QUEUE_URL"],
            Entries=[
                {"Id": str(i), "MessageBody": body}
                for i, body in enumerate(waiting[start : start + 10])
            ],
        )
    return bodies


def _none(_: Message) -> Message | None:
    return None


def _until_waiting(queue: Queue, number: int) -> None:
    """Wait until so many messages are visible again; the environment's timeout is 3 seconds."""
    end = monotonic() + 30
    while queue.depth().waiting != number:
        assert monotonic() < end, queue.depth()
        sleep(0.1)


def test_everything_that_waits_is_received_once(
    queue: Queue, environment: dict[str, str], sqs: SQSClient
) -> None:
    bodies = _send(sqs, environment, 137)
    assert queue.depth() == Depth(waiting=137, in_flight=0, visibility_timeout=3)
    messages = queue.receive(1000, 30).messages
    assert {message.body for message in messages} == bodies
    assert len(messages) == 137
    first = messages[0]
    assert first.receive_count == 1
    assert abs(first.sent_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert first.body not in repr(first)
    assert first.receipt_handle not in repr(first)


def test_no_more_is_received_than_asked_for(
    queue: Queue, environment: dict[str, str], sqs: SQSClient
) -> None:
    _send(sqs, environment, 60)
    assert len(queue.receive(25, 30).messages) == 25
    assert queue.depth().waiting == 35


def test_receiving_ends_in_time(queue: Queue, environment: dict[str, str], sqs: SQSClient) -> None:
    _send(sqs, environment, 20)
    assert queue.receive(1000, max_seconds=0).messages == []
    assert queue.depth().waiting == 20


def test_an_empty_queue_gives_nothing(queue: Queue) -> None:
    assert queue.receive(10, 30).messages == []


def test_what_is_acknowledged_never_comes_back(
    queue: Queue, environment: dict[str, str], sqs: SQSClient
) -> None:
    _send(sqs, environment, 33)
    messages = queue.receive(1000, 30).messages
    assert queue.acknowledge(messages[:30]) == {}
    _until_waiting(queue, 3)


def test_what_is_handed_back_is_received_again_at_once(
    queue: Queue, environment: dict[str, str], sqs: SQSClient
) -> None:
    _send(sqs, environment, 12)
    messages = queue.receive(1000, 30).messages
    assert queue.release(messages) == {}
    again = queue.receive(1000, 30).messages
    assert {message.id for message in again} == {message.id for message in messages}
    assert {message.receive_count for message in again} == {2}


def test_a_message_that_cannot_be_acknowledged_is_named_and_keeps_no_other_back(
    queue: Queue, environment: dict[str, str], sqs: SQSClient
) -> None:
    _send(sqs, environment, 20)
    messages = queue.receive(1000, 30).messages
    messages[5] = replace(messages[5], receipt_handle="stale")
    assert list(queue.acknowledge(messages)) == [messages[5].id]
    _until_waiting(queue, 1)


def test_a_lost_endpoint_fails_each_message_and_raises_nothing(
    queue: Queue,
    environment: dict[str, str],
    sqs: SQSClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _send(sqs, environment, 11)
    messages = queue.receive(1000, 30).messages
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    failed = FeedbackQueue().connect().acknowledge(messages)
    assert failed.keys() == {message.id for message in messages}
    (why,) = set(failed.values())
    assert why.startswith("SQS does not answer (EndpointConnectionError): check AWS_REGION")


def test_a_lost_endpoint_is_a_fault_that_may_pass(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(AwsUnavailable):
        FeedbackQueue().connect().receive(10, 30)


def test_a_queue_that_does_not_exist_is_named(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQS_QUEUE_URL", environment["SQS_QUEUE_URL"] + "-missing")
    with pytest.raises(AwsRefused, match="SQS_QUEUE_URL names a queue that does not exist"):
        FeedbackQueue().connect().receive(10, 30)


def test_messages_that_are_not_wanted_are_handed_back_and_do_not_count(
    queue: Queue, environment: dict[str, str], sqs: SQSClient
) -> None:
    _send(sqs, environment, 137)
    wanted = {"body 3", "body 77", "body 136"}
    taken = queue.receive(3, 30, lambda message: message if message.body in wanted else None)
    assert {message.body for message in taken.messages} == wanted
    assert taken.errors == []
    depth = queue.depth()
    assert (depth.waiting, depth.in_flight) == (134, 3)
    assert queue.receive(1000, 30, _none).passed_over == 134


def test_no_more_wanted_messages_are_kept_than_asked_for_and_the_others_are_handed_back(
    queue: Queue, environment: dict[str, str], sqs: SQSClient
) -> None:
    _send(sqs, environment, 60)
    taken = queue.receive(25, 30, lambda message: message, visibility_timeout=60)
    assert (len(taken.messages), taken.passed_over) == (25, 0)
    depth = queue.depth()
    assert (depth.waiting, depth.in_flight) == (35, 25)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_filter_that_raises_lets_all_messages_back(
    queue: Queue, environment: dict[str, str], sqs: SQSClient, error: type[BaseException]
) -> None:
    _send(sqs, environment, 60)
    seen = []

    def read(message: Message) -> Message | None:
        seen.append(message)
        if len(seen) == 23:
            raise error
        return message if len(seen) % 2 == 0 else None

    with pytest.raises(error):
        queue.receive(1000, 30, read, visibility_timeout=60)
    depth = queue.depth()
    assert (depth.waiting, depth.in_flight) == (60, 0)


def test_a_receiving_process_that_is_interrupted_hands_everything_back(
    queue: Queue, environment: dict[str, str], sqs: SQSClient
) -> None:
    _send(sqs, environment, 100)
    # It goes on when its standard input ends, so it cannot be through before it is interrupted.
    program = """
import sys
from dpp_feedback.resources import FeedbackQueue
def read(message):
    print("receiving", flush=True)
    sys.stdin.read()
    return message
FeedbackQueue().connect().receive(1000, 60, read, visibility_timeout=60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=dict(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"receiving\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGINT
    depth = queue.depth()
    assert (depth.waiting, depth.in_flight) == (100, 0)


def test_messages_not_wanted_that_cannot_be_handed_back_are_said(
    queue: Queue, environment: dict[str, str], sqs: SQSClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _send(sqs, environment, 12)
    call = queue._calls.call

    async def failing(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "ChangeMessageVisibilityBatch":
            raise AwsUnavailable("SQS does not answer.")
        return await call(operation, request)

    monkeypatch.setattr(queue._calls, "call", failing)
    taken = queue.receive(1000, 30, lambda one: one if one.body == "body 1" else None)
    assert [message.body for message in taken.messages] == ["body 1"]
    (error,) = taken.errors
    assert str(error).startswith("11 of 11 messages could not be handed back: they come back after")


def test_receiving_that_fails_midway_keeps_what_came(
    queue: Queue, environment: dict[str, str], sqs: SQSClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _send(sqs, environment, 40)
    call, calls = queue._calls.call, []

    async def failing(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        calls.append(request)
        if len(calls) == 3:
            raise AwsUnavailable("SQS does not answer.")
        return await call(operation, request)

    monkeypatch.setattr(queue._calls, "call", failing)
    taken = queue.receive(1000, 30, waiting=0)  # one call at a time
    assert len(taken.messages) == 20
    assert [type(error) for error in taken.errors] == [AwsUnavailable]


def test_messages_stay_out_of_sight_as_long_as_asked_for(
    queue: Queue, environment: dict[str, str], sqs: SQSClient
) -> None:
    _send(sqs, environment, 12)
    assert len(queue.receive(1000, 30, visibility_timeout=60).messages) == 12
    sleep(4)  # the queue's own timeout is 3 seconds
    assert queue.depth().in_flight == 12


def test_a_queue_has_a_name(queue: Queue, environment: dict[str, str]) -> None:
    assert queue.url == environment["SQS_QUEUE_URL"]
    assert queue.url.endswith(f"/{queue.name}")


def test_the_main_queue_says_where_its_failures_go_and_the_other_that_it_keeps_them(
    queue: Queue,
) -> None:
    dead_letters = FeedbackQueue(setting="SQS_DLQ_URL").connect()
    assert queue.redrive_policy() == RedrivePolicy(dead_letters.arn(), 5)
    assert dead_letters.redrive_policy() is None
    assert dead_letters.retention() == timedelta(days=14)
