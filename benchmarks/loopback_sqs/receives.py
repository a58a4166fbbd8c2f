"""ReceiveMessage: what it asks for, and its answer joined from what is encoded already. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from benchmarks.loopback_sqs.errors import SqsError, missing
from benchmarks.loopback_sqs.queues import MOST_IN_FLIGHT
from benchmarks.loopback_sqs.reading import whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from benchmarks.loopback_sqs.messages import Message
    from benchmarks.loopback_sqs.queues import Queue

# In JSON; the numbers that vary are filled in for each message.
_ATTRIBUTES = {
    "SenderId": b'"SenderId":"AIDAEXAMPLEEXAMPLE000"',
    "SentTimestamp": b'"SentTimestamp":"%(sent)d"',
    "ApproximateReceiveCount": b'"ApproximateReceiveCount":"%(receives)d"',
    "ApproximateFirstReceiveTimestamp": b'"ApproximateFirstReceiveTimestamp":"%(first)d"',
}
_CAME_FROM = ("DeadLetterQueueSourceArn", "All")


@dataclass(frozen=True, slots=True)
class Receive:
    """A ReceiveMessage request.

    Attributes:
        name: the queue's name.
        number: at most so many messages.
        timeout: seconds of visibility timeout; None: the queue's.
        wait: seconds of long poll; None: the queue's.
        attributes: names of the system attributes that are asked for.
    """

    name: str
    number: int
    timeout: int | None
    wait: int | None
    attributes: tuple[str, ...]


@lru_cache(maxsize=1_000)  # one client's requests are the same, byte for byte
def read(body: bytes) -> Receive:
    """Read a request.

    Raises:
        SqsError: a parameter is missing or out of bounds.
        ValueError: it is not JSON.
    """
    request = json.loads(body)
    if not request.get("QueueUrl"):
        raise missing("QueueUrl")
    names = [
        *(request.get("MessageSystemAttributeNames") or ()),
        *(request.get("AttributeNames") or ()),
    ]
    return Receive(
        name=request["QueueUrl"].rpartition("/")[2],
        number=whole(request, "MaxNumberOfMessages", 1, 10, 1) or 1,
        timeout=whole(request, "VisibilityTimeout", 0, 43_200, None),
        wait=whole(request, "WaitTimeSeconds", 0, 20, None),
        attributes=tuple(dict.fromkeys(names)),
    )


def wait_of(queue: Queue, receive: Receive) -> int:
    """Seconds for which this receive waits for a first message."""
    usual = int(queue.attributes["ReceiveMessageWaitTimeSeconds"])
    return usual if receive.wait is None else receive.wait


def take(
    queue: Queue, receive: Receive, now: float, short: Random | None, *, twice: bool
) -> list[Message]:
    """Take messages out of a queue.

    Args:
        queue: the one that the request names.
        receive: the request.
        now: the time.
        short: takes fewer than there are, at random, as SQS may; None: as many as there are.
        twice: as `Queue.receive`.

    Raises:
        SqsError: OverLimit. A long poll gets nothing instead, as AWS documents it.
    """
    if queue.in_flight >= MOST_IN_FLIGHT:
        queue.look(now)
        if queue.in_flight >= MOST_IN_FLIGHT:
            if wait_of(queue, receive):
                return []
            raise SqsError("OverLimit", "Too many messages in flight.")
    number = receive.number if short is None else short.randint(1, receive.number)
    timeout = receive.timeout
    if timeout is None:
        timeout = int(queue.attributes["VisibilityTimeout"])
    return queue.receive(number, timeout, now, twice=twice)


def answer(messages: Sequence[Message], attributes: tuple[str, ...]) -> bytes:
    """Give the response's body."""
    if not messages:
        return b"{}"
    template = _template(attributes)
    told = any(name in _CAME_FROM for name in attributes)
    parts = [b'{"Messages":[']
    for message in messages:
        values = {
            b"sent": message.sent * 1000,
            b"receives": message.receives,
            b"first": message.first_received * 1000,
        }
        parts += (message.head, b"%08x" % message.receives, message.tail, template % values)
        if told and message.came_from:
            comma = b"" if template.endswith(b"{") else b","
            parts.append(b'%s"DeadLetterQueueSourceArn":"%s"' % (comma, message.came_from.encode()))
        parts.append(b"}}," if template else b"},")
    parts[-1] = parts[-1][:-1] + b"]}"
    return b"".join(parts)


@lru_cache(maxsize=100)
def _template(names: tuple[str, ...]) -> bytes:
    if not names:
        return b""
    wanted = _ATTRIBUTES if "All" in names else names
    parts = [_ATTRIBUTES[name] for name in wanted if name in _ATTRIBUTES]
    return b',"Attributes":{' + b",".join(parts)
