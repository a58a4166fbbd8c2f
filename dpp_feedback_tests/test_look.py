"""Looks into a queue over a real SQS endpoint: nothing stays held; what was not seen is said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from threading import Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from botocore.exceptions import EndpointConnectionError

from dpp_feedback.aws_errors import AwsRefused, AwsUnavailable
from dpp_feedback.queue import Depth, Queue, looking_seconds
from dpp_feedback.resources import FeedbackQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def dead_letters(environment: dict[str, str]) -> Queue:
    assert environment
    return FeedbackQueue(setting="SQS_DLQ_URL").connect()


@pytest.fixture
def send(environment: dict[str, str], sqs: SQSClient) -> Callable[[int], set[str]]:
    """Send so many messages to the dead-letter queue; return their bodies."""

    def send(number: int) -> set[str]:
        bodies = [f"body {i}" for i in range(number)]

        def ten(start: int) -> None:
            sqs.send_message_batch(
                QueueUrl=environment["SQS_DLQ_URL"],
                Entries=[
                    {"Id": str(i), "MessageBody": body}
                    for i, body in enumerate(bodies[start : start + 10])
                ],
            )

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ten, range(0, number, 10)))
        return set(bodies)

    return send


def _depth(queue: Queue) -> tuple[int, int]:
    depth = queue.depth()
    return depth.waiting, depth.in_flight


def _interfere(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, call: str, when: int, error: BaseException
) -> None:
    """Let the given call of the client raise, at its `when`-th time and ever after."""
    real, calls = getattr(queue._client, call), []

    def interfering(**request: Any) -> Any:
        calls.append(call)
        if len(calls) >= when:
            raise error
        return real(**request)

    monkeypatch.setattr(queue._client, call, interfering)


def test_every_message_is_seen_once_and_all_are_handed_back(
    dead_letters: Queue, send: Callable[[int], set[str]]
) -> None:
    bodies = send(137)
    with dead_letters.look() as look:
        messages = list(look)
        assert _depth(dead_letters) == (0, 137)
    assert {message.body for message in messages} == bodies
    assert len({message.id for message in messages}) == len(messages) == look.seen == 137
    assert (look.complete, look.why_partial) == (True, "")
    assert look.depth.waiting == 137
    assert _depth(dead_letters) == (137, 0)


def test_a_few_thousand_messages_are_seen_once_and_handed_back(
    dead_letters: Queue, send: Callable[[int], set[str]]
) -> None:
    bodies = send(3000)
    with dead_letters.look() as look:
        seen = [message.body for message in look]
    assert sorted(seen) == sorted(bodies)
    assert look.complete
    assert _depth(dead_letters) == (3000, 0)


def test_an_empty_queue_is_seen_completely(dead_letters: Queue) -> None:
    with dead_letters.look() as look:
        assert list(look) == []
    assert look.complete


def test_a_look_that_stops_early_hands_back_what_was_received_ahead(
    dead_letters: Queue, send: Callable[[int], set[str]]
) -> None:
    send(300)
    with dead_letters.look() as look:
        for _ in look:
            if look.seen == 7:
                break
    assert not look.complete
    assert look.why_partial == "The look was stopped after 7 messages."
    assert _depth(dead_letters) == (300, 0)


def test_a_look_goes_on_where_it_was_left(
    dead_letters: Queue, send: Callable[[int], set[str]]
) -> None:
    bodies = send(60)
    with dead_letters.look() as look:
        first = [message.body for message in islice(look, 25)]
        rest = [message.body for message in look]
    assert len(first) == 25
    assert set(first) | set(rest) == bodies
    assert look.complete


def test_a_look_that_receives_nothing_holds_nothing(
    dead_letters: Queue, send: Callable[[int], set[str]]
) -> None:
    send(5)
    with dead_letters.look() as look:
        pass
    assert look.why_partial == "The look was stopped after 0 messages."
    assert _depth(dead_letters) == (5, 0)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_inside_hands_everything_back(
    dead_letters: Queue, send: Callable[[int], set[str]], error: type[BaseException]
) -> None:
    send(200)

    def look() -> None:
        with dead_letters.look() as look:
            for _ in look:
                if look.seen == 50:
                    raise error

    with pytest.raises(error):
        look()
    assert _depth(dead_letters) == (200, 0)


def test_a_second_interruption_while_handing_back_leaves_nothing_held(
    dead_letters: Queue, send: Callable[[int], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(200)
    real, calls = dead_letters._calls.call, []

    async def interrupted(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        calls.append(request)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return await real(operation, request)

    monkeypatch.setattr(dead_letters._calls, "call", interrupted)

    def look() -> None:
        with dead_letters.look() as look:
            next(look)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look()
    assert _depth(dead_letters) == (200, 0)


def _look_in_a_process(queue: Queue, sent: signal.Signals) -> None:
    """Let a process look at messages, and send it a signal meanwhile."""
    program = """
import signal, sys, time
import dpp_feedback.look
from dpp_feedback.resources import FeedbackQueue
dpp_feedback.look._SHORTEST = 6
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with FeedbackQueue(setting="SQS_DLQ_URL").connect().look() as look:
    for _ in look:
        if look.seen == 20:
            print("looking", flush=True)
            time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"looking\n"
        assert queue.depth().in_flight >= 20
        process.send_signal(sent)
        assert process.wait(30) != 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_told_to_end_hands_everything_back(
    dead_letters: Queue, send: Callable[[int], set[str]], sent: signal.Signals
) -> None:
    send(200)
    _look_in_a_process(dead_letters, sent)
    assert _depth(dead_letters) == (200, 0)


def test_after_a_kill_the_messages_come_back_by_themselves(
    dead_letters: Queue, send: Callable[[int], set[str]], sqs: SQSClient
) -> None:
    send(30)
    sqs.set_queue_attributes(QueueUrl=dead_letters.url, Attributes={"VisibilityTimeout": "6"})
    _look_in_a_process(dead_letters, signal.SIGKILL)
    end = monotonic() + 30
    while _depth(dead_letters) != (30, 0):
        assert monotonic() < end
        sleep(0.2)


def test_a_message_that_is_delivered_twice_counts_once_and_its_newest_handle_is_handed_back(
    dead_letters: Queue, send: Callable[[int], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(15)
    receive, calls = dead_letters._client.receive_message, []

    def twice(**request: Any) -> Any:
        calls.append(request)
        # The first messages come back at once: a later call delivers them again.
        return receive(**request | ({"VisibilityTimeout": 0} if len(calls) == 1 else {}))

    monkeypatch.setattr(dead_letters._client, "receive_message", twice)
    with dead_letters.look() as look:
        messages = list(look)
    assert len(messages) == len({message.id for message in messages}) == 15
    assert max(message.receive_count for message in messages) == 1
    assert _depth(dead_letters) == (15, 0)


def test_messages_that_somebody_else_holds_are_said_to_be_missing(
    dead_letters: Queue, send: Callable[[int], set[str]]
) -> None:
    send(30)
    held = dead_letters.receive(12, 30, visibility_timeout=60).messages
    with dead_letters.look() as look:
        assert len(list(look)) == 18
    assert not look.complete
    assert look.why_partial.startswith("12 messages were in flight and could not be seen")
    assert look.why_partial.endswith("They come back, as a rule, within 30 s.")
    assert _depth(dead_letters) == (18, 12)
    dead_letters.release(held)


def test_messages_that_came_back_and_were_seen_are_not_said_to_be_missing(
    dead_letters: Queue, send: Callable[[int], set[str]]
) -> None:
    send(12)
    held = dead_letters.receive(12, 30, visibility_timeout=60).messages
    with dead_letters.look() as look:
        assert look.depth.in_flight == 12
        dead_letters.release(held)
        assert len(list(look)) == 12
    assert look.complete
    assert look.why_partial == ""


def test_messages_that_somebody_takes_during_the_look_are_said_to_be_missing(
    dead_letters: Queue, send: Callable[[int], set[str]]
) -> None:
    send(30)
    with dead_letters.look() as look:
        assert look.depth.in_flight == 0
        held = dead_letters.receive(12, 30, visibility_timeout=60).messages
        assert len(list(look)) == 18
    assert not look.complete
    assert look.why_partial.startswith("12 messages were in flight and could not be seen")
    dead_letters.release(held)


def test_two_looks_at_once_hold_and_lose_no_message(
    dead_letters: Queue, send: Callable[[int], set[str]]
) -> None:
    bodies = send(200)

    def look(_: int) -> set[str]:
        with FeedbackQueue(setting="SQS_DLQ_URL").connect().look() as look:
            return {message.body for message in look}

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(look, range(2))
    assert first | second == bodies
    assert _depth(dead_letters) == (200, 0)


def test_a_queue_with_a_redrive_policy_of_its_own_is_not_looked_at(
    environment: dict[str, str],
) -> None:
    assert environment
    queue = FeedbackQueue().connect()
    with pytest.raises(AwsRefused, match="SQS_QUEUE_URL names a queue with a redrive policy"):
        queue.look()


def test_receiving_that_fails_midway_is_said_and_what_came_is_handed_back(
    dead_letters: Queue, send: Callable[[int], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(40)
    _interfere(
        monkeypatch, dead_letters, "receive_message", 3, EndpointConnectionError(endpoint_url="x")
    )
    with dead_letters.look() as look:
        assert len(list(look)) == 20
    assert not look.complete
    assert look.why_partial.startswith("The look ended early: SQS does not answer")
    assert _depth(dead_letters) == (40, 0)


def test_receiving_that_fails_at_once_is_raised(
    dead_letters: Queue, send: Callable[[int], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(40)
    _interfere(
        monkeypatch, dead_letters, "receive_message", 1, EndpointConnectionError(endpoint_url="x")
    )
    with dead_letters.look() as look:
        for _ in range(2):  # and again for whoever asks again
            with pytest.raises(AwsUnavailable):
                next(look)


class _FullQueue(BaseHTTPRequestHandler):
    """A queue on loopback that gives two batches, and then says that too many are in flight."""

    given = 0
    handed_back: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        answer = {
            "GetQueueAttributes": self._attributes,
            "ReceiveMessage": self._ten_messages,
            "ChangeMessageVisibilityBatch": self._hand_back,
        }[operation]
        status, said = answer(request)
        written = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def _attributes(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        counts = {"ApproximateNumberOfMessages": "40", "ApproximateNumberOfMessagesNotVisible": "0"}
        attributes = counts | {"VisibilityTimeout": "30"}
        asked = request["AttributeNames"]
        return 200, {"Attributes": {k: v for k, v in attributes.items() if k in asked}}

    def _ten_messages(self, _: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if _FullQueue.given == 20:
            return 403, {"__type": "OverLimit", "message": "no"}
        numbers = range(_FullQueue.given, _FullQueue.given + 10)
        _FullQueue.given += 10
        attributes = {"SentTimestamp": "1000", "ApproximateReceiveCount": "1"}
        return 200, {
            "Messages": [
                {
                    "MessageId": f"id {i}",
                    "ReceiptHandle": f"handle {i}",
                    "Body": "x",
                    "MD5OfBody": "9dd4e461268c8034f5c8564e155c67a6",
                    "Attributes": attributes,
                }
                for i in numbers
            ]
        }

    def _hand_back(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        entries = request["Entries"]
        assert {entry["VisibilityTimeout"] for entry in entries} == {0}
        self.handed_back.update(entry["ReceiptHandle"] for entry in entries)
        return 200, {"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []}

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def test_a_look_ends_where_too_many_messages_are_in_flight_and_hands_back_its_own(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment
    monkeypatch.setattr(_FullQueue, "given", 0)
    monkeypatch.setattr(_FullQueue, "handed_back", set())
    with ThreadingHTTPServer(("127.0.0.1", 0), _FullQueue) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        try:
            with FeedbackQueue(setting="SQS_DLQ_URL").connect().look() as look:
                assert len(list(look)) == 20
        finally:
            server.shutdown()
            thread.join()
    assert not look.complete
    assert "OverLimit" in look.why_partial
    assert "120,000 messages are in flight" in look.why_partial
    assert _FullQueue.handed_back == {f"handle {i}" for i in range(20)}


def test_an_error_nobody_expects_is_raised_and_everything_handed_back(
    dead_letters: Queue, send: Callable[[int], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(40)
    _interfere(monkeypatch, dead_letters, "receive_message", 3, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError), dead_letters.look() as look:
        list(look)
    assert _depth(dead_letters) == (40, 0)


def test_messages_that_cannot_be_handed_back_are_said(
    dead_letters: Queue, send: Callable[[int], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(12)

    async def failing(*_: object) -> dict[str, Any]:
        raise AwsUnavailable("SQS does not answer.")

    monkeypatch.setattr(dead_letters._calls, "call", failing)
    with dead_letters.look() as look:
        assert len(list(look)) == 12
    assert not look.complete
    assert look.why_partial.startswith(
        "12 messages could not be handed back, and will be back after 30 s: SQS does not answer"
    )


def test_a_look_that_ends_in_time_says_so(
    dead_letters: Queue, send: Callable[[int], set[str]]
) -> None:
    send(40)
    look = dead_letters.look()
    look._timeout = 0  # a third of it has passed at once
    with look:
        assert list(look) == []
    assert look.why_partial == "The look ended after 0 s, before the end of the queue."


def test_sqs_gives_no_more_than_120_000_messages_at_a_time_and_the_look_says_so(
    dead_letters: Queue, send: Callable[[int], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(40)
    # A stand-in with so many messages would be too slow, so the limit is a low one.
    monkeypatch.setattr("dpp_feedback.look.MOST_IN_FLIGHT", 40)
    with dead_letters.look() as look:
        assert len(list(look)) == 40
    assert look.why_partial.startswith("The look ended where SQS's limit is")


@pytest.mark.parametrize(
    ("depth", "seconds"),
    [
        (Depth(0, 0, 3), 30),
        (Depth(0, 0, 300), 300),
        (Depth(9_000, 1_000, 30), 60),
        (Depth(100_000, 0, 300), 600),
        (Depth(9_000_000, 0, 300), 43_200),
        (Depth(1, 0, 43_200), 43_200),
    ],
)
def test_the_deeper_the_queue_the_longer_its_messages_stay_out_of_sight(
    depth: Depth, seconds: int
) -> None:
    assert looking_seconds(depth) == seconds
