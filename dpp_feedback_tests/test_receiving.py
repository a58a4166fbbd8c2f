"""Receiving with many calls at a time, from the loopback SQS: each message once, few calls."""

from __future__ import annotations

import asyncio
import signal
from threading import main_thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from benchmarks.loopback_sqs.faults import Fault
from dpp_feedback import receiving, sqs_calls
from dpp_feedback.aws_errors import AwsRefused, AwsUnavailable
from dpp_feedback.queue import Message, Queue
from dpp_feedback.resources import FeedbackQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.loopback_sqs.control import LoopbackSqs


class Bench:
    """A queue of the test's own, from both sides."""

    def __init__(self, server: LoopbackSqs, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server, self._name = server, uuid4().hex
        server.create(self._name, visibility_timeout=600)
        for variable, value in server.environment(self._name, self._name).items():
            monkeypatch.setenv(variable, value)
        for variable in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(variable, raising=False)
        self.queue: Queue = FeedbackQueue().connect()

    def load(self, number: int) -> set[str]:
        """Put so many messages into the queue; return their ids."""
        return set(self.server.load(self._name, (f"body {i}" for i in range(number))))

    def counts(self) -> tuple[int, int, int]:
        """Count what waits, what is in flight, and what was deleted."""
        contents = self.server.contents(self._name)
        return len(contents.waiting), len(contents.in_flight), len(contents.deleted)

    def requests(self, action: str = "ReceiveMessage") -> int:
        """Count the requests so far."""
        return self.server.stats().requests.get(action, 0)


@pytest.fixture
def bench(loopback: LoopbackSqs, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(sqs_calls, "uniform", lambda *_: 0)
    return Bench(loopback, monkeypatch)


@pytest.fixture(autouse=True)
def _ctrl_c(_signals: None) -> None:
    """Let it raise here, also where the shell has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _all(message: Message) -> Message:
    return message


def _ids(messages: list[Message]) -> list[str]:
    return sorted(message.id for message in messages)


def test_ten_thousand_messages_are_kept_once_each_and_deleted(bench: Bench) -> None:
    ids = bench.load(10_000)
    messages = bench.queue.receive(10_000, 120).messages
    assert _ids(messages) == sorted(ids)
    assert bench.requests() == 1_000
    assert bench.queue.acknowledge(messages) == {}
    assert bench.counts() == (0, 0, 10_000)


def test_a_thousand_messages_take_two_hundred_requests_and_one_that_finds_no_more(
    bench: Bench,
) -> None:
    bench.load(1_000)
    messages = bench.queue.receive(10_000, 120, waiting=1_000).messages
    bench.queue.acknowledge(messages)
    assert bench.queue.release([]) == {}
    assert bench.server.stats().requests == {"ReceiveMessage": 101, "DeleteMessageBatch": 100}


@pytest.mark.parametrize("told", [0, 1, 4_990])
def test_more_than_was_told_comes_too_with_few_calls_that_find_nothing(
    bench: Bench, told: int
) -> None:
    ids = bench.load(5_000)
    messages = bench.queue.receive(10_000, 120, waiting=told).messages
    assert _ids(messages) == sorted(ids)
    assert bench.requests() <= 500 + 70


def test_more_than_was_told_is_received_with_many_calls_at_a_time(bench: Bench) -> None:
    bench.load(5_000)
    at_a_time, most = 0, 0
    call = bench.queue._calls.call

    async def counted(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal at_a_time, most
        at_a_time += 1
        most = max(most, at_a_time)
        try:
            return await call(operation, request)
        finally:
            at_a_time -= 1

    bench.queue._calls.call = counted  # type: ignore[method-assign]
    assert len(bench.queue.receive(10_000, 120, waiting=0).messages) == 5_000
    assert 32 <= most <= 64


def test_less_than_was_told_ends_it(bench: Bench) -> None:
    bench.load(95)
    assert len(bench.queue.receive(10_000, 120, waiting=100_000).messages) == 95
    assert bench.requests() <= 10 + 64


def test_short_answers_hide_nothing(bench: Bench) -> None:
    ids = bench.load(1_000)
    bench.server.short_receives(7)
    assert _ids(bench.queue.receive(10_000, 120, waiting=300).messages) == sorted(ids)


@pytest.mark.parametrize("limit", [1, 9, 25, 640])
def test_no_more_is_kept_than_asked_for_and_nothing_else_is_held(bench: Bench, limit: int) -> None:
    bench.load(700)
    assert len(bench.queue.receive(limit, 120, waiting=700).messages) == limit
    assert bench.counts() == (700 - limit, limit, 0)
    assert bench.requests("ChangeMessageVisibilityBatch") == 0


@pytest.mark.parametrize("limit", [1, 9, 25, 640])
def test_a_selection_keeps_no_more_than_asked_for_and_hands_back_the_surplus(
    bench: Bench, limit: int
) -> None:
    bench.load(700)
    taken = bench.queue.receive(limit, 120, _all, waiting=700)
    assert (len(taken.messages), taken.passed_over, taken.errors) == (limit, 0, [])
    assert bench.counts() == (700 - limit, limit, 0)


def test_a_selection_goes_through_the_whole_queue_and_sees_each_message_once(bench: Bench) -> None:
    bench.load(700)
    seen: list[str] = []

    def read(message: Message) -> Message | None:
        seen.append(message.id)
        return message if message.body == "body 699" else None

    taken = bench.queue.receive(2, 120, read, waiting=700)
    assert len(seen) == len(set(seen)) == 700
    assert (len(taken.messages), taken.passed_over) == (1, 699)
    assert bench.counts() == (699, 1, 0)


def test_a_message_that_comes_twice_is_kept_once(bench: Bench) -> None:
    ids = bench.load(300)
    bench.server.faults([Fault("duplicate", rate=0.3)])
    messages = bench.queue.receive(1_000, 120, waiting=300).messages
    assert _ids(messages) == sorted(ids)
    assert bench.server.stats().received > 300


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_a_read_that_raises_gives_everything_back(bench: Bench, error: type[BaseException]) -> None:
    bench.load(700)
    seen: list[str] = []

    def read(message: Message) -> Message | None:
        seen.append(message.id)
        if len(seen) == 123:
            raise error
        return message if len(seen) % 2 else None

    with pytest.raises(error):
        bench.queue.receive(1_000, 120, read, waiting=700)
    assert bench.counts() == (700, 0, 0)


def _interrupt() -> None:
    signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)


def test_an_interruption_ends_it_and_gives_everything_back(bench: Bench) -> None:
    bench.load(700)
    bench.server.latency(5)

    def read(message: Message) -> Message | None:
        if message.body == "body 100":
            _interrupt()
        return message if message.id[-1] in "02468ace" else None

    with pytest.raises(KeyboardInterrupt):
        bench.queue.receive(1_000, 120, read, waiting=700)
    assert bench.counts() == (700, 0, 0)
    assert bench.requests() < 100  # it went on to no end of the queue's


def test_an_interruption_while_the_surplus_goes_back_gives_the_rest_back_too(bench: Bench) -> None:
    bench.load(700)
    call = bench.queue._calls.call
    interrupted: list[str] = []

    async def interrupting(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "ChangeMessageVisibilityBatch" and not interrupted:
            interrupted.append(operation)
            _interrupt()
        return await call(operation, request)

    bench.queue._calls.call = interrupting  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        bench.queue.receive(25, 120, _all, waiting=700)
    assert bench.counts() == (700, 0, 0)


def test_an_interruption_while_messages_are_deleted_waits_until_all_are(bench: Bench) -> None:
    bench.load(700)
    messages = bench.queue.receive(1_000, 120, waiting=700).messages
    call = bench.queue._calls.call

    async def interrupting(operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        _interrupt()
        return await call(operation, request)

    bench.queue._calls.call = interrupting  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        bench.queue.acknowledge(messages)
    assert bench.counts() == (0, 0, 700)


def test_without_time_nothing_is_asked_for(bench: Bench) -> None:
    bench.load(20)
    taken = bench.queue.receive(1_000, 0)
    assert (taken.messages, taken.late, bench.requests()) == ([], True, 0)


def test_when_the_time_is_over_no_call_begins_and_what_came_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.load(2_000)
    now = 0.0
    monkeypatch.setattr(receiving, "monotonic", lambda: now)

    def read(message: Message) -> Message:
        nonlocal now
        now += 1
        return message

    taken = bench.queue.receive(5_000, 100, read, selecting=False, waiting=2_000)
    assert taken.late
    assert 100 <= len(taken.messages) <= 100 + 64 * 10
    assert bench.counts() == (2_000 - len(taken.messages), len(taken.messages), 0)


def test_it_works_where_a_loop_runs_already(bench: Bench) -> None:
    bench.load(100)

    async def notebook() -> dict[str, str]:
        return bench.queue.acknowledge(bench.queue.receive(1_000, 120).messages)

    assert asyncio.run(notebook()) == {}
    assert bench.counts() == (0, 0, 100)


def test_a_refusal_midway_ends_it_and_keeps_what_came(bench: Bench) -> None:
    bench.load(700)
    bench.server.faults([Fault("access_denied", action="ReceiveMessage", after=30)])
    taken = bench.queue.receive(1_000, 120, waiting=700)
    assert len(taken.messages) == 300
    assert {type(error) for error in taken.errors} == {AwsRefused}
    assert bench.counts() == (400, 300, 0)


def test_a_refusal_of_every_call_is_raised(bench: Bench) -> None:
    bench.load(20)
    bench.server.faults([Fault("throttle")])
    with pytest.raises(AwsUnavailable, match="RequestThrottled"):
        bench.queue.receive(1_000, 120)
    assert bench.counts() == (20, 0, 0)


def test_what_sqs_refuses_to_delete_is_named_and_stays(bench: Bench) -> None:
    bench.load(300)
    messages = bench.queue.receive(1_000, 120, waiting=300).messages
    bench.server.faults([Fault("throttle", after=10)])
    failed = bench.queue.acknowledge(messages)
    assert len(failed) == 200
    assert set(failed.values()) == {
        "SQS cannot do DeleteMessageBatch now: RequestThrottled (400). Try again."
    }
    assert bench.counts() == (0, 200, 100)
    assert bench.requests("DeleteMessageBatch") == 10 + 3 * 20


@pytest.mark.parametrize("change", [Queue.acknowledge, Queue.release])
def test_part_of_a_batch_that_sqs_does_not_change_is_named_and_keeps_no_other_back(
    bench: Bench, change: Callable[[Queue, list[Message]], dict[str, str]]
) -> None:
    bench.load(300)
    messages = bench.queue.receive(1_000, 120, waiting=300).messages
    bench.server.faults([Fault("partial", rate=0.2)])
    failed = change(bench.queue, messages)
    waiting, in_flight, deleted = bench.counts()
    assert 0 < in_flight < 300
    assert (len(failed), waiting + deleted) == (in_flight, 300 - in_flight)
    assert {why.partition(": ")[2] for why in failed.values()} == {"InternalError"}
