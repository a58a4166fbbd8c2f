"""A look at a queue's messages, which are all handed back. Nothing is deleted or moved.

SQS cannot peek: a look takes messages in flight, and holds them until it is left, so that each
comes once. What it holds is handed back however it is left; a process that is killed outright
hands nothing back, and SQS does it when the visibility timeout is over.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from math import ceil
from queue import Empty, SimpleQueue
from threading import Event, Lock
from time import monotonic
from typing import TYPE_CHECKING

from dpp_feedback.errors import FeedbackError
from dpp_feedback.interrupts import deferred
from dpp_feedback.messages import BATCH, MOST_IN_FLIGHT, Depth, Message, counted, threads_for

if TYPE_CHECKING:
    from typing import Self

    from dpp_feedback.messages import Source

_MESSAGES_PER_SECOND = 500  # a slow look; one with 16 threads reads several times as many
_SHORTEST, _LONGEST = 30, 43_200  # seconds; SQS allows at most 12 hours


def holding_seconds(visibility_timeout: int, messages: int) -> int:
    """How long messages stay out of sight while as many as these are received.

    The queue's own visibility timeout, or three times as long as so many messages take at 500 a
    second; at most 12 hours. Receiving ends after a third of it, so that the first message does
    not come back before the last one is dealt with.
    """
    return min(max(visibility_timeout, ceil(3 * messages / _MESSAGES_PER_SECOND)), _LONGEST)


def looking_seconds(depth: Depth) -> int:
    """How long messages stay out of sight when somebody looks at them; at least 30 seconds."""
    return max(
        holding_seconds(depth.visibility_timeout, depth.waiting + depth.in_flight), _SHORTEST
    )


class Look:
    """The messages of a queue, each once, while the `with` block lasts.

    Leaving the block hands everything back: at its end, by `break` or `return`, by an exception,
    by Ctrl-C, and by SystemExit. Of a message that was passed on, only id and handle are kept.

    Args:
        source: the queue; it must have no redrive policy of its own, because a look counts as a
            receive.
        depth: what it holds.

    Attributes:
        depth: what the queue held before the look.
        seen: messages passed on so far.
    """

    def __init__(self, source: Source, depth: Depth) -> None:
        self.depth = depth
        self.seen = 0
        self._source = source
        self._timeout = looking_seconds(depth)
        self._threads = threads_for(depth.waiting)
        self._running = self._threads
        self._held: dict[str, str] = {}  # handles by message id
        self._lock = Lock()
        self._stop = Event()
        self._came: SimpleQueue[list[Message] | None] = SimpleQueue()  # None: a thread has ended
        # A place for each batch received ahead of the caller. No Semaphore: an interruption within
        # its release leaves it locked.
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._threads):
            self._room.put(None)
        self._pool: ThreadPoolExecutor | None = None
        self._receivers: list[Future[None]] = []
        self._batch: list[Message] = []
        self._errors: list[FeedbackError] = []
        self._late = self._read = self._stopped = False
        self._whys: list[str] = []

    def __enter__(self) -> Self:
        """Begin; the first message that is asked for begins the receiving."""
        return self

    def __iter__(self) -> Self:
        """Go on where the look is; it is not begun again."""
        return self

    def __next__(self) -> Message:
        """Return the next message.

        Raises:
            AwsRefused, AwsUnavailable: as `Queue.depth`, if no message at all came.
        """
        if self._stop.is_set():  # left: nobody would hand anything back any more
            raise StopIteration
        self._begin()
        while self._running and not self._batch:
            came = self._came.get()
            if came is None:
                self._running -= 1
            else:
                self._room.put(None)
                self._batch = came[::-1]
        if not self._batch:
            with deferred():
                self._end_reading()
            raise StopIteration
        self.seen += 1
        return self._batch.pop()

    def __exit__(self, *_: object) -> None:
        """Hand everything back."""
        try:
            self._stopped = not self._read
            self._hand_back()
        except BaseException:  # a second Ctrl-C, before this one is deferred
            self._hand_back()
            raise

    @property
    def complete(self) -> bool:
        """The queue was read to its end, nothing else was in flight, and nothing failed."""
        return self._read and not self.why_partial

    @property
    def why_partial(self) -> str:
        """Sentences for a person: what was not seen, and why; "" if nothing is missing."""
        stopped = f"The look was stopped after {counted(self.seen)}." if self._stopped else ""
        return f"{stopped} {self.troubles}".strip()

    @property
    def troubles(self) -> str:
        """The same without that the caller itself has stopped."""
        return " ".join(self._whys)

    def _begin(self) -> None:
        if self._pool is None:
            self._end = monotonic() + self._timeout / 3
            with deferred():
                self._pool = ThreadPoolExecutor(self._threads, "look")
                for _ in range(self._threads):
                    self._receivers.append(self._pool.submit(self._receive))

    def _receive(self) -> None:
        try:
            while not self._stop.is_set():
                if monotonic() >= self._end:
                    self._late = True
                    return
                try:
                    self._room.get(timeout=0.1)
                except Empty:
                    continue
                got = self._source.receive_batch(BATCH, self._timeout)
                with self._lock:
                    new = [message for message in got if message.id not in self._held]
                    # SQS may deliver a message twice: then the newest handle is the valid one.
                    self._held.update((message.id, message.receipt_handle) for message in got)
                if not got:
                    return
                self._came.put(new)
        except FeedbackError as error:
            self._errors.append(error)
        finally:
            self._came.put(None)

    def _end_reading(self) -> None:
        for receiver in self._receivers:
            receiver.result()  # raises what no thread expected
        if self._errors and not self._held:
            raise self._errors[0]
        if not self._read:
            self._read = True
            self._whys += self._not_seen()

    def _not_seen(self) -> list[str]:
        whys = [f"The look ended early: {error}" for error in self._errors[:1]]
        if self._late:
            whys.append(
                f"The look ended after {self._timeout // 3} s, before the end of the queue."
            )
        if self.depth.in_flight + len(self._held) >= MOST_IN_FLIGHT:
            # A long poll beyond it brings no error, and no message.
            whys.append(
                "The look ended where SQS's limit is: 120,000 messages in flight at a time."
            )
        try:
            now = self._source.depth().in_flight - len(self._held)
        except FeedbackError as error:
            now = 0
            whys.append(f"Whether others hold messages is not known: {error}")
        # What was in flight before may have come back meanwhile, and have been seen.
        unseen = self.depth.waiting + self.depth.in_flight - len(self._held)
        elsewhere = max(min(self.depth.in_flight, unseen), now)
        if elsewhere > 0:
            whys.append(
                f"{counted(elsewhere)} {'was' if elsewhere == 1 else 'were'} in flight and "
                "could not be seen: another look or run holds them, or one that was killed. They "
                f"come back, as a rule, within {self._timeout} s."
            )
        return whys

    @deferred()
    def _hand_back(self) -> None:
        self._stop.set()
        if self._pool is not None:
            self._pool.shutdown()  # waits for the receives under way: their messages go back too
            self._pool = None  # now, because an exception is lost where Python frees the threads
        failed = self._source.hand_back(self._held)
        if failed:
            self._whys.append(
                f"{counted(len(failed))} could not be handed back, and will be back after "
                f"{self._timeout} s: {next(iter(failed.values()))}"
            )
