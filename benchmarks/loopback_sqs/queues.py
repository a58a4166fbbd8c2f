"""A standard queue in memory: no I/O, and the time is passed in.

Times are seconds since 1970. The oldest waiting message comes first; one that returns goes to the
end. Redrive, retention and visibility happen when somebody looks, as nobody can tell.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

from benchmarks.loopback_sqs.errors import SqsError, no_handle, not_in_flight
from benchmarks.loopback_sqs.messages import Message, State, read_handle

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_IN_FLIGHT = 120_000


class Queue:
    """One queue.

    Args:
        name: its name.
        number: the same in short, for handles.
        arn: its ARN.
        attributes: as SetQueueAttributes takes them, all of them.
        created: when.

    Attributes:
        dead_letters: where messages go that were received `max_receives` times, if anywhere.
        deleted: what was deleted: message ids with the receives each had.
        expired: what was kept too long, likewise.
    """

    def __init__(
        self, name: str, number: int, arn: str, attributes: dict[str, str], created: float
    ) -> None:
        self.name = name
        self.number = number
        self.arn = arn
        self.attributes = attributes
        self.created = self.modified = created
        self.purged: float | None = None
        self.dead_letters: Queue | None = None
        self.max_receives = 0
        self.deleted: dict[str, int] = {}
        self.expired: dict[str, int] = {}
        self._messages: dict[int, Message] = {}
        self._waiting: deque[Message] = deque()
        # Some are outdated: the message is gone, or shows at another time.
        self._hidden: list[tuple[float, int, Message]] = []
        self._order = count()
        self._in_flight = self._delayed = 0
        self._oldest = float("inf")

    @property
    def in_flight(self) -> int:
        """How many are received and not deleted, nor back."""
        return self._in_flight

    @property
    def delayed(self) -> int:
        """How many have not shown yet."""
        return self._delayed

    @property
    def waiting(self) -> int:
        """How many can be received."""
        return len(self._messages) - self._in_flight - self._delayed

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages.values())

    def look(self, now: float) -> None:
        """Let happen what time brings: messages expire, or show again."""
        keep = float(self.attributes["MessageRetentionPeriod"])
        if self._oldest + keep <= now:
            for message in [m for m in self if m.sent + keep <= now]:
                self._leave(message)
                self.expired[message.id] = message.receives
            self._oldest = min((m.sent for m in self), default=float("inf"))
        while self._hidden and self._hidden[0][0] <= now:
            visible_at, _, message = heapq.heappop(self._hidden)
            if message.number not in self._messages or message.visible_at != visible_at:
                continue
            if message.state is State.IN_FLIGHT or message.state is State.DELAYED:
                self._show(message)

    def add(self, message: Message, now: float, delay: float = 0.0) -> None:
        """Take a message in."""
        message.enter(self.number)
        self._messages[message.number] = message
        self._oldest = min(self._oldest, message.sent)
        if delay > 0:
            self._delayed += 1
            self._hide(message, State.DELAYED, now + delay)
        else:
            message.state = State.WAITING
            self._waiting.append(message)

    def receive(
        self, number: int, timeout: float, now: float, *, twice: bool = False
    ) -> list[Message]:
        """Take up to so many waiting messages into flight; the dead go where they belong.

        Args:
            number: at most so many.
            timeout: seconds until they are back.
            now: the time.
            twice: leave those waiting that nobody has received before, for the next receiver.
        """
        self.look(now)
        taken: list[Message] = []
        again: list[Message] = []
        while self._waiting and len(taken) < number:
            message = self._waiting.popleft()
            if message.state is not State.WAITING:
                continue
            if self.dead_letters is not None and message.receives >= self.max_receives:
                self._leave(message)
                message.came_from = self.arn
                self.dead_letters.add(message, now)
                continue
            message.receives += 1
            if message.receives == 1:
                message.first_received = now
            taken.append(message)
            if twice and message.receives == 1:
                again.append(message)
            elif timeout > 0:
                self._in_flight += 1
                self._hide(message, State.IN_FLIGHT, now + timeout)
            else:
                again.append(message)
        self._waiting.extendleft(reversed(again))
        return taken

    def delete(self, handle: str, now: float) -> None:
        """Delete what was received with this handle, unless it was received again since.

        Raises:
            SqsError: ReceiptHandleIsInvalid.
        """
        message = self._received(handle, now)
        if message is not None:
            self._leave(message)
            self.deleted[message.id] = message.receives

    def change_visibility(self, handle: str, timeout: float, now: float) -> None:
        """Let a message in flight be back after so many seconds from now; 0: at once.

        Raises:
            SqsError: ReceiptHandleIsInvalid; InvalidParameterValue: it is not in flight.
        """
        message = self._received(handle, now)
        if message is None or message.state is not State.IN_FLIGHT:
            raise not_in_flight(handle)
        if timeout > 0:
            self._hide(message, State.IN_FLIGHT, now + timeout)
        else:
            self._show(message)

    def purge(self, now: float) -> None:
        """Delete every message; they do not count as deleted by a receiver."""
        if self.purged is not None and now < self.purged + 60:
            raise SqsError(
                "PurgeQueueInProgress",
                f"Only one PurgeQueue operation on {self.name} is allowed every 60 seconds.",
                query_code="AWS.SimpleQueueService.PurgeQueueInProgress",
            )
        self.purged = now
        for message in list(self):
            self._leave(message)

    def take_oldest(self, number: int, now: float) -> list[Message]:
        """Take up to so many waiting messages out of the queue, for a move task."""
        self.look(now)
        taken: list[Message] = []
        while self._waiting and len(taken) < number:
            message = self._waiting.popleft()
            if message.state is State.WAITING:
                self._leave(message)
                taken.append(message)
        return taken

    def _received(self, handle: str, now: float) -> Message | None:
        self.look(now)
        said = read_handle(handle)
        if said is None or said.queue_number != self.number:
            raise no_handle(handle)
        message = self._messages.get(said.message_number)
        return message if message and message.receives == said.receive else None

    def _hide(self, message: Message, state: State, until: float) -> None:
        message.state = state
        message.visible_at = until
        heapq.heappush(self._hidden, (until, next(self._order), message))

    def _show(self, message: Message) -> None:
        self._uncount(message)
        message.state = State.WAITING
        self._waiting.append(message)

    def _leave(self, message: Message) -> None:
        self._uncount(message)
        message.state = State.GONE
        del self._messages[message.number]

    def _uncount(self, message: Message) -> None:
        if message.state is State.IN_FLIGHT:
            self._in_flight -= 1
        elif message.state is State.DELAYED:
            self._delayed -= 1
