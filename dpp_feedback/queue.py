"""SQS: how much is waiting, receive, acknowledge, hand back.

The only module that calls SQS in the product. What a body says is feedback/'s business; which
queue it is, resources.py's.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from dpp_feedback.aws_errors import explained
from dpp_feedback.errors import FeedbackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import BatchResultErrorEntryTypeDef, MessageTypeDef

T = TypeVar("T")

BATCH = 10  # messages in one call: the limit of SQS
THREADS = 16  # more gain nothing: the interpreter lock binds (measured)
_WAIT = (
    1  # seconds of long poll; a short poll asks only some of SQS's servers and may miss messages
)


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue holds, roughly: SQS counts lag by up to a minute.

    Attributes:
        waiting: may be received now.
        in_flight: received and not yet acknowledged.
        delayed: not yet visible.
    """

    waiting: int
    in_flight: int
    delayed: int


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
        """
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=3,
            read_timeout=15,  # with the retries below a sensor's 60 seconds are never used up
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=THREADS,
        )
        return cls(boto3.client("sqs", region_name=region, config=config), url, setting)

    def depth(self) -> Depth:
        """Ask how many messages there are.

        Raises:
            AwsRefused: the queue does not exist, or AWS refuses.
            AwsUnavailable: SQS does not answer, or not now.
        """
        said = self._call(
            "GetQueueAttributes",
            lambda: self._client.get_queue_attributes(
                QueueUrl=self._url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            ),
        )["Attributes"]
        return Depth(
            waiting=int(said["ApproximateNumberOfMessages"]),
            in_flight=int(said["ApproximateNumberOfMessagesNotVisible"]),
            delayed=int(said["ApproximateNumberOfMessagesDelayed"]),
        )

    def receive(
        self, max_messages: int, max_seconds: float, threads: int = THREADS
    ) -> list[Message]:
        """Receive until the queue is empty, or one of the limits is reached.

        Args:
            max_messages: at most so many.
            max_seconds: no call begins later than this.
            threads: calls at the same time.

        Returns:
            Each message once: one that SQS delivers twice stands with its latest handle.

        Raises:
            AwsRefused, AwsUnavailable: as `depth`, if no message at all came. If some came, they
                are returned, and the rest stays for the next run.
        """
        received: dict[str, Message] = {}
        failed: list[FeedbackError] = []
        left = max_messages
        lock = Lock()
        end = monotonic() + max_seconds

        def take() -> None:
            nonlocal left
            while monotonic() < end:
                with lock:
                    asked = min(BATCH, left)
                    left -= asked
                if asked == 0:
                    return
                try:
                    got = self._receive(asked)
                except FeedbackError as error:
                    failed.append(error)
                    return
                with lock:
                    left += asked - len(got)
                    received.update((message.id, message) for message in got)
                if not got:
                    return

        with ThreadPoolExecutor(threads, "receive") as pool:
            for done in [pool.submit(take) for _ in range(threads)]:
                done.result()
        if failed and not received:
            raise failed[0]
        return list(received.values())

    def acknowledge(self, messages: Sequence[Message]) -> dict[str, str]:
        """Delete messages from the queue.

        Returns:
            SQS's error code for each message that could not be deleted, by message id. Such a
            message comes back, and is then found to be stored already.
        """
        return self._in_batches(
            "DeleteMessageBatch",
            messages,
            lambda batch: self._client.delete_message_batch(
                QueueUrl=self._url,
                Entries=[{"Id": str(i), "ReceiptHandle": m.receipt_handle} for i, m in batch],
            ).get("Failed", []),
        )

    def release(self, messages: Sequence[Message]) -> dict[str, str]:
        """Hand messages back, to be received again at once instead of after the visibility timeout.

        Returns:
            SQS's error code for each message that could not be handed back, by message id.
        """
        return self._in_batches(
            "ChangeMessageVisibilityBatch",
            messages,
            lambda batch: self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(i), "ReceiptHandle": m.receipt_handle, "VisibilityTimeout": 0}
                    for i, m in batch
                ],
            ).get("Failed", []),
        )

    def _receive(self, number: int) -> list[Message]:
        said = self._call(
            "ReceiveMessage",
            lambda: self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=number,
                WaitTimeSeconds=_WAIT,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
            ),
        )
        return [_message(raw) for raw in said.get("Messages", [])]

    def _in_batches(
        self,
        operation: str,
        messages: Sequence[Message],
        send: Callable[[list[tuple[int, Message]]], Iterable[BatchResultErrorEntryTypeDef]],
    ) -> dict[str, str]:
        numbered = list(enumerate(messages))
        batches = [numbered[i : i + BATCH] for i in range(0, len(numbered), BATCH)]

        def run(batch: list[tuple[int, Message]]) -> dict[str, str]:
            try:
                failed = self._call(operation, lambda: send(batch))
            except FeedbackError as error:
                return {message.id: str(error) for _, message in batch}
            return {messages[int(entry["Id"])].id: entry["Code"] for entry in failed}

        with ThreadPoolExecutor(THREADS, operation) as pool:
            failed: dict[str, str] = {}
            for batch_failed in pool.map(run, batches):
                failed |= batch_failed
            return failed

    def _call(self, operation: str, call: Callable[[], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call()
        except (BotoCoreError, ClientError) as error:
            raise explained(error, operation, self._setting, self._url) from None


def _message(raw: MessageTypeDef) -> Message:
    attributes = raw["Attributes"]
    return Message(
        id=raw["MessageId"],
        sent_at=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        receive_count=int(attributes["ApproximateReceiveCount"]),
        body=raw["Body"],
        receipt_handle=raw["ReceiptHandle"],
    )
