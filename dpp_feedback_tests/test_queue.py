"""SQS through boto3 and a real HTTP endpoint: receive, acknowledge, hand back, and what fails."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from botocore.exceptions import EndpointConnectionError

from dpp_feedback.aws_errors import AwsRefused, AwsUnavailable
from dpp_feedback.queue import Depth, MoveTask, Queue, RedrivePolicy, Sample
from dpp_feedback.resources import FeedbackQueue

if TYPE_CHECKING:
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


# A look into a dead-letter queue. ministack has no ListMessageMoveTasks: a server on loopback has.


def test_a_sample_is_handed_back_at_once(
    queue: Queue, environment: dict[str, str], sqs: SQSClient
) -> None:
    bodies = _send(sqs, environment, 12)
    sample = queue.sample(100)
    assert {message.body for message in sample.messages} == bodies
    assert not sample.partial
    depth = queue.depth()
    assert (depth.waiting, depth.in_flight) == (12, 0)


def test_a_sample_is_no_larger_than_asked_for_and_says_that_there_may_be_more(
    queue: Queue, environment: dict[str, str], sqs: SQSClient
) -> None:
    _send(sqs, environment, 40)
    sample = queue.sample(25)
    assert len({message.id for message in sample.messages}) == 25
    assert sample.partial
    assert queue.depth().waiting == 40


def test_an_empty_queue_gives_an_empty_sample(queue: Queue) -> None:
    assert queue.sample(100) == Sample([], partial=False)


def test_a_sample_that_is_interrupted_is_handed_back(
    queue: Queue, environment: dict[str, str], sqs: SQSClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _send(sqs, environment, 30)
    receive, calls = queue._client.receive_message, []

    def interrupted(**request: Any) -> Any:
        calls.append(request)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return receive(**request)

    monkeypatch.setattr(queue._client, "receive_message", interrupted)
    with pytest.raises(KeyboardInterrupt):
        queue.sample(100)
    depth = queue.depth()
    assert (depth.waiting, depth.in_flight) == (30, 0)


def test_a_sample_whose_receiving_fails_midway_is_partial(
    queue: Queue, environment: dict[str, str], sqs: SQSClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _send(sqs, environment, 30)
    receive, calls = queue._client.receive_message, []

    def failing(**request: Any) -> Any:
        calls.append(request)
        if len(calls) == 3:
            raise EndpointConnectionError(endpoint_url="x")
        return receive(**request)

    monkeypatch.setattr(queue._client, "receive_message", failing)
    sample = queue.sample(100)
    assert sample.partial
    assert len(sample.messages) == 20
    assert queue.depth().waiting == 30


def test_the_main_queue_says_where_its_failures_go_and_the_other_that_it_keeps_them(
    queue: Queue,
) -> None:
    dead_letters = FeedbackQueue(setting="SQS_DLQ_URL").connect()
    assert queue.redrive_policy() == RedrivePolicy(dead_letters.arn(), 5)
    assert dead_letters.redrive_policy() is None
    assert dead_letters.retention() == timedelta(days=14)


def test_where_the_call_is_missing_nothing_is_known_of_a_redrive(queue: Queue) -> None:
    assert queue.move_task() is None


class _Sqs(BaseHTTPRequestHandler):
    """Speaks just enough of SQS's JSON protocol for ListMessageMoveTasks."""

    tasks: ClassVar[list[dict[str, Any]]] = []
    refuses = False

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        status: int = 200
        said: dict[str, Any] = {"Attributes": {"QueueArn": "arn:aws:sqs:x:1:dlq"}}
        if operation == "ListMessageMoveTasks":
            said = {"Results": self.tasks}
            if self.refuses:
                status, said = 403, {"__type": "AccessDeniedException", "message": "no"}
        written = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.mark.parametrize(
    ("tasks", "refuses", "said"),
    [
        ([], False, MoveTask("NONE")),
        (
            [
                {
                    "Status": "RUNNING",
                    "ApproximateNumberOfMessagesMoved": 7,
                    "ApproximateNumberOfMessagesToMove": 9,
                    "StartedTimestamp": 1,
                }
            ],
            False,
            MoveTask("RUNNING", 7, 9),
        ),
        ([{"Status": "FAILED", "FailureReason": "AccessDenied"}], False, MoveTask("FAILED")),
        ([], True, None),
    ],
)
@pytest.mark.usefixtures("environment")
def test_the_latest_redrive_is_told(
    monkeypatch: pytest.MonkeyPatch,
    tasks: list[dict[str, Any]],
    refuses: bool,
    said: MoveTask | None,
) -> None:
    monkeypatch.setattr(_Sqs, "tasks", tasks)
    monkeypatch.setattr(_Sqs, "refuses", refuses)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Sqs) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        try:
            assert FeedbackQueue(setting="SQS_DLQ_URL").connect().move_task() == said
        finally:
            server.shutdown()
            thread.join()
