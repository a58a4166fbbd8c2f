"""Redrives: over the stand-in's queues with our implementation of the calls it lacks.

What AWS alone can refuse (rights, keys) comes from a server on loopback.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from botocore.exceptions import ClientError

from dpp_feedback.aws_errors import AwsRefused, AwsUnavailable
from dpp_feedback.move_tasks import MoveTask
from dpp_feedback.resources import FeedbackQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_sqs import SQSClient

    from dpp_feedback.queue import Queue


@pytest.fixture
def main_queue(environment: dict[str, str]) -> Queue:
    assert environment
    return FeedbackQueue().connect()


@pytest.fixture
def dead_letters(environment: dict[str, str]) -> Queue:
    assert environment
    return FeedbackQueue(setting="SQS_DLQ_URL").connect()


@pytest.fixture
def send(environment: dict[str, str], sqs: SQSClient) -> Callable[[int], set[str]]:
    """Send so many messages to the dead-letter queue; return their bodies."""

    def send(number: int) -> set[str]:
        bodies = [f"body {i}" for i in range(number)]
        for start in range(0, number, 10):
            sqs.send_message_batch(
                QueueUrl=environment["SQS_DLQ_URL"],
                Entries=[
                    {"Id": str(i), "MessageBody": body}
                    for i, body in enumerate(bodies[start : start + 10])
                ],
            )
        return set(bodies)

    return send


def _latest(queue: Queue) -> MoveTask:
    task = queue.move_tasks.latest()
    assert task
    return task


def _ended(queue: Queue) -> MoveTask:
    end = monotonic() + 60
    while (task := _latest(queue)).status in ("RUNNING", "CANCELLING"):
        assert monotonic() < end
        sleep(0.05)
    return task


def test_without_a_redrive_there_is_none(dead_letters: Queue) -> None:
    assert dead_letters.move_tasks.latest() == MoveTask("NONE")


def test_everything_goes_back_as_new_messages_and_nothing_is_lost_or_doubled(
    dead_letters: Queue, main_queue: Queue, send: Callable[[int], set[str]]
) -> None:
    bodies = send(130)
    with dead_letters.look() as look:
        old = {message.id: message for message in look}
    dead_letters.move_tasks.start(None)
    task = _ended(dead_letters)
    assert (task.status, task.moved, task.to_move) == ("COMPLETED", 130, 130)
    assert (task.handle, task.per_second, task.failure) == (None, None, None)
    assert task.started_at
    assert task.started_at.utcoffset() is not None
    assert dead_letters.depth().waiting == 0
    moved = main_queue.receive(1000, 30, visibility_timeout=60).messages
    assert sorted(message.body for message in moved) == sorted(bodies)
    assert not {message.id for message in moved} & old.keys()
    assert {message.receive_count for message in moved} == {1}
    assert min(m.sent_at for m in moved) >= max(m.sent_at for m in old.values())


def test_a_message_that_failed_too_often_goes_back_to_where_it_failed(
    dead_letters: Queue, main_queue: Queue, environment: dict[str, str], sqs: SQSClient
) -> None:
    sqs.send_message(QueueUrl=environment["SQS_QUEUE_URL"], MessageBody="no JSON")
    for _ in range(5):  # the queue's maxReceiveCount
        (message,) = main_queue.receive(1, 30).messages
        main_queue.release([message])
    assert main_queue.receive(1, 0.1).messages == []
    assert dead_letters.depth().waiting == 1
    dead_letters.move_tasks.start(10)
    assert _ended(dead_letters).moved == 1
    (message,) = main_queue.receive(1, 30).messages
    assert (message.body, message.receive_count) == ("no JSON", 1)


def test_a_limit_is_kept_to_and_progress_is_told(
    dead_letters: Queue, main_queue: Queue, send: Callable[[int], set[str]]
) -> None:
    send(40)
    handle = dead_letters.move_tasks.start(20)
    task = _latest(dead_letters)
    assert (task.status, task.handle, task.to_move, task.per_second) == ("RUNNING", handle, 40, 20)
    progress = set()
    while (task := _latest(dead_letters)).status == "RUNNING":
        assert task.started_at
        assert task.moved <= 20 * (datetime.now(UTC) - task.started_at).total_seconds()
        progress.add(task.moved)
        left = dead_letters.depth().waiting  # first this: what moves meanwhile counts in both
        assert left + main_queue.depth().waiting >= 40
    assert progress & set(range(1, 40))
    assert (task.status, task.moved) == ("COMPLETED", 40)
    assert (dead_letters.depth().waiting, main_queue.depth().waiting) == (0, 40)


def test_a_redrive_is_cancelled_and_every_message_is_in_one_place(
    dead_letters: Queue, main_queue: Queue, send: Callable[[int], set[str]]
) -> None:
    bodies = send(200)
    handle = dead_letters.move_tasks.start(50)
    end = monotonic() + 30
    while _latest(dead_letters).moved < 10:
        assert monotonic() < end
        sleep(0.05)
    moved = dead_letters.move_tasks.cancel(handle)
    task = _ended(dead_letters)
    assert task.status == "CANCELLED"
    assert 10 <= moved <= task.moved < 200
    gone = main_queue.receive(1000, 30, visibility_timeout=60).messages
    left = dead_letters.receive(1000, 30, visibility_timeout=60).messages
    assert len(gone) == task.moved
    assert sorted(message.body for message in [*gone, *left]) == sorted(bodies)
    with pytest.raises(AwsRefused, match="not running any more"):
        dead_letters.move_tasks.cancel(handle)


def test_messages_in_flight_stay(
    dead_letters: Queue, main_queue: Queue, send: Callable[[int], set[str]]
) -> None:
    send(30)
    held = dead_letters.receive(10, 30, visibility_timeout=60).messages
    dead_letters.move_tasks.start(None)
    assert _ended(dead_letters).moved == 20
    assert main_queue.depth().waiting == 20
    assert dead_letters.acknowledge(held) == {}


def test_a_second_redrive_is_refused_while_one_runs(
    dead_letters: Queue, send: Callable[[int], set[str]]
) -> None:
    send(100)
    handle = dead_letters.move_tasks.start(1)
    with pytest.raises(AwsRefused, match="A redrive of this queue is running already"):
        dead_letters.move_tasks.start(None)
    dead_letters.move_tasks.cancel(handle)
    assert _ended(dead_letters).status == "CANCELLED"
    dead_letters.move_tasks.start(None)
    assert _ended(dead_letters).status == "COMPLETED"


def test_a_queue_that_is_nobodys_dead_letter_queue_is_refused(main_queue: Queue) -> None:
    with pytest.raises(AwsRefused, match="SQS_QUEUE_URL names a queue that is no SQS queue's dead"):
        main_queue.move_tasks.start(None)


@pytest.mark.parametrize("limit", [0, 501, -1])
def test_a_limit_that_sqs_does_not_take_is_refused(dead_letters: Queue, limit: int) -> None:
    with pytest.raises(AwsRefused, match=f"1 to 500 messages per second, not {limit}"):
        dead_letters.move_tasks.start(limit)


def test_a_handle_that_stands_for_nothing_is_refused(dead_letters: Queue) -> None:
    with pytest.raises(AwsRefused, match="not running any more"):
        dead_letters.move_tasks.cancel("none")


def test_a_redrive_fails_at_a_message_whose_origin_is_not_known(
    dead_letters: Queue,
    send: Callable[[int], set[str]],
    environment: dict[str, str],
    sqs: SQSClient,
) -> None:
    send(20)
    dead_letters.move_tasks.start(5)
    policy = {"deadLetterTargetArn": dead_letters.arn(), "maxReceiveCount": 5}
    other = sqs.create_queue(
        QueueName=f"{dead_letters.name}-other",
        Attributes={"RedrivePolicy": json.dumps(policy)},
    )
    # With two sources nobody knows where a message that was sent here by hand came from.
    task = _ended(dead_letters)
    sqs.delete_queue(QueueUrl=other["QueueUrl"])
    assert (task.status, task.failure) == ("FAILED", "CouldNotDetermineMessageSource")
    assert task.moved + dead_letters.depth().waiting == 20
    assert environment


def test_the_stand_in_answers_as_aws_does(
    dead_letters: Queue, send: Callable[[int], set[str]], sqs: SQSClient
) -> None:
    arn = dead_letters.arn()
    for error, code, call in (
        ("MaxNumber", "InvalidParameterValue", {"MaxNumberOfMessagesPerSecond": 501}),
        ("DestinationArn", "ResourceNotFoundException", {"DestinationArn": f"{arn}-missing"}),
        ("SourceArn", "ResourceNotFoundException", {"SourceArn": f"{arn}-missing"}),
    ):
        with pytest.raises(ClientError, match=error) as refused:
            sqs.start_message_move_task(**{"SourceArn": arn} | call)
        assert refused.value.response["Error"]["Code"] == code
    for number in range(3):
        send(number + 1)
        sqs.start_message_move_task(SourceArn=arn)
        _ended(dead_letters)
    listed = sqs.list_message_move_tasks(SourceArn=arn, MaxResults=10)["Results"]
    assert [task["ApproximateNumberOfMessagesMoved"] for task in listed] == [3, 2, 1]
    assert len(sqs.list_message_move_tasks(SourceArn=arn)["Results"]) == 1
    assert not any("TaskHandle" in task for task in listed)
    with pytest.raises(ClientError, match="MaxResults"):
        sqs.list_message_move_tasks(SourceArn=arn, MaxResults=11)


class _Sqs(BaseHTTPRequestHandler):
    """Speaks just enough of SQS's JSON protocol to refuse."""

    status: ClassVar[int] = 200
    said: ClassVar[dict[str, Any]] = {}

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        status, said = 200, {"Attributes": {"QueueArn": "arn:aws:sqs:x:1:dlq"}}
        if operation != "GetQueueAttributes":
            status, said = self.status, self.said
        self.say(status, said)

    def say(self, status: int, said: dict[str, Any]) -> None:
        written = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def refusing(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """A queue of the server above."""
    assert environment
    with _served(_Sqs, monkeypatch) as queue:
        yield queue


@contextmanager
def _served(handler: type[_Sqs], monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        try:
            yield FeedbackQueue(setting="SQS_DLQ_URL").connect()
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "code", "start", "cancel"),
    [
        (403, "AccessDeniedException", "sqs:SendMessage on the queue", "sqs:CancelMessageMoveTask"),
        (400, "InvalidAction", "has no StartMessageMoveTask", "has no CancelMessageMoveTask"),
        (400, "UnsupportedOperation", "has no StartMessageMoveTask", "has no CancelMessage"),
        (400, "KMS.AccessDeniedException", "kms:GenerateDataKey", "kms:GenerateDataKey"),
        (400, "KmsDisabled", "kms:Decrypt", "kms:Decrypt"),
        (404, "ResourceNotFoundException", "SQS_DLQ_URL names a queue that does", "not running"),
    ],
)
def test_what_aws_refuses_is_said_with_what_to_do(
    refusing: Queue,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    start: str,
    cancel: str,
) -> None:
    monkeypatch.setattr(_Sqs, "status", status)
    monkeypatch.setattr(_Sqs, "said", {"__type": code, "message": "no"})
    with pytest.raises(AwsRefused, match=start):
        refusing.move_tasks.start(None)
    with pytest.raises(AwsRefused, match=cancel):
        refusing.move_tasks.cancel("handle")
    assert refusing.move_tasks.latest() is None


def test_a_throttled_call_is_a_fault_that_passes(
    refusing: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Sqs, "status", 400)
    monkeypatch.setattr(_Sqs, "said", {"__type": "RequestThrottled", "message": "no"})
    for call in (lambda: refusing.move_tasks.start(None), refusing.move_tasks.latest):
        with pytest.raises(AwsUnavailable):
            call()


def test_an_answer_without_a_handle_is_not_taken_for_one(
    refusing: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Sqs, "said", {})
    monkeypatch.setattr(_Sqs, "status", 200)
    with pytest.raises(AwsUnavailable, match="does not speak as SQS does"):
        refusing.move_tasks.start(None)


class _Forgetful(_Sqs):
    """Begins a redrive, loses the answer, and tells whoever asks again that one is running."""

    listed: ClassVar[list[int]] = []  # when the latest redrive has begun: before, and after
    asked: ClassVar[int] = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        if operation == "GetQueueAttributes":
            self.say(200, {"Attributes": {"QueueArn": "arn:aws:sqs:x:1:dlq"}})
        elif operation == "ListMessageMoveTasks":
            started = self.listed[min(self.asked, 1)]
            task = {"Status": "RUNNING", "TaskHandle": "ours", "StartedTimestamp": started}
            self.say(200, {"Results": [task]})
        elif self.asked:
            running = "There is already a task running. Only one active task is allowed."
            self.say(400, {"__type": "InvalidParameterValue", "message": running})
        else:
            _Forgetful.asked = 1
            self.close_connection = True


@pytest.mark.parametrize(("asked", "listed"), [(0, [1000, 2000]), (0, [1000, 1000]), (1, [1, 2])])
def test_a_redrive_is_ours_only_if_our_answer_was_lost_and_one_has_begun(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    asked: int,
    listed: list[int],
) -> None:
    assert environment
    monkeypatch.setattr(_Forgetful, "asked", asked)
    monkeypatch.setattr(_Forgetful, "listed", listed)
    with _served(_Forgetful, monkeypatch) as queue:
        if listed == [1000, 2000]:
            assert queue.move_tasks.start(None) == "ours"
        else:
            with pytest.raises(AwsRefused, match="running already"):
                queue.move_tasks.start(None)


def test_a_failed_redrive_tells_sqs_s_word_for_why(
    refusing: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = {"Status": "FAILED", "FailureReason": "AccessDenied", "StartedTimestamp": 1000}
    monkeypatch.setattr(_Sqs, "status", 200)
    monkeypatch.setattr(_Sqs, "said", {"Results": [task]})
    latest = _latest(refusing)
    assert (latest.status, latest.failure) == ("FAILED", "AccessDenied")
    assert latest.started_at
    assert latest.started_at.timestamp() == 1
