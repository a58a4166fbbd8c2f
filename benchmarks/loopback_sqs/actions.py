"""SQS's actions on JSON objects, each as the API reference says. No I/O.

ReceiveMessage is in receives.py: it may have to wait, and it is what benchmarks ask for most.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from benchmarks.loopback_sqs import attributes
from benchmarks.loopback_sqs.errors import (
    SqsError,
    invalid,
    missing,
    no_such_resource,
    unsupported,
)
from benchmarks.loopback_sqs.moves import FASTEST
from benchmarks.loopback_sqs.reading import body_of, in_batch, text, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.loopback_sqs.account import Account
    from benchmarks.loopback_sqs.queues import Queue
    from benchmarks.loopback_sqs.reading import Request

    Action = Callable[["Api", Request, float], dict[str, Any]]

_BYTES = 1_048_576
# What XML 1.0 has no place for; SQS refuses it.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Api:
    """The actions of one account.

    Args:
        account: its queues.
        url: where queues are found: a queue's URL is this, a slash, and its name.
    """

    def __init__(self, account: Account, url: str) -> None:
        self._account = account
        self._url = url
        self.sent = self.deleted = 0

    def queue(self, request: Request) -> Queue:
        """Find the queue that a request names.

        Raises:
            SqsError: QueueDoesNotExist, or no queue is named.
        """
        return self._account.queue(text(request, "QueueUrl").rpartition("/")[2])

    def url_of(self, name: str) -> str:
        """Give a queue's URL."""
        return f"{self._url}/{name}"

    def create_queue(self, request: Request, now: float) -> dict[str, Any]:
        name = text(request, "QueueName")
        queue = self._account.create(name, dict(request.get("Attributes") or {}), now)
        return {"QueueUrl": self.url_of(queue.name)}

    def get_queue_url(self, request: Request, _now: float) -> dict[str, Any]:
        return {"QueueUrl": self.url_of(self._account.queue(text(request, "QueueName")).name)}

    def list_queues(self, request: Request, _now: float) -> dict[str, Any]:
        names = self._account.names(request.get("QueueNamePrefix") or "")
        return self._page("QueueUrls", names, request)

    def list_dead_letter_source_queues(self, request: Request, _now: float) -> dict[str, Any]:
        names = [queue.name for queue in self._account.sources(self.queue(request))]
        return self._page("queueUrls", names, request)

    def delete_queue(self, request: Request, now: float) -> dict[str, Any]:
        self._account.delete(self.queue(request), now)
        return {}

    def purge_queue(self, request: Request, now: float) -> dict[str, Any]:
        self.queue(request).purge(now)
        return {}

    def get_queue_attributes(self, request: Request, now: float) -> dict[str, Any]:
        queue = self.queue(request)
        queue.look(now)
        told = attributes.told(queue, request.get("AttributeNames") or [])
        return {"Attributes": told} if told else {}

    def set_queue_attributes(self, request: Request, now: float) -> dict[str, Any]:
        self._account.set(self.queue(request), dict(request.get("Attributes") or {}), now)
        return {}

    def send_message(self, request: Request, now: float) -> dict[str, Any]:
        return self._send(self.queue(request), request, now)

    def send_message_batch(self, request: Request, now: float) -> dict[str, Any]:
        queue = self.queue(request)
        size = sum(len(body_of(entry)) for entry in request.get("Entries") or [])
        if size > _BYTES:
            raise SqsError(
                "BatchRequestTooLong",
                f"Batch requests cannot be longer than {_BYTES} bytes. You have sent {size} bytes.",
                query_code="AWS.SimpleQueueService.BatchRequestTooLong",
            )
        return in_batch(request, lambda entry: self._send(queue, entry, now))

    def delete_message(self, request: Request, now: float) -> dict[str, Any]:
        return self._delete(self.queue(request), request, now)

    def delete_message_batch(self, request: Request, now: float) -> dict[str, Any]:
        queue = self.queue(request)
        return in_batch(request, lambda entry: self._delete(queue, entry, now))

    def change_message_visibility(self, request: Request, now: float) -> dict[str, Any]:
        return _change(self.queue(request), request, now)

    def change_message_visibility_batch(self, request: Request, now: float) -> dict[str, Any]:
        queue = self.queue(request)
        return in_batch(request, lambda entry: _change(queue, entry, now))

    def start_message_move_task(self, request: Request, now: float) -> dict[str, Any]:
        per_second = whole(request, "MaxNumberOfMessagesPerSecond", 1, FASTEST, None)
        destination = request.get("DestinationArn") or None
        source = text(request, "SourceArn")
        return {"TaskHandle": self._account.start_task(source, destination, per_second, now).handle}

    def list_message_move_tasks(self, request: Request, _now: float) -> dict[str, Any]:
        source = self._account.by_arn(text(request, "SourceArn"), "SourceArn")
        number = whole(request, "MaxResults", 1, 10, 1)
        tasks = [t.told() for t in reversed(self._account.tasks) if t.source_arn == source.arn]
        return {"Results": tasks[:number]}

    def cancel_message_move_task(self, request: Request, now: float) -> dict[str, Any]:
        handle = text(request, "TaskHandle")
        for task in self._account.tasks:
            if task.handle == handle and task.status == "RUNNING":
                task.cancel(now)
                return {"ApproximateNumberOfMessagesMoved": task.moved}
        raise no_such_resource("Task does not exist.")

    def _send(self, queue: Queue, request: Request, now: float) -> dict[str, Any]:
        raw = body_of(request)
        most = int(queue.attributes["MaximumMessageSize"])
        if not raw:
            raise missing("MessageBody")
        if len(raw) > most:
            raise invalid(
                "One or more parameters are invalid. "
                f"Reason: Message must be shorter than {most} bytes."
            )
        if _NOT_XML.search(request["MessageBody"]):
            raise SqsError(
                "InvalidMessageContents", "Invalid characters were found in the message body."
            )
        if request.get("MessageAttributes") or request.get("MessageSystemAttributes"):
            raise unsupported("This stand-in has no message attributes.")
        usual = int(queue.attributes["DelaySeconds"])
        delay = whole(request, "DelaySeconds", 0, 900, usual)
        message = self._account.message(request["MessageBody"], now)
        queue.add(message, now, float(delay or 0))
        self.sent += 1
        digest = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        return {"MessageId": message.id, "MD5OfMessageBody": digest}

    def _delete(self, queue: Queue, request: Request, now: float) -> dict[str, Any]:
        queue.delete(text(request, "ReceiptHandle"), now)
        self.deleted += 1
        return {}

    def _page(self, key: str, names: list[str], request: Request) -> dict[str, Any]:
        most = whole(request, "MaxResults", 1, 1_000, None)
        after = request.get("NextToken") or ""
        left = [name for name in names if name > after]
        page = left[: most or 1_000]
        said: dict[str, Any] = {key: [self.url_of(name) for name in page]}
        if most and len(left) > len(page):
            said["NextToken"] = page[-1]
        return said


ACTIONS: dict[str, Action] = {
    "CreateQueue": Api.create_queue,
    "GetQueueUrl": Api.get_queue_url,
    "ListQueues": Api.list_queues,
    "ListDeadLetterSourceQueues": Api.list_dead_letter_source_queues,
    "DeleteQueue": Api.delete_queue,
    "PurgeQueue": Api.purge_queue,
    "GetQueueAttributes": Api.get_queue_attributes,
    "SetQueueAttributes": Api.set_queue_attributes,
    "SendMessage": Api.send_message,
    "SendMessageBatch": Api.send_message_batch,
    "DeleteMessage": Api.delete_message,
    "DeleteMessageBatch": Api.delete_message_batch,
    "ChangeMessageVisibility": Api.change_message_visibility,
    "ChangeMessageVisibilityBatch": Api.change_message_visibility_batch,
    "StartMessageMoveTask": Api.start_message_move_task,
    "ListMessageMoveTasks": Api.list_message_move_tasks,
    "CancelMessageMoveTask": Api.cancel_message_move_task,
}


def _change(queue: Queue, request: Request, now: float) -> dict[str, Any]:
    timeout = whole(request, "VisibilityTimeout", 0, 43_200, None)
    if timeout is None:
        raise missing("VisibilityTimeout")
    queue.change_visibility(text(request, "ReceiptHandle"), timeout, now)
    return {}
