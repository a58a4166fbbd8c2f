"""What both stand-ins for SQS do as AWS documents it, through an unmodified boto3.

The same assertions for the loopback SQS of benchmarks/ and for ministack with our move tasks.
Where ministack does something else, the test says what, and runs for the other alone.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Timer
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from dpp_feedback_tests.loopback_sqs.conftest import client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import MessageTypeDef

    from benchmarks.loopback_sqs.control import LoopbackSqs
    from dpp_feedback.local.stack import Stack

LOOPBACK, MINISTACK = "loopback", "ministack"
_FORGETS = "ministack knows only the latest handle of a message that is there: else it says invalid"


@pytest.fixture(params=[LOOPBACK, MINISTACK])
def stand_in(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sqs(stand_in: str, request: pytest.FixtureRequest) -> SQSClient:
    if stand_in == LOOPBACK:
        loopback: LoopbackSqs = request.getfixturevalue("loopback")
        return client(loopback.url)
    stack: Stack = request.getfixturevalue("stack")
    return client(stack.settings()["AWS_ENDPOINT_URL"])


@pytest.fixture
def create(sqs: SQSClient) -> Callable[..., str]:
    """Create a queue of the test's own with these attributes; return its URL."""

    def create(**attributes: str) -> str:
        said = sqs.create_queue(QueueName=f"q-{uuid4().hex}", Attributes=attributes)  # type: ignore[arg-type]
        return said["QueueUrl"]

    return create


@pytest.fixture
def with_dead_letters(sqs: SQSClient, create: Callable[..., str]) -> Callable[..., tuple[str, str]]:
    """Create a queue and its dead-letter queue; return both URLs."""

    def both(most: int = 1, **attributes: str) -> tuple[str, str]:
        dead = create()
        policy = {"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": str(most)}
        return create(RedrivePolicy=json.dumps(policy), **attributes), dead

    return both


def arn(sqs: SQSClient, url: str) -> str:
    return attributes(sqs, url, "QueueArn")["QueueArn"]


def attributes(sqs: SQSClient, url: str, *names: QueueAttributeNameType) -> dict[Any, str]:
    return dict(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"])


def counts(sqs: SQSClient, url: str) -> tuple[int, int]:
    said = attributes(
        sqs, url, "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
    )
    return (
        int(said["ApproximateNumberOfMessages"]),
        int(said["ApproximateNumberOfMessagesNotVisible"]),
    )


def send(sqs: SQSClient, url: str, bodies: Iterable[str]) -> list[str]:
    return [sqs.send_message(QueueUrl=url, MessageBody=body)["MessageId"] for body in bodies]


def receive(sqs: SQSClient, url: str, **more: Any) -> list[MessageTypeDef]:
    said = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"], **more
    )
    return said.get("Messages", [])


def code(call: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"]


def test_a_message_comes_as_it_was_sent(sqs: SQSClient, create: Callable[..., str]) -> None:
    url = create()
    body = 'quotes " and \\ and \t tabs, é, \U0001f600, \u2028 and </script>'
    sent = sqs.send_message(QueueUrl=url, MessageBody=body)
    (got,) = receive(sqs, url)
    digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    assert got["Body"] == body
    assert got["MessageId"] == sent["MessageId"]
    assert got["MD5OfBody"] == sent["MD5OfMessageBody"] == digest
    assert got["Attributes"]["ApproximateReceiveCount"] == "1"
    first = int(got["Attributes"]["ApproximateFirstReceiveTimestamp"])
    assert int(got["Attributes"]["SentTimestamp"]) <= first
    assert "SenderId" in got["Attributes"]


def test_both_spellings_ask_for_attributes_and_none_comes_unasked(
    sqs: SQSClient, create: Callable[..., str]
) -> None:
    url = create(VisibilityTimeout="0")
    send(sqs, url, ["body"])
    old = sqs.receive_message(QueueUrl=url, AttributeNames=["SentTimestamp"])["Messages"][0]
    new = sqs.receive_message(
        QueueUrl=url, MessageSystemAttributeNames=["ApproximateReceiveCount"]
    )["Messages"][0]
    none = sqs.receive_message(QueueUrl=url)["Messages"][0]
    assert set(old["Attributes"]) == {"SentTimestamp"}
    assert new["Attributes"] == {"ApproximateReceiveCount": "2"}
    assert not none.get("Attributes")


def test_a_received_message_is_nobody_elses_until_it_is_deleted(
    sqs: SQSClient, create: Callable[..., str]
) -> None:
    url = create()
    send(sqs, url, ["body"])
    (got,) = receive(sqs, url)
    assert receive(sqs, url) == []
    assert counts(sqs, url) == (0, 1)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
    assert counts(sqs, url) == (0, 0)


def test_deleting_what_is_deleted_is_no_error(
    sqs: SQSClient, stand_in: str, create: Callable[..., str]
) -> None:
    if stand_in == MINISTACK:
        pytest.skip(_FORGETS)
    url = create()
    send(sqs, url, ["body"])
    (got,) = receive(sqs, url)
    for _ in range(2):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])


def test_a_message_not_deleted_comes_back_with_another_handle(
    sqs: SQSClient, create: Callable[..., str]
) -> None:
    url = create(VisibilityTimeout="1")
    send(sqs, url, ["body"])
    (first,) = receive(sqs, url)
    (second,) = receive(sqs, url, WaitTimeSeconds=10)
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    times = [m["Attributes"]["ApproximateFirstReceiveTimestamp"] for m in (first, second)]
    assert times[0] == times[1]


def test_a_handle_of_an_earlier_receive_deletes_nothing_and_is_no_error(
    sqs: SQSClient, stand_in: str, create: Callable[..., str]
) -> None:
    if stand_in == MINISTACK:
        pytest.skip(_FORGETS)
    url = create(VisibilityTimeout="1")
    send(sqs, url, ["body"])
    (first,) = receive(sqs, url)
    receive(sqs, url, WaitTimeSeconds=10, VisibilityTimeout=60)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert counts(sqs, url) == (0, 1)


def test_a_message_handed_back_is_there_at_once(sqs: SQSClient, create: Callable[..., str]) -> None:
    url = create()
    send(sqs, url, ["one", "two"])
    handles = [message["ReceiptHandle"] for message in receive(sqs, url)]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handles[0], VisibilityTimeout=0)
    said = sqs.change_message_visibility_batch(
        QueueUrl=url,
        Entries=[{"Id": "a", "ReceiptHandle": handles[1], "VisibilityTimeout": 0}],
    )
    assert [entry["Id"] for entry in said["Successful"]] == ["a"]
    assert {message["Body"] for message in receive(sqs, url)} == {"one", "two"}


def test_only_a_message_in_flight_can_be_handed_back(
    sqs: SQSClient, stand_in: str, create: Callable[..., str]
) -> None:
    if stand_in == MINISTACK:
        pytest.skip(_FORGETS)
    url = create()
    send(sqs, url, ["body"])
    (got,) = receive(sqs, url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
    found = code(
        lambda: sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=0
        )
    )
    assert found == "InvalidParameterValue"


def test_text_that_is_no_handle_is_refused_and_the_rest_of_its_batch_is_not(
    sqs: SQSClient, create: Callable[..., str]
) -> None:
    url = create()
    send(sqs, url, ["body"])
    (got,) = receive(sqs, url)
    assert (
        code(lambda: sqs.delete_message(QueueUrl=url, ReceiptHandle="no handle"))
        == "ReceiptHandleIsInvalid"
    )
    said = sqs.delete_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "bad", "ReceiptHandle": "no handle"},
            {"Id": "good", "ReceiptHandle": got["ReceiptHandle"]},
        ],
    )
    assert [entry["Id"] for entry in said["Successful"]] == ["good"]
    (failed,) = said["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == (
        "bad",
        "ReceiptHandleIsInvalid",
        True,
    )
    assert counts(sqs, url) == (0, 0)


def test_after_too_many_receives_a_message_is_in_the_dead_letter_queue_as_it_was(
    sqs: SQSClient, with_dead_letters: Callable[..., tuple[str, str]]
) -> None:
    url, dead = with_dead_letters(most=2, VisibilityTimeout="0")
    sent = send(sqs, url, ["body"])
    times = [receive(sqs, url)[0]["Attributes"]["SentTimestamp"] for _ in range(2)]
    assert receive(sqs, url) == []
    assert counts(sqs, url) == (0, 0)
    (got,) = receive(sqs, dead)
    assert got["MessageId"] == sent[0]
    assert got["Body"] == "body"
    assert got["Attributes"]["SentTimestamp"] == times[0] == times[1]
    assert got["Attributes"]["DeadLetterQueueSourceArn"] == arn(sqs, url)


def test_receives_count_across_queues(
    sqs: SQSClient, with_dead_letters: Callable[..., tuple[str, str]]
) -> None:
    url, dead = with_dead_letters(most=2, VisibilityTimeout="0")
    send(sqs, url, ["body"])
    for _ in range(3):
        receive(sqs, url)
    (got,) = receive(sqs, dead)
    assert got["Attributes"]["ApproximateReceiveCount"] == "3"


def test_many_receivers_get_each_message_once(sqs: SQSClient, create: Callable[..., str]) -> None:
    url = create(VisibilityTimeout="600")
    sent = set()
    for start in range(0, 500, 10):
        entries = [{"Id": str(i), "MessageBody": f"{start + i}"} for i in range(10)]
        said = sqs.send_message_batch(QueueUrl=url, Entries=entries)  # type: ignore[arg-type]
        sent |= {entry["MessageId"] for entry in said["Successful"]}

    def drain(_: int) -> list[str]:
        got: list[str] = []
        while some := receive(sqs, url):
            got += [message["MessageId"] for message in some]
            entries = [
                {"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]}
                for i, message in enumerate(some)
            ]
            done = sqs.delete_message_batch(QueueUrl=url, Entries=entries)  # type: ignore[arg-type]
            assert not done.get("Failed")
        return got

    with ThreadPoolExecutor(8) as pool:
        received = [one for some in pool.map(drain, range(8)) for one in some]
    assert sorted(received) == sorted(sent)
    assert counts(sqs, url) == (0, 0)


def test_a_long_poll_ends_with_the_first_message(
    sqs: SQSClient, create: Callable[..., str]
) -> None:
    url = create()
    sender = Timer(0.3, lambda: send(sqs, url, ["late"]))
    sender.start()
    got = receive(sqs, url, WaitTimeSeconds=20)
    sender.join()
    assert [message["Body"] for message in got] == ["late"]


def test_a_long_poll_of_the_queues_own_ends_empty(
    sqs: SQSClient, create: Callable[..., str]
) -> None:
    url = create(ReceiveMessageWaitTimeSeconds="1")
    assert receive(sqs, url) == []


def test_a_delayed_message_waits(sqs: SQSClient, create: Callable[..., str]) -> None:
    url = create(DelaySeconds="60")
    sqs.send_message(QueueUrl=url, MessageBody="later")
    sqs.send_message(QueueUrl=url, MessageBody="now", DelaySeconds=0)
    assert [message["Body"] for message in receive(sqs, url)] == ["now"]
    name: QueueAttributeNameType = "ApproximateNumberOfMessagesDelayed"
    assert attributes(sqs, url, name)[name] == "1"


def test_a_mebibyte_goes_and_a_byte_more_does_not(
    sqs: SQSClient, create: Callable[..., str]
) -> None:
    url = create()
    send(sqs, url, ["x" * 1_048_576])
    assert code(lambda: send(sqs, url, ["x" * 1_048_577])) == "InvalidParameterValue"
    assert len(receive(sqs, url)[0]["Body"]) == 1_048_576


def test_a_batch_has_one_to_ten_entries_with_ids_of_their_own(
    sqs: SQSClient, create: Callable[..., str]
) -> None:
    url = create()
    prefix = "AWS.SimpleQueueService"

    def sending(*ids: str) -> Callable[[], object]:
        entries = [{"Id": one, "MessageBody": "body"} for one in ids]
        return lambda: sqs.send_message_batch(QueueUrl=url, Entries=entries)  # type: ignore[arg-type]

    assert code(sending()) == f"{prefix}.EmptyBatchRequest"
    assert code(sending(*"abcdefghijk")) == f"{prefix}.TooManyEntriesInBatchRequest"
    assert code(sending("a", "a")) == f"{prefix}.BatchEntryIdsNotDistinct"
    assert counts(sqs, url) == (0, 0)


def test_a_batch_is_at_most_a_mebibyte_together(sqs: SQSClient, create: Callable[..., str]) -> None:
    url = create()
    entries: Any = [{"Id": str(i), "MessageBody": "x" * 110_000} for i in range(10)]
    found = code(lambda: sqs.send_message_batch(QueueUrl=url, Entries=entries))
    assert found == "AWS.SimpleQueueService.BatchRequestTooLong"
    assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries[:9])["Successful"]) == 9


def test_characters_that_xml_has_not_are_refused(
    sqs: SQSClient, create: Callable[..., str]
) -> None:
    url = create()
    assert code(lambda: send(sqs, url, ["nul \0"])) == "InvalidMessageContents"
    assert code(lambda: send(sqs, url, ["\uffff"])) == "InvalidMessageContents"


@pytest.mark.parametrize("number", [0, 11])
def test_a_receive_asks_for_one_to_ten(
    sqs: SQSClient, create: Callable[..., str], number: int
) -> None:
    url = create()
    found = code(lambda: sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=number))
    assert found == "InvalidParameterValue"


def test_attributes_are_set_given_and_checked(sqs: SQSClient, create: Callable[..., str]) -> None:
    url = create(VisibilityTimeout="7")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"MessageRetentionPeriod": "1209600"})
    said = attributes(sqs, url, "All")
    assert said["VisibilityTimeout"] == "7"
    assert said["MessageRetentionPeriod"] == "1209600"
    assert said["QueueArn"].endswith(url.rpartition("/")[2])
    assert "RedrivePolicy" not in said
    assert int(said["CreatedTimestamp"]) <= int(said["LastModifiedTimestamp"])


def test_attributes_that_nobody_knows_are_refused(
    sqs: SQSClient, stand_in: str, create: Callable[..., str]
) -> None:
    if stand_in == MINISTACK:
        pytest.skip("ministack takes and gives attributes of any name and value")
    url = create()
    unknown: Any = "Nonsense"
    assert code(lambda: attributes(sqs, url, unknown)) == "InvalidAttributeName"
    assert code(lambda: create(Nonsense="1")) == "InvalidAttributeName"
    assert code(lambda: create(VisibilityTimeout="43201")) == "InvalidAttributeValue"
    nowhere = '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:gone"}'
    assert code(lambda: create(RedrivePolicy=nowhere)) == "InvalidParameterValue"


def test_a_queue_is_found_listed_and_gone(sqs: SQSClient, create: Callable[..., str]) -> None:
    url = create()
    name = url.rpartition("/")[2]
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == url
    assert sqs.list_queues(QueueNamePrefix=name)["QueueUrls"] == [url]
    sqs.delete_queue(QueueUrl=url)
    gone = "AWS.SimpleQueueService.NonExistentQueue"
    assert code(lambda: receive(sqs, url)) == gone
    assert code(lambda: sqs.get_queue_url(QueueName=name)) == gone
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        send(sqs, url, ["body"])


def test_a_queue_of_the_same_name_is_the_same_or_an_error(
    sqs: SQSClient, create: Callable[..., str]
) -> None:
    url = create(VisibilityTimeout="7")
    name = url.rpartition("/")[2]
    again = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "7"})
    assert again["QueueUrl"] == url
    other: Any = {"VisibilityTimeout": "8"}
    assert code(lambda: sqs.create_queue(QueueName=name, Attributes=other)) == "QueueAlreadyExists"


def test_a_purged_queue_is_empty(sqs: SQSClient, create: Callable[..., str]) -> None:
    url = create()
    send(sqs, url, ["one", "two", "three"])
    receive(sqs, url, VisibilityTimeout=0)
    sqs.purge_queue(QueueUrl=url)
    assert counts(sqs, url) == (0, 0)
    assert receive(sqs, url) == []


def test_the_sources_of_a_dead_letter_queue_are_listed(
    sqs: SQSClient, stand_in: str, with_dead_letters: Callable[..., tuple[str, str]]
) -> None:
    if stand_in == MINISTACK:
        pytest.skip("ministack has no ListDeadLetterSourceQueues")
    url, dead = with_dead_letters()
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]


def test_an_action_that_a_stand_in_has_not_is_an_error(
    sqs: SQSClient, stand_in: str, create: Callable[..., str]
) -> None:
    url = create()
    if stand_in == LOOPBACK:
        found = code(lambda: sqs.list_queue_tags(QueueUrl=url))
    else:
        found = code(lambda: sqs.list_dead_letter_source_queues(QueueUrl=url))
    assert found == "InvalidAction"


class TestMoveTasks:
    """What the console calls DLQ redrives."""

    @pytest.fixture
    def dead(self, sqs: SQSClient, with_dead_letters: Callable[..., tuple[str, str]]) -> Any:
        """A queue and its dead-letter queue, which holds 20 messages of the queue."""
        url, dead = with_dead_letters(VisibilityTimeout="0")
        ids = send(sqs, url, [f"body {i}" for i in range(20)])
        while counts(sqs, url)[0]:
            receive(sqs, url)
        return url, dead, set(ids)

    def test_all_go_back_as_new_messages(self, sqs: SQSClient, dead: Any) -> None:
        url, dead_url, ids = dead
        before = {
            message["Attributes"]["SentTimestamp"]
            for message in receive(sqs, dead_url, VisibilityTimeout=0)
        }
        sqs.start_message_move_task(SourceArn=arn(sqs, dead_url))
        task = _ended(sqs, dead_url)
        assert task["Status"] == "COMPLETED"
        assert task["ApproximateNumberOfMessagesMoved"] == 20
        assert task["ApproximateNumberOfMessagesToMove"] == 20
        assert "TaskHandle" not in task
        assert counts(sqs, dead_url) == (0, 0)
        got = [message for _ in range(2) for message in receive(sqs, url, VisibilityTimeout=60)]
        assert {message["Body"] for message in got} == {f"body {i}" for i in range(20)}
        assert not {message["MessageId"] for message in got} & ids
        assert {message["Attributes"]["ApproximateReceiveCount"] for message in got} == {"1"}
        assert min(message["Attributes"]["SentTimestamp"] for message in got) > max(before)

    def test_one_task_at_a_time_which_can_be_cancelled(self, sqs: SQSClient, dead: Any) -> None:
        _, dead_url, _ = dead
        source = arn(sqs, dead_url)
        handle = sqs.start_message_move_task(SourceArn=source, MaxNumberOfMessagesPerSecond=1)[
            "TaskHandle"
        ]
        (running,) = sqs.list_message_move_tasks(SourceArn=source)["Results"]
        assert (running["Status"], running["TaskHandle"]) == ("RUNNING", handle)
        assert running["MaxNumberOfMessagesPerSecond"] == 1
        assert (
            code(lambda: sqs.start_message_move_task(SourceArn=source)) == "InvalidParameterValue"
        )
        sqs.cancel_message_move_task(TaskHandle=handle)
        task = _ended(sqs, dead_url)
        assert task["Status"] == "CANCELLED"
        assert counts(sqs, dead_url)[0] == 20 - task["ApproximateNumberOfMessagesMoved"] > 0
        assert code(lambda: sqs.cancel_message_move_task(TaskHandle=handle)) == (
            "ResourceNotFoundException"
        )

    def test_they_go_where_the_task_says(
        self, sqs: SQSClient, dead: Any, create: Callable[..., str]
    ) -> None:
        url, dead_url, _ = dead
        other = create()
        sqs.start_message_move_task(
            SourceArn=arn(sqs, dead_url),
            DestinationArn=arn(sqs, other),
            MaxNumberOfMessagesPerSecond=500,
        )
        assert _ended(sqs, dead_url)["DestinationArn"] == arn(sqs, other)
        assert counts(sqs, other) == (20, 0)
        assert counts(sqs, url) == (0, 0)

    def test_messages_in_flight_stay(self, sqs: SQSClient, dead: Any) -> None:
        _, dead_url, _ = dead
        receive(sqs, dead_url, VisibilityTimeout=60)
        sqs.start_message_move_task(SourceArn=arn(sqs, dead_url))
        assert _ended(sqs, dead_url)["ApproximateNumberOfMessagesMoved"] == 10
        assert counts(sqs, dead_url) == (0, 10)

    def test_what_is_no_dead_letter_queue_or_no_queue_is_refused(
        self, sqs: SQSClient, create: Callable[..., str]
    ) -> None:
        source = arn(sqs, create())
        assert (
            code(lambda: sqs.start_message_move_task(SourceArn=source)) == "InvalidParameterValue"
        )
        assert code(lambda: sqs.start_message_move_task(SourceArn=f"{source}-gone")) == (
            "ResourceNotFoundException"
        )

    def test_the_pace_has_bounds(self, sqs: SQSClient, dead: Any) -> None:
        _, dead_url, _ = dead
        source = arn(sqs, dead_url)
        found = code(
            lambda: sqs.start_message_move_task(SourceArn=source, MaxNumberOfMessagesPerSecond=501)
        )
        assert found == "InvalidParameterValue"


def _ended(sqs: SQSClient, dead_url: str) -> Any:
    """Give the latest task when it has ended; it must within a minute."""
    source, until = arn(sqs, dead_url), monotonic() + 60
    while monotonic() < until:
        task = sqs.list_message_move_tasks(SourceArn=source)["Results"][0]
        if task["Status"] not in ("RUNNING", "CANCELLING"):
            return task
        sleep(0.05)
    pytest.fail("the move task does not end")
