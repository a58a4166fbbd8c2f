"""One message, encoded once for all receives, and its receive handles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import md5
from json import dumps
from uuid import uuid4

# AWS's handles are about 400 characters long: they cost a client what AWS's cost.
_HANDLE = re.compile(r"AQEB([0-9a-f]{8})([0-9a-f]{12})([0-9a-f]{8})(?:ZmVlZGJhY2sg){31}==")
_PADDING = "ZmVlZGJhY2sg" * 31 + "=="


class State(Enum):
    """Where a message is. Gone: deleted, expired, or in another queue."""

    WAITING = auto()
    DELAYED = auto()
    IN_FLIGHT = auto()
    GONE = auto()


@dataclass(slots=True, eq=False)
class Message:
    """A message of a queue.

    Attributes:
        id: its message id.
        number: the same in short, for handles; no two messages of an account share one.
        sent: when it was sent, in seconds since 1970.
        size: bytes of its body.
        head: its JSON up to the varying part of its handle, in its present queue.
        tail: its JSON from there to the attributes.
        state: where it is.
        receives: how often it was received, in all queues.
        first_received: when it was first received, in seconds since 1970.
        visible_at: when it shows again, while it is in flight or delayed.
        came_from: the ARN of the queue that gave it up as dead.
    """

    id: str
    number: int
    sent: float
    size: int
    head: bytes
    tail: bytes
    state: State = State.GONE
    receives: int = 0
    first_received: float = 0.0
    visible_at: float = 0.0
    came_from: str = ""

    def enter(self, queue_number: int) -> None:
        """Make the handles those of this queue."""
        handle = f"AQEB{queue_number:08x}{self.number:012x}"
        self.head = f'{{"MessageId":"{self.id}","ReceiptHandle":"{handle}'.encode()


@dataclass(frozen=True, slots=True)
class Handle:
    """What a receive handle says."""

    queue_number: int
    message_number: int
    receive: int


def encode(body: str, number: int, now: float) -> Message:
    """Make a message of a body, with an id of its own."""
    # A lone surrogate, which SQS refuses, comes only from the control side.
    raw = body.encode("utf-8", "surrogatepass")
    digest = md5(raw, usedforsecurity=False).hexdigest()
    tail = f'{_PADDING}","MD5OfBody":"{digest}","Body":{dumps(body)}'.encode()
    return Message(str(uuid4()), number, now, len(raw), b"", tail)


def read_handle(handle: str) -> Handle | None:
    """Read what `Message.head`, the receive in hexadecimal and `tail` make together."""
    found = _HANDLE.fullmatch(handle)
    if found is None:
        return None
    queue, message, receive = found.groups()
    return Handle(int(queue, 16), int(message, 16), int(receive, 16))
