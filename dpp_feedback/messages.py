"""What SQS holds and delivers: messages, counts, and what of a queue a look needs. No calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from dpp_feedback.errors import FeedbackError

BATCH = 10  # messages in one call: the limit of SQS
THREADS = 16  # more gain nothing: the interpreter lock binds (measured)
_MESSAGES_PER_THREAD = 50  # a few messages are not worth sixteen long polls


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


@dataclass(frozen=True, slots=True)
class Taken:
    """What `Queue.receive` brought.

    Attributes:
        messages: each once; one that SQS delivers twice stands with one of its handles.
        errors: why threads stopped early, if some did; the rest stays for the next run. Also why
            messages that were not wanted could not be handed back.
        passed_over: messages received, not wanted, and handed back; each once.
        late: the time was over before the queue was empty.
    """

    messages: list[Message]
    errors: list[FeedbackError]
    passed_over: int = 0
    late: bool = False


def threads_for(waiting: int) -> int:
    """Say how many threads receive so many messages."""
    return min(THREADS, 1 + waiting // _MESSAGES_PER_THREAD)


def encoded(body: str) -> bytes:
    r"""Return a body in UTF-8; half of a surrogate pair, as JSON's `\ud800` makes one, too."""
    return body.encode("utf-8", "surrogatepass")


def sha256_of(body: str) -> str:
    """Return the SHA-256 of a body's UTF-8, in hexadecimal."""
    return sha256(encoded(body)).hexdigest()


def counted(messages: int) -> str:
    """Say how many messages."""
    return "1 message" if messages == 1 else f"{messages:,} messages"


class Source(Protocol):
    """What receiving and looking need of a queue."""

    def depth(self) -> Depth:
        """See `Queue.depth`."""

    def receive_batch(self, number: int, visibility_timeout: int | None) -> list[Message]:
        """See `Queue.receive_batch`."""

    def hand_back(self, handles: Mapping[str, str]) -> dict[str, str]:
        """See `Queue.hand_back`."""
