"""SQS: how much is waiting, receive, look, acknowledge, hand back.

The only module that calls SQS in the product, next to move_tasks.py. What a body says is
feedback/'s business; which queue it is, resources.py's.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dpp_feedback import event_loop
from dpp_feedback.aws_errors import AwsRefused, explaining, not_aws
from dpp_feedback.errors import FeedbackError
from dpp_feedback.look import Look, looking_seconds
from dpp_feedback.messages import AT_A_TIME, BATCH, THREADS, Depth, Held, Message, Taken
from dpp_feedback.move_tasks import MoveTasks
from dpp_feedback.receiving import Receiving
from dpp_feedback.sqs_calls import ATTEMPTS, CONNECT_SECONDS, READ_SECONDS, Calls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from botocore.session import Session
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import MessageTypeDef

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

T = TypeVar("T", bound=Held)


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
        calls: for what is done with many calls at a time.
        url: the queue's URL.
        setting: the name of the setting that holds the URL, for messages to people.
    """

    def __init__(self, client: SQSClient, calls: Calls, url: str, setting: str) -> None:
        self._client = client
        self._calls = calls
        self._url = url
        self._setting = setting

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        region: str,
        setting: str,
        make_client: Callable[[str], tuple[Session, SQSClient]] | None = None,
    ) -> Queue:
        """Make a client; nothing is sent yet.

        Args:
            url: as the class says.
            region: of the queue.
            setting: as the class says.
            make_client: `make_client`, or what remembers its clients.

        Raises:
            AwsRefused: one of boto3's own settings is wrong.
        """
        with explaining("GetQueueAttributes", setting, url):
            session, client = (make_client or cls.make_client)(region)
        return cls(client, Calls(session, client, url, setting), url, setting)

    @staticmethod
    def make_client(region: str) -> tuple[Session, SQSClient]:
        """Make a client of SQS, and the session it belongs to.

        boto3 finds the credentials (under IRSA the pod's role) and `AWS_ENDPOINT_URL` by itself.
        """
        import boto3
        from botocore.config import Config
        from botocore.session import get_session

        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=THREADS,
        )
        # A session of its own: boto3's default one is shared, and not safe between threads.
        session = get_session()
        client = boto3.Session(botocore_session=session).client(
            "sqs", region_name=region, config=config
        )
        return session, client

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
        # With the ARN, which each queue has: SQS may answer {} where nothing asked for is set.
        said = self._attributes("QueueArn", "RedrivePolicy").get("RedrivePolicy")
        if not said:
            return None
        try:
            policy = json.loads(said)
            return RedrivePolicy(str(policy["deadLetterTargetArn"]), int(policy["maxReceiveCount"]))
        except (KeyError, TypeError, ValueError):
            raise not_aws("GetQueueAttributes") from None

    @overload
    def receive(
        self,
        max_messages: int,
        max_seconds: float,
        *,
        waiting: int | None = None,
        visibility_timeout: int | None = None,
    ) -> Taken[Message]: ...

    @overload
    def receive(
        self,
        max_messages: int,
        max_seconds: float,
        read: Callable[[Message], T | None],
        *,
        selecting: bool = True,
        waiting: int | None = None,
        visibility_timeout: int | None = None,
    ) -> Taken[T]: ...

    def receive(
        self,
        max_messages: int,
        max_seconds: float,
        read: Callable[[Message], Any] | None = None,
        *,
        selecting: bool = True,
        waiting: int | None = None,
        visibility_timeout: int | None = None,
    ) -> Taken[Any]:
        """Receive until the queue is empty, or one of the limits is reached.

        Args:
            max_messages: at most so many, and at most 256 MiB of bodies.
            max_seconds: no call begins later than this.
            read: makes of a message what is kept of it; called on a thread of its own. Messages
                for which it returns None are not wanted: they stay out of sight until the
                receiving ends, are handed back then, and do not count against `max_messages`.
                None: all are kept as they are.
            selecting: whether `read` may return None.
            waiting: how many messages wait, roughly: so many calls are made at a time. None: as
                many as `max_messages`.
            visibility_timeout: seconds for which the messages are nobody else's; None: the
                queue's own.

        Raises:
            AwsRefused, AwsUnavailable: as `depth`, if no message at all came. Whatever else is
                raised, the messages are handed back first.
        """
        return Receiving(
            self,
            max_messages,
            max_seconds,
            read or (lambda message: message),
            selecting and read is not None,
            max_messages if waiting is None else waiting,
            visibility_timeout,
        ).run()

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

    def acknowledge(self, messages: Sequence[Held]) -> dict[str, str]:
        """Delete messages from the queue.

        Returns:
            Why a message could not be deleted, by message id. It may come back, and is then found
            to be stored already.
        """
        return self._in_batches("DeleteMessageBatch", _handles(messages), {})

    def release(self, messages: Sequence[Held]) -> dict[str, str]:
        """Hand messages back, to be received again at once instead of after the visibility timeout.

        Returns:
            Why a message could not be handed back, by message id.
        """
        return self.hand_back(_handles(messages))

    def hand_back(self, handles: Mapping[str, str]) -> dict[str, str]:
        """The same, for whoever kept only message ids and handles."""
        return self._in_batches("ChangeMessageVisibilityBatch", handles, {"VisibilityTimeout": 0})

    def receive_batch(self, number: int, visibility_timeout: int | None) -> list[Message]:
        """Receive up to 10 messages with one call, which waits a second for the first.

        Raises:
            AwsRefused, AwsUnavailable: as `depth`.
        """
        with self._explaining("ReceiveMessage"):
            said = self._client.receive_message(
                QueueUrl=self._url, **_receive_request(number, visibility_timeout)
            )
        return _messages(said.get("Messages") or [])

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Let `receive_some` be called while this lasts."""
        return self._calls.opened()

    async def receive_some(self, number: int, visibility_timeout: int | None) -> list[Message]:
        """The same as `receive_batch`, in an event loop."""
        said = await self._calls.call(
            "ReceiveMessage", _receive_request(number, visibility_timeout)
        )
        return _messages(said.get("Messages") or [])

    def _attributes(self, *names: QueueAttributeNameType) -> dict[QueueAttributeNameType, str]:
        with self._explaining("GetQueueAttributes"):
            said = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=names).get(
                "Attributes"
            )
        if said is None:
            raise not_aws("GetQueueAttributes")
        return said

    def _in_batches(
        self, operation: str, handles: Mapping[str, str], change: Mapping[str, int]
    ) -> dict[str, str]:
        left = iter(handles.items())
        batches = iter(lambda: list(islice(left, BATCH)), [])
        failed: dict[str, str] = {}

        async def send() -> None:
            for batch in batches:
                failed.update(await self._send(operation, batch, change))

        async def send_all() -> None:
            async with self._calls.opened():
                await asyncio.gather(*(send() for _ in range(AT_A_TIME)))

        if handles:
            event_loop.run(send_all)
        return failed

    async def _send(
        self, operation: str, batch: list[tuple[str, str]], change: Mapping[str, int]
    ) -> dict[str, str]:
        """Change up to 10 messages; say why one could not be changed, by message id."""
        entries = [
            {"Id": str(i), "ReceiptHandle": handle, **change} for i, (_, handle) in enumerate(batch)
        ]
        try:
            said = await self._calls.call(operation, {"Entries": entries})
        except FeedbackError as error:
            return {message_id: str(error) for message_id, _ in batch}
        done = {entry["Id"] for entry in said.get("Successful") or []}
        codes = {entry["Id"]: entry.get("Code", "") for entry in said.get("Failed") or []}
        return {
            message_id: f"SQS refused {operation}: {codes.get(str(i)) or 'it does not say why'}"
            for i, (message_id, _) in enumerate(batch)
            if str(i) not in done
        }

    def _explaining(self, operation: str) -> AbstractContextManager[None]:
        return explaining(operation, self._setting, self._url)


def _handles(messages: Sequence[Held]) -> dict[str, str]:
    return {message.id: message.receipt_handle for message in messages}


def _receive_request(number: int, visibility_timeout: int | None) -> dict[str, Any]:
    visibility = {} if visibility_timeout is None else {"VisibilityTimeout": visibility_timeout}
    return {
        "MaxNumberOfMessages": number,
        "WaitTimeSeconds": _WAIT,
        "MessageSystemAttributeNames": ["SentTimestamp", "ApproximateReceiveCount"],
        **visibility,
    }


def _messages(raw: Sequence[MessageTypeDef]) -> list[Message]:
    try:
        return [
            Message(
                id=one["MessageId"],
                sent_at=datetime.fromtimestamp(int(one["Attributes"]["SentTimestamp"]) / 1000, UTC),
                receive_count=int(one["Attributes"]["ApproximateReceiveCount"]),
                body=one["Body"],
                receipt_handle=one["ReceiptHandle"],
            )
            for one in raw
        ]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise not_aws("ReceiveMessage") from None
