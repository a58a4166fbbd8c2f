"""SQS's own redrive: everything in a dead-letter queue goes back to where it came from.

SQS moves the messages itself, in the background, and picks none out. A moved message is a new one:
with a new id, a receive count of 0, and the whole retention before it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dpp_feedback.aws_errors import AwsRefused, explaining

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.exceptions import ClientError
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        ListMessageMoveTasksResultEntryTypeDef,
        StartMessageMoveTaskRequestTypeDef,
    )

FASTEST = 500
"""Messages per second: the highest limit that SQS takes."""

_ALREADY = "already a task running"
_NO_RIGHT = {"AccessDenied", "AccessDeniedException"}
_NO_CALL = {
    "AWS.SimpleQueueService.UnsupportedOperation",
    "InvalidAction",
    "UnknownOperationException",
    "UnsupportedOperation",
}
# As the developer guide's pages on redrives and on the permissions of SQS's actions list them.
_ON_DLQ = (
    "sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes on the dead-letter queue"
)
_RIGHTS = {
    "StartMessageMoveTask": f"sqs:StartMessageMoveTask, {_ON_DLQ}, and sqs:SendMessage on the "
    "queue that the messages go back to",
    "CancelMessageMoveTask": f"sqs:CancelMessageMoveTask, {_ON_DLQ}",
    "ListMessageMoveTasks": "sqs:ListMessageMoveTasks and sqs:GetQueueAttributes",
}


@dataclass(frozen=True, slots=True)
class MoveTask:
    """The latest "DLQ redrive" of a dead-letter queue.

    Attributes:
        status: SQS's word: RUNNING, COMPLETED, CANCELLING, CANCELLED, FAILED; NONE if there was
            never one.
        moved: messages moved so far, roughly.
        to_move: messages that waited when it began, roughly; None while SQS does not say.
        handle: what cancels it; only while it is RUNNING.
        started_at: aware, in UTC.
        per_second: its limit, in messages per second; None: SQS chooses.
        failure: SQS's word for why it FAILED.
    """

    status: str
    moved: int = 0
    to_move: int | None = None
    handle: str | None = None
    started_at: datetime | None = None
    per_second: int | None = None
    failure: str | None = None

    @property
    def under_way(self) -> bool:
        """Whether messages may be moving now."""
        return self.status in ("RUNNING", "CANCELLING")


class MoveTasks:
    """The redrives of one dead-letter queue. SQS runs one at a time.

    Args:
        client: boto3's SQS client.
        arn: asks for the queue's ARN.
        setting: the name of the setting that holds the queue's URL.
        url: its value.
    """

    def __init__(self, client: SQSClient, arn: Callable[[], str], setting: str, url: str) -> None:
        self._client = client
        self._arn = arn
        self._setting = setting
        self._url = url

    def latest(self) -> MoveTask | None:
        """Ask how the latest redrive stands.

        Returns:
            None where the call is not there, or the role may not make it.

        Raises:
            AwsUnavailable: SQS does not answer, or not now.
        """
        try:
            arn = self._arn()
            with self._explaining("ListMessageMoveTasks"):
                tasks = self._client.list_message_move_tasks(SourceArn=arn).get("Results", [])
        except AwsRefused:
            return None
        return _task(tasks[0]) if tasks else MoveTask("NONE")

    def start(self, max_per_second: int | None) -> str:
        """Begin to move all messages back to the queues that they came from.

        Where an answer is lost, boto3 asks again, and SQS says that a redrive is running. If one
        has begun meanwhile, it is taken for this one.

        Args:
            max_per_second: 1 to 500; None: as fast as SQS likes.

        Returns:
            What cancels it.

        Raises:
            AwsRefused: a redrive is running; the queue is no queue's dead-letter queue; the role
                may not; the queue does not exist; the limit is none.
            AwsUnavailable: SQS does not answer, or not now.
        """
        from botocore.exceptions import ClientError as Refused

        if max_per_second is not None and not 1 <= max_per_second <= FASTEST:
            raise AwsRefused(
                f"A redrive moves 1 to {FASTEST} messages per second, not {max_per_second}: choose "
                "a limit between them, or none."
            )
        request: StartMessageMoveTaskRequestTypeDef = {"SourceArn": self._arn()}
        if max_per_second is not None:
            request["MaxNumberOfMessagesPerSecond"] = max_per_second
        before = self.latest()
        with self._explaining("StartMessageMoveTask"):
            try:
                return self._client.start_message_move_task(**request)["TaskHandle"]
            except Refused as error:
                if handle := self._begun(error, before):
                    return handle
                raise

    def cancel(self, handle: str) -> int:
        """Stop a redrive; what has been moved stays where it is.

        Returns:
            Messages moved so far, roughly: some more may still be under way.

        Raises:
            AwsRefused: it has ended already, or the role may not.
            AwsUnavailable: SQS does not answer, or not now.
        """
        with self._explaining("CancelMessageMoveTask"):
            said = self._client.cancel_message_move_task(TaskHandle=handle)
            return said["ApproximateNumberOfMessagesMoved"]

    def _begun(self, error: ClientError, before: MoveTask | None) -> str | None:
        """Return the handle of the redrive that began with an answer that was lost."""
        asked_again = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        if not asked_again or not before or _ALREADY not in _words(error):
            return None
        task = self.latest()
        return task.handle if task and task.started_at != before.started_at else None

    @contextmanager
    def _explaining(self, operation: str) -> Iterator[None]:
        from botocore.exceptions import ClientError as Refused

        with explaining(operation, self._setting, self._url):
            try:
                yield
            except Refused as error:
                sentence = self._sentence(operation, error)
                if sentence:
                    raise AwsRefused(sentence) from None
                raise

    def _sentence(self, operation: str, error: ClientError) -> str | None:
        """What these calls alone are refused for; None: aws_errors.py knows it."""
        code = error.response["Error"].get("Code", "")
        said = _words(error)
        if operation == "CancelMessageMoveTask" and code not in _NO_RIGHT | _NO_CALL:
            if code in ("ResourceNotFoundException", "InvalidParameterValue"):
                return "This redrive is not running any more: there is nothing to cancel."
        elif _ALREADY in said:
            return (
                "A redrive of this queue is running already, and SQS runs one at a time: wait for "
                "it to end, or cancel it."
            )
        elif "dead letter queue" in said:
            return (
                f"{self._setting} names a queue that is no SQS queue's dead-letter queue, so SQS "
                "cannot tell where its messages go back to: let the RedrivePolicy of SQS_QUEUE_URL "
                "name it."
            )
        elif code == "ResourceNotFoundException":
            return (
                f"{self._setting} names a queue that does not exist: {self._url}. "
                "Check the name, the account and AWS_REGION."
            )
        if code in _NO_RIGHT:
            return (
                f"The role may not do {operation} on {self._url}. It needs {_RIGHTS[operation]}: "
                "add them to the role's policy."
            )
        if code in _NO_CALL:
            return (
                f"What answers at this endpoint has no {operation}: an old stand-in for AWS, or a "
                "queue that cannot be redriven. Check AWS_ENDPOINT_URL."
            )
        if code.startswith(("KMS.", "Kms")) and "Throttl" not in code:
            return (
                f"SQS refused {operation} ({code}): a queue is encrypted. Let the role use both "
                "queues' keys: kms:Decrypt for the dead-letter queue, kms:Decrypt and "
                "kms:GenerateDataKey for the queue that the messages go back to."
            )
        return None


def _words(error: ClientError) -> str:
    return error.response["Error"].get("Message", "").lower()


def _task(raw: ListMessageMoveTasksResultEntryTypeDef) -> MoveTask:
    started = raw.get("StartedTimestamp")
    return MoveTask(
        status=raw.get("Status", "NONE"),
        moved=raw.get("ApproximateNumberOfMessagesMoved", 0),
        to_move=raw.get("ApproximateNumberOfMessagesToMove"),
        handle=raw.get("TaskHandle"),
        started_at=datetime.fromtimestamp(started / 1000, UTC) if started else None,
        per_second=raw.get("MaxNumberOfMessagesPerSecond"),
        failure=raw.get("FailureReason"),
    )
