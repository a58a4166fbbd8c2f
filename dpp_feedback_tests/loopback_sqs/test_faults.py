"""Each fault does what it says, seen by an unmodified boto3 that tries once; counts are exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ReadTimeoutError,
)

from benchmarks.loopback_sqs.faults import Fault
from dpp_feedback_tests.loopback_sqs.conftest import client

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_sqs import SQSClient

    from benchmarks.loopback_sqs.control import LoopbackSqs
    from benchmarks.loopback_sqs.faults import Kind


@pytest.fixture
def sqs(loopback: LoopbackSqs) -> SQSClient:
    return client(loopback.url)


@pytest.fixture
def url(loopback: LoopbackSqs, name: str) -> str:
    """The URL of a queue with 20 messages."""
    url = loopback.create(name)
    loopback.load(name, [f"body {i}" for i in range(20)])
    return url


def entries(sqs: SQSClient, url: str) -> list[dict[str, Any]]:
    """Receive ten messages, as entries of a batch that deletes them."""
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    return [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(got)]


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("throttle", "RequestThrottled", 400),
        ("over_limit", "OverLimit", 400),
        ("error500", "InternalFailure", 500),
        ("unavailable503", "ServiceUnavailable", 503),
        ("expired_token", "ExpiredToken", 403),
        ("access_denied", "AccessDenied", 403),
        ("not_found", "AWS.SimpleQueueService.NonExistentQueue", 400),
    ],
)
def test_an_error_is_said_as_aws_says_it_and_nothing_is_carried_out(
    loopback: LoopbackSqs, sqs: SQSClient, url: str, name: str, kind: Kind, code: str, status: int
) -> None:
    loopback.faults([Fault(kind)])
    with pytest.raises(ClientError) as caught:
        sqs.receive_message(QueueUrl=url)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert len(loopback.contents(name).waiting) == 20
    assert loopback.stats().faults == {kind: 1}


def test_garbage_says_nothing_and_nothing_is_carried_out(
    loopback: LoopbackSqs, sqs: SQSClient, url: str, name: str
) -> None:
    batch: Any = entries(sqs, url)
    loopback.faults([Fault("garbage")])
    # boto3 takes a page of HTML with status 200 for an answer in which nothing stands.
    assert set(sqs.receive_message(QueueUrl=url)) == {"ResponseMetadata"}
    assert set(sqs.delete_message_batch(QueueUrl=url, Entries=batch)) == {"ResponseMetadata"}
    contents = loopback.contents(name)
    assert (len(contents.waiting), len(contents.in_flight)) == (10, 10)


@pytest.mark.parametrize(("kind", "in_flight"), [("reset", 0), ("reset_after", 10)])
def test_a_connection_ends_before_or_after_the_action(
    loopback: LoopbackSqs, sqs: SQSClient, url: str, name: str, kind: Kind, in_flight: int
) -> None:
    loopback.faults([Fault(kind, times=1)])
    with pytest.raises(ConnectionClosedError, match="Connection was closed"):
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    assert len(loopback.contents(name).in_flight) == in_flight
    assert len(entries(sqs, url)) == 10


def test_an_answer_cut_in_half_was_carried_out(
    loopback: LoopbackSqs, sqs: SQSClient, url: str, name: str
) -> None:
    loopback.faults([Fault("cut")])
    with pytest.raises(ConnectionClosedError):
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    assert len(loopback.contents(name).in_flight) == 10


def test_a_request_hangs_and_is_never_carried_out(
    loopback: LoopbackSqs, url: str, name: str
) -> None:
    loopback.faults([Fault("hang")])
    with pytest.raises(ReadTimeoutError):
        client(loopback.url, read_timeout=0.3).receive_message(QueueUrl=url)
    assert len(loopback.contents(name).waiting) == 20


def test_a_request_that_hangs_long_enough_is_carried_out_then(
    loopback: LoopbackSqs, sqs: SQSClient, url: str, name: str
) -> None:
    loopback.faults([Fault("hang", seconds=0.2)])
    assert len(entries(sqs, url)) == 10
    assert len(loopback.contents(name).in_flight) == 10


def test_a_late_answer_was_carried_out_at_once(loopback: LoopbackSqs, url: str, name: str) -> None:
    loopback.faults([Fault("late", seconds=60)])
    with pytest.raises(ReadTimeoutError):
        client(loopback.url, read_timeout=0.3).receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    assert len(loopback.contents(name).in_flight) == 10
    loopback.faults([Fault("late", seconds=0.2)])
    assert len(entries(client(loopback.url), url)) == 10


def test_a_share_of_a_batch_fails_and_the_others_do_not(
    loopback: LoopbackSqs, sqs: SQSClient, url: str, name: str
) -> None:
    batch: Any = entries(sqs, url)
    loopback.faults([Fault("partial", rate=0.5, seed=3)])
    said = sqs.delete_message_batch(QueueUrl=url, Entries=batch)
    done = {entry["Id"] for entry in said["Successful"]}
    failed = {entry["Id"] for entry in said["Failed"]}
    assert len(done) in range(1, 10)
    assert done | failed == {str(i) for i in range(10)}
    assert {(entry["Code"], entry["SenderFault"]) for entry in said["Failed"]} == {
        ("InternalError", False)
    }
    assert len(loopback.contents(name).deleted) == len(done)
    assert len(loopback.contents(name).in_flight) == len(failed)


@pytest.mark.parametrize(
    "act",
    [
        lambda sqs, url, batch: sqs.delete_message_batch(QueueUrl=url, Entries=batch),
        lambda sqs, url, batch: sqs.change_message_visibility_batch(
            QueueUrl=url, Entries=[entry | {"VisibilityTimeout": 0} for entry in batch]
        ),
        lambda sqs, url, _: sqs.send_message_batch(
            QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": "new"} for i in range(10)]
        ),
    ],
    ids=["delete", "change visibility", "send"],
)
def test_all_of_a_batch_may_fail(
    loopback: LoopbackSqs, sqs: SQSClient, url: str, name: str, act: Callable[..., Any]
) -> None:
    batch = entries(sqs, url)
    loopback.faults([Fault("partial")])
    said = act(sqs, url, batch)
    assert "Successful" not in said
    assert len(said["Failed"]) == 10
    contents = loopback.contents(name)
    assert (len(contents.waiting), len(contents.in_flight), len(contents.deleted)) == (10, 10, 0)


def test_a_duplicate_goes_to_the_next_receiver_too_and_counts_twice(
    loopback: LoopbackSqs, sqs: SQSClient, url: str, name: str
) -> None:
    loopback.faults([Fault("duplicate", times=1)])
    first: Any = entries(sqs, url)
    second: Any = entries(sqs, url)
    contents = loopback.contents(name)
    assert sorted(contents.in_flight.values()) == [2] * 10
    assert sorted(contents.waiting.values()) == [0] * 10
    # Only the later handles delete: AWS calls that possible.
    assert len(sqs.delete_message_batch(QueueUrl=url, Entries=first)["Successful"]) == 10
    assert loopback.contents(name).deleted == {}
    sqs.delete_message_batch(QueueUrl=url, Entries=second)
    assert len(loopback.contents(name).deleted) == 10


def test_with_duplicates_always_each_message_comes_twice(
    loopback: LoopbackSqs, sqs: SQSClient, url: str, name: str
) -> None:
    loopback.faults([Fault("duplicate")])
    received = 0
    while batch := _some(sqs, url):
        received += batch
    assert received == 40
    assert set(loopback.contents(name).in_flight.values()) == {2}


def test_a_fault_befalls_its_action_alone_after_some_and_not_too_often(
    loopback: LoopbackSqs, sqs: SQSClient, url: str
) -> None:
    loopback.faults([Fault("throttle", action="ReceiveMessage", after=2, times=3)])
    outcomes = []
    for _ in range(8):
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        outcomes.append(_is_throttled(sqs, url))
    assert outcomes == [False, False, True, True, True, False, False, False]
    assert loopback.stats().faults == {"throttle": 3}
    assert loopback.stats().requests == {"GetQueueAttributes": 8, "ReceiveMessage": 8}


def test_the_same_seed_chooses_the_same_requests(
    loopback: LoopbackSqs, sqs: SQSClient, url: str
) -> None:
    def outcomes(seed: int) -> list[bool]:
        loopback.faults([Fault("throttle", rate=0.5, seed=seed)])
        return [_is_throttled(sqs, url) for _ in range(30)]

    first, again, other = outcomes(7), outcomes(7), outcomes(8)
    assert first == again != other
    assert True in first
    assert False in first


def test_of_two_faults_the_first_that_fits_befalls(
    loopback: LoopbackSqs, sqs: SQSClient, url: str
) -> None:
    loopback.faults([Fault("access_denied", times=1), Fault("throttle", times=1)])
    with pytest.raises(ClientError, match="not authorized"):
        sqs.receive_message(QueueUrl=url)
    assert _is_throttled(sqs, url)
    assert not _is_throttled(sqs, url)


def test_a_fault_that_nobody_knows_is_refused() -> None:
    unknown: Any = "earthquake"
    with pytest.raises(ValueError, match="No fault is called earthquake"):
        Fault(unknown)


def _some(sqs: SQSClient, url: str) -> int:
    return len(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []))


def _is_throttled(sqs: SQSClient, url: str) -> bool:
    try:
        sqs.receive_message(QueueUrl=url)
    except sqs.exceptions.RequestThrottled:
        return True
    return False
