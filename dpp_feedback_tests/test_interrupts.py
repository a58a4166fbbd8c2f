"""Signals that wait: for the end of a block, and so for all threads of a look."""

from __future__ import annotations

import signal
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from dpp_feedback.interrupts import deferred
from dpp_feedback.resources import FeedbackQueue

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@pytest.fixture(autouse=True)
def _ctrl_c(_signals: None) -> None:
    """Let it raise here, also where the shell has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_waits_for_the_end_of_the_block_and_the_block_is_told() -> None:
    told = []

    def interrupted() -> None:
        with deferred(lambda: told.append("once")):
            signal.raise_signal(signal.SIGINT)
            told.append("goes on")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert told == ["once", "goes on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_first_signal_counts() -> None:
    came = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: came.append(number))
    with deferred():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
        assert came == []
    assert came == [signal.SIGTERM]


def test_in_a_block_within_a_block_it_waits_for_the_end_of_the_outer_one() -> None:
    done = []

    def interrupted() -> None:
        with deferred():
            with deferred():
                signal.raise_signal(signal.SIGINT)
            done.append("the outer one")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["the outer one"]


def test_an_exception_of_the_block_is_kept_as_the_context() -> None:
    def interrupted() -> None:
        with deferred():
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt) as raised:
        interrupted()
    assert isinstance(raised.value.__context__, ZeroDivisionError)


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with deferred(lambda: pytest.fail("told of what is ignored")):
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_on_another_thread_nothing_is_deferred_and_nothing_fails() -> None:
    handlers = []

    def work() -> None:
        with deferred():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]


def test_ctrl_c_while_the_threads_of_a_look_start_leaves_nothing_in_flight(
    sqs: SQSClient, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        sqs.send_message(QueueUrl=environment["SQS_DLQ_URL"], MessageBody=f"body {number}")
    queue = FeedbackQueue(setting="SQS_DLQ_URL").connect()
    client: Any = queue._client
    receive = client.receive_message
    received, handed_back = Event(), Event()

    def receive_slowly(**request: Any) -> Any:
        said = receive(**request)
        received.set()
        handed_back.wait(1)  # its answer comes after whoever does not wait for it has left
        return said

    def start(thread: Thread) -> None:
        real_start(thread)
        if thread.name.startswith("look"):
            assert received.wait(30)
            signal.raise_signal(signal.SIGINT)

    def look() -> None:
        try:
            with queue.look() as look:
                list(look)
        finally:
            handed_back.set()

    real_start = Thread.start
    monkeypatch.setattr(client, "receive_message", receive_slowly)
    monkeypatch.setattr(Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        look()
    depth = queue.depth()
    assert (depth.waiting, depth.in_flight) == (20, 0)
