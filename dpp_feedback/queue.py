"""SQS: how much is waiting, receive, acknowledge, hand back; and a look into a dead-letter queue.

The only module that calls SQS in the product. What a body says is feedback/'s business; which
queue it is, resources.py's.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from dpp_feedback.aws_errors import AwsRefused, explaining, not_sqs
from dpp_feedback.errors import FeedbackError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import (
        ChangeMessageVisibilityBatchResultTypeDef,
        DeleteMessageBatchResultTypeDef,
        MessageTypeDef,
        ReceiveMessageRequestTypeDef,
    )

    _BatchResult = DeleteMessageBatchResultTypeDef | ChangeMessageVisibilityBatchResultTypeDef

BATCH = 10  # messages in one call: the limit of SQS
DEFAULT_REGION = "ap-northeast-2"
THREADS = 16  # more gain nothing: the interpreter lock binds (measured)
_MAX_BYTES = 256 * 1024 * 1024  # of bodies in one run, which holds them all in memory
# Seconds of long poll: a short poll asks only some of SQS's servers and may miss messages.
_WAIT = 1
# Seconds for which a sampled message is out of sight if its process dies before it hands it back.
_SAMPLE_VISIBILITY = 30


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue holds, roughly: SQS counts lag by up to a minute.

    Attributes:
        waiting: may be received now.
        in_flight: received and not yet acknowledged.
        visibility_timeout: seconds for which a received message stays in flight, unless it is
            acknowledged.
    """

    waiting: int
    in_flight: int
    visibility_timeout: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What `Queue.receive` brought.

    Attributes:
        messages: each once; one that SQS delivers twice stands with one of its handles.
        errors: why threads stopped early, if some did; the rest stays for the next run.
    """

    messages: list[Message]
    errors: list[FeedbackError]


@dataclass(frozen=True, slots=True)
class Sample:
    """Messages that were looked at, and are back in the queue.

    Attributes:
        messages: each once; their handles are spent.
        partial: the queue may hold more than these: as many as asked for came, or an error ended
            the receiving.
    """

    messages: list[Message]
    partial: bool


@dataclass(frozen=True, slots=True)
class MoveTask:
    """The latest "DLQ redrive" of a dead-letter queue.

    Attributes:
        status: SQS's word: RUNNING, COMPLETED, CANCELLING, CANCELLED, FAILED; NONE if there was
            never one.
        moved: messages moved so far, roughly.
        to_move: messages that waited when it began, roughly; None while SQS does not say.
    """

    status: str
    moved: int = 0
    to_move: int | None = None


@dataclass(frozen=True, slots=True)
class RedrivePolicy:
    """Where SQS moves a message that was received too often.

    Attributes:
        target_arn: the dead-letter queue's ARN.
        max_receive_count: after so many receives.
    """

    target_arn: str
    max_receive_count: int


@dataclass(frozen=True, slots=True)
class Message:
    """A received message; body and handle stay out of its repr, and so out of logs.

    Attributes:
        id: SQS's `MessageId`.
        sent_at: when it came into the queue, aware, in UTC.
        receive_count: how often it has been received, this time included.
        body: as it was sent.
        receipt_handle: what acknowledges it; valid until the visibility timeout.
    """

    id: str
    sent_at: datetime
    receive_count: int
    body: str = field(repr=False)
    receipt_handle: str = field(repr=False)


class Queue:
    """One SQS queue.

    Args:
        client: boto3's SQS client; `connect` makes one.
        url: the queue's URL.
        setting: the name of the setting that holds the URL, for messages to people.
    """

    def __init__(self, client: SQSClient, url: str, setting: str) -> None:
        self._client = client
        self._url = url
        self._setting = setting

    @classmethod
    def connect(cls, url: str, *, region: str, setting: str) -> Queue:
        """Make a client; nothing is sent yet.

        boto3 finds the credentials (under IRSA the pod's role) and `AWS_ENDPOINT_URL` by itself.

        Raises:
            AwsRefused: one of boto3's own settings is wrong.
        """
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=3,
            read_timeout=10,  # three attempts stay below the 60 seconds that a sensor has
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=THREADS,
        )
        with explaining("GetQueueAttributes", setting, url):
            # A session of its own: boto3's default one is shared, and not safe between threads.
            client = boto3.Session().client("sqs", region_name=region, config=config)
        return cls(client, url, setting)

    def depth(self) -> Depth:
        """Ask how many messages there are.

        Raises:
            AwsRefused: the queue does not exist, or AWS refuses.
            AwsUnavailable: SQS does not answer, or not now.
        """
        said = self._attributes(
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "VisibilityTimeout",
        )
        return Depth(
            waiting=int(said["ApproximateNumberOfMessages"]),
            in_flight=int(said["ApproximateNumberOfMessagesNotVisible"]),
            visibility_timeout=int(said["VisibilityTimeout"]),
        )

    def arn(self) -> str:
        """Ask for the queue's ARN; raises as `depth`."""
        return self._attributes("QueueArn").get("QueueArn", "")

    def retention(self) -> timedelta:
        """Ask how long a message is kept, from when it was first sent; raises as `depth`."""
        said = self._attributes("MessageRetentionPeriod").get("MessageRetentionPeriod", "")
        if not said.isdecimal():
            raise not_sqs("GetQueueAttributes")
        return timedelta(seconds=int(said))

    def redrive_policy(self) -> RedrivePolicy | None:
        """Ask where messages go that are received too often; None: nowhere; raises as `depth`."""
        said = self._attributes("RedrivePolicy").get("RedrivePolicy")
        if not said:
            return None
        try:
            policy = json.loads(said)
            return RedrivePolicy(str(policy["deadLetterTargetArn"]), int(policy["maxReceiveCount"]))
        except (KeyError, TypeError, ValueError):
            raise not_sqs("GetQueueAttributes") from None

    def move_task(self) -> MoveTask | None:
        """Ask how the latest redrive out of this dead-letter queue stands.

        Returns:
            None where the call is not there, or the role may not make it.

        Raises:
            AwsUnavailable: SQS does not answer, or not now.
        """
        try:
            arn = self.arn()
            with self._explaining("ListMessageMoveTasks"):
                tasks = self._client.list_message_move_tasks(SourceArn=arn).get("Results", [])
        except AwsRefused:
            return None
        if not tasks:
            return MoveTask("NONE")
        task = tasks[0]
        return MoveTask(
            task.get("Status", "NONE"),
            task.get("ApproximateNumberOfMessagesMoved", 0),
            task.get("ApproximateNumberOfMessagesToMove"),
        )

    def sample(self, number: int) -> Sample:
        """Look at messages and hand them back at once, also when this is interrupted.

        Each counts as received once more, so this is for a queue without a redrive policy of its
        own. A second sampler at the same time sees the messages that this one does not hold.

        Args:
            number: at most so many, a few hundred: they are received one batch after the other.

        Raises:
            AwsRefused, AwsUnavailable: as `depth`, if no message at all came.
        """
        messages: dict[str, Message] = {}
        partial = False
        try:
            while (asked := min(BATCH, number - len(messages))) > 0:
                try:
                    got = self._receive(asked, _SAMPLE_VISIBILITY)
                except FeedbackError:
                    if not messages:
                        raise
                    partial = True
                    break
                new = {message.id: message for message in got if message.id not in messages}
                messages |= new
                if not new:
                    break
        finally:
            self.release(list(messages.values()))
        return Sample(list(messages.values()), partial or len(messages) >= number)

    def receive(self, max_messages: int, max_seconds: float, threads: int = THREADS) -> Taken:
        """Receive until the queue is empty, or one of the limits is reached.

        Args:
            max_messages: at most so many, and at most 256 MiB of bodies.
            max_seconds: no call begins later than this.
            threads: calls at the same time.

        Raises:
            AwsRefused, AwsUnavailable: as `depth`, if no message at all came.
        """
        received: dict[str, Message] = {}
        errors: list[FeedbackError] = []
        left, size = max_messages, 0
        lock = Lock()
        end = monotonic() + max_seconds

        def take() -> None:
            nonlocal left, size
            while monotonic() < end:
                with lock:
                    asked = min(BATCH, left) if size < _MAX_BYTES else 0
                    left -= asked
                if asked == 0:
                    return
                try:
                    got = self._receive(asked)
                except FeedbackError as error:
                    errors.append(error)
                    return
                with lock:
                    left += asked - len(got)
                    size += sum(len(message.body) for message in got)
                    received.update((message.id, message) for message in got)
                if not got:
                    return

        with ThreadPoolExecutor(threads, "receive") as pool:
            for done in [pool.submit(take) for _ in range(threads)]:
                done.result()
        if errors and not received:
            raise errors[0]
        return Taken(list(received.values()), errors)

    def acknowledge(self, messages: Sequence[Message]) -> dict[str, str]:
        """Delete messages from the queue.

        Returns:
            Why a message could not be deleted, by message id. It may come back, and is then found
            to be stored already.
        """

        def delete(batch: list[tuple[int, Message]]) -> DeleteMessageBatchResultTypeDef:
            return self._client.delete_message_batch(
                QueueUrl=self._url,
                Entries=[{"Id": str(i), "ReceiptHandle": m.receipt_handle} for i, m in batch],
            )

        return self._in_batches("DeleteMessageBatch", messages, delete)

    def release(self, messages: Sequence[Message]) -> dict[str, str]:
        """Hand messages back, to be received again at once instead of after the visibility timeout.

        Returns:
            Why a message could not be handed back, by message id.
        """

        def show(
            batch: list[tuple[int, Message]],
        ) -> ChangeMessageVisibilityBatchResultTypeDef:
            return self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(i), "ReceiptHandle": m.receipt_handle, "VisibilityTimeout": 0}
                    for i, m in batch
                ],
            )

        return self._in_batches("ChangeMessageVisibilityBatch", messages, show)

    def _attributes(self, *names: QueueAttributeNameType) -> dict[QueueAttributeNameType, str]:
        with self._explaining("GetQueueAttributes"):
            said = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=names).get(
                "Attributes"
            )
        if said is None:
            raise not_sqs("GetQueueAttributes")
        return said

    def _receive(self, number: int, visibility_timeout: int | None = None) -> list[Message]:
        request: ReceiveMessageRequestTypeDef = {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": number,
            "WaitTimeSeconds": _WAIT,
            "MessageSystemAttributeNames": ["SentTimestamp", "ApproximateReceiveCount"],
        }
        if visibility_timeout is not None:
            request["VisibilityTimeout"] = visibility_timeout
        with self._explaining("ReceiveMessage"):
            said = self._client.receive_message(**request)
        try:
            return [_message(raw) for raw in said.get("Messages", [])]
        except (KeyError, ValueError):
            raise not_sqs("ReceiveMessage") from None

    def _in_batches(
        self,
        operation: str,
        messages: Sequence[Message],
        send: Callable[[list[tuple[int, Message]]], _BatchResult],
    ) -> dict[str, str]:
        numbered = list(enumerate(messages))
        batches = [numbered[i : i + BATCH] for i in range(0, len(numbered), BATCH)]

        def run(batch: list[tuple[int, Message]]) -> dict[str, str]:
            try:
                with self._explaining(operation):
                    said = send(batch)
            except FeedbackError as error:
                return {message.id: str(error) for _, message in batch}
            done = {entry["Id"] for entry in said.get("Successful", [])}
            codes = {entry["Id"]: entry.get("Code", "") for entry in said.get("Failed", [])}
            return {
                message.id: f"SQS refused {operation}: {codes.get(str(i)) or 'it does not say why'}"
                for i, message in batch
                if str(i) not in done
            }

        with ThreadPoolExecutor(THREADS, operation) as pool:
            failed: dict[str, str] = {}
            for batch_failed in pool.map(run, batches):
                failed |= batch_failed
            return failed

    def _explaining(self, operation: str) -> AbstractContextManager[None]:
        return explaining(operation, self._setting, self._url)


def _message(raw: MessageTypeDef) -> Message:
    attributes = raw["Attributes"]
    return Message(
        id=raw["MessageId"],
        sent_at=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        receive_count=int(attributes["ApproximateReceiveCount"]),
        body=raw["Body"],
        receipt_handle=raw["ReceiptHandle"],
    )
