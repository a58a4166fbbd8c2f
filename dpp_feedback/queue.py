"""SQS: how much is waiting, receive, look, acknowledge, hand back.

The only module that calls SQS in the product, next to move_tasks.py. What a body says is
feedback/'s business; which queue it is, resources.py's.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dpp_feedback.aws_errors import AwsRefused, explaining, not_aws
from dpp_feedback.errors import FeedbackError
from dpp_feedback.look import Look, looking_seconds
from dpp_feedback.messages import BATCH, THREADS, Depth, Message, Taken
from dpp_feedback.move_tasks import MoveTasks
from dpp_feedback.receiving import Receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import (
        ChangeMessageVisibilityBatchResultTypeDef,
        DeleteMessageBatchResultTypeDef,
        MessageTypeDef,
        ReceiveMessageRequestTypeDef,
    )

    _Batch = list[tuple[int, str, str]]  # number, message id, handle
    _BatchResult = DeleteMessageBatchResultTypeDef | ChangeMessageVisibilityBatchResultTypeDef

__all__ = [
    "DEFAULT_REGION",
    "THREADS",
    "Depth",
    "Look",
    "Message",
    "Queue",
    "RedrivePolicy",
    "Taken",
    "looking_seconds",
]

DEFAULT_REGION = "ap-northeast-2"
# Seconds of long poll: a short poll asks only some of SQS's servers and may miss messages.
_WAIT = 1


@dataclass(frozen=True, slots=True)
class RedrivePolicy:
    """Where SQS moves a message that was received too often.

    Attributes:
        target_arn: the dead-letter queue's ARN.
        max_receive_count: after so many receives.
    """

    target_arn: str
    max_receive_count: int


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

    @property
    def url(self) -> str:
        """The queue's URL."""
        return self._url

    @property
    def name(self) -> str:
        """The queue's name: the last part of its URL."""
        return self._url.rpartition("/")[2]

    @property
    def move_tasks(self) -> MoveTasks:
        """The "DLQ redrives" of this dead-letter queue; nothing is sent yet."""
        return MoveTasks(self._client, self.arn, self._setting, self._url)

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
            raise not_aws("GetQueueAttributes")
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
            raise not_aws("GetQueueAttributes") from None

    def receive(
        self,
        max_messages: int,
        max_seconds: float,
        threads: int = THREADS,
        *,
        wanted: Callable[[Message], bool] | None = None,
        visibility_timeout: int | None = None,
    ) -> Taken:
        """Receive until the queue is empty, or one of the limits is reached.

        Args:
            max_messages: at most so many, and at most 256 MiB of bodies.
            max_seconds: no call begins later than this.
            threads: calls at the same time.
            wanted: tells whether a message is wanted; called on all threads. Messages that are
                not stay out of sight until the receiving ends, and are handed back then; they
                do not count against `max_messages`. None: all are wanted.
            visibility_timeout: seconds for which the messages are nobody else's; None: the
                queue's own.

        Raises:
            AwsRefused, AwsUnavailable: as `depth`, if no message at all came. Whatever else is
                raised, the messages are handed back first.
        """
        receiving = Receiving(self, max_messages, max_seconds, wanted, visibility_timeout)
        return receiving.run(threads)

    def look(self) -> Look:
        """Look at messages and hand them back: `with queue.look() as look: for message in look`.

        Raises:
            AwsRefused: as `depth`; or the queue has a redrive policy of its own. There a look
                counts as a receive and may move messages on.
            AwsUnavailable: as `depth`.
        """
        depth = self.depth()
        if self.redrive_policy():
            raise AwsRefused(
                f"{self._setting} names a queue with a redrive policy of its own ({self.name}): "
                "looking counts as a receive and may move messages on, so nobody looks. "
                "Remove the policy, or name the dead-letter queue."
            )
        return Look(self, depth)

    def acknowledge(self, messages: Sequence[Message]) -> dict[str, str]:
        """Delete messages from the queue.

        Returns:
            Why a message could not be deleted, by message id. It may come back, and is then found
            to be stored already.
        """

        def delete(batch: _Batch) -> DeleteMessageBatchResultTypeDef:
            return self._client.delete_message_batch(
                QueueUrl=self._url,
                Entries=[{"Id": str(i), "ReceiptHandle": handle} for i, _, handle in batch],
            )

        return self._in_batches("DeleteMessageBatch", _handles(messages), delete)

    def release(self, messages: Sequence[Message]) -> dict[str, str]:
        """Hand messages back, to be received again at once instead of after the visibility timeout.

        Returns:
            Why a message could not be handed back, by message id.
        """
        return self.hand_back(_handles(messages))

    def hand_back(self, handles: Mapping[str, str]) -> dict[str, str]:
        """The same, for whoever kept only message ids and handles."""

        def show(batch: _Batch) -> ChangeMessageVisibilityBatchResultTypeDef:
            return self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                    for i, _, handle in batch
                ],
            )

        return self._in_batches("ChangeMessageVisibilityBatch", handles, show)

    def receive_batch(self, number: int, visibility_timeout: int | None) -> list[Message]:
        """Receive up to 10 messages with one call, which waits a second for the first.

        Raises:
            AwsRefused, AwsUnavailable: as `depth`.
        """
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
            raise not_aws("ReceiveMessage") from None

    def _attributes(self, *names: QueueAttributeNameType) -> dict[QueueAttributeNameType, str]:
        with self._explaining("GetQueueAttributes"):
            said = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=names).get(
                "Attributes"
            )
        if said is None:
            raise not_aws("GetQueueAttributes")
        return said

    def _in_batches(
        self, operation: str, handles: Mapping[str, str], send: Callable[[_Batch], _BatchResult]
    ) -> dict[str, str]:
        numbered = [(i, *held) for i, held in enumerate(handles.items())]
        batches = [numbered[i : i + BATCH] for i in range(0, len(numbered), BATCH)]

        def run(batch: _Batch) -> dict[str, str]:
            try:
                with self._explaining(operation):
                    said = send(batch)
            except FeedbackError as error:
                return {message_id: str(error) for _, message_id, _ in batch}
            done = {entry["Id"] for entry in said.get("Successful", [])}
            codes = {entry["Id"]: entry.get("Code", "") for entry in said.get("Failed", [])}
            return {
                message_id: f"SQS refused {operation}: {codes.get(str(i)) or 'it does not say why'}"
                for i, message_id, _ in batch
                if str(i) not in done
            }

        with ThreadPoolExecutor(THREADS, operation) as pool:
            # Not `map`, which gives up the rest when this is interrupted.
            sent = [pool.submit(run, batch) for batch in batches]
            failed: dict[str, str] = {}
            for one in sent:
                failed |= one.result()
            return failed

    def _explaining(self, operation: str) -> AbstractContextManager[None]:
        return explaining(operation, self._setting, self._url)


def _handles(messages: Sequence[Message]) -> dict[str, str]:
    return {message.id: message.receipt_handle for message in messages}


def _message(raw: MessageTypeDef) -> Message:
    attributes = raw["Attributes"]
    return Message(
        id=raw["MessageId"],
        sent_at=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        receive_count=int(attributes["ApproximateReceiveCount"]),
        body=raw["Body"],
        receipt_handle=raw["ReceiptHandle"],
    )
