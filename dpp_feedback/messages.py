"""What SQS holds and delivers: messages, counts, and what of a queue a look needs. No calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from dpp_feedback.errors import FeedbackError

MOST_IN_FLIGHT = 120_000  # SQS's limit for a standard queue
BATCH = 10  # messages in one call: the limit of SQS
AT_A_TIME = 64  # calls; at 10 ms of latency 32 take 1.8 times as long, and more gain nothing
THREADS = 16  # of a look; more gain nothing: the interpreter lock binds (measured)
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


class Held(Protocol):
    """What is kept of a received message, to acknowledge it or to hand it back."""

    @property
    def id(self) -> str:
        """See `Message`."""

    @property
    def receipt_handle(self) -> str:
        """See `Message`."""

    @property
    def body(self) -> str | None:
        """See `Message`; None once it is not needed any more."""


T_co = TypeVar("T_co", bound=Held, covariant=True)


@dataclass(frozen=True, slots=True)
class Taken(Generic[T_co]):
    """What `Queue.receive` brought.

    Attributes:
        messages: each once; one that SQS delivers twice stands with one of its handles.
        errors: why the receiving ended early, if it did; the rest stays for the next run. Also why
            messages that were not wanted could not be handed back.
        passed_over: messages received, not wanted, and handed back; each once.
        late: the time was over before the queue was empty.
    """

    messages: list[T_co]
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


def size_of(body: str) -> int:
    """Return the length of a body's UTF-8."""
    return len(body) if body.isascii() else len(encoded(body))


def counted(messages: int) -> str:
    """Say how many messages."""
    return "1 message" if messages == 1 else f"{messages:,} messages"


class Source(Protocol):
    """What a look needs of a queue."""

    def depth(self) -> Depth:
        """See `Queue.depth`."""

    def receive_batch(self, number: int, visibility_timeout: int | None) -> list[Message]:
        """See `Queue.receive_batch`."""

    def hand_back(self, handles: Mapping[str, str]) -> dict[str, str]:
        """See `Queue.hand_back`."""
