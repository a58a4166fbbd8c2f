"""Receive many messages of a queue, on several threads, and hand back those not wanted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from dpp_feedback.errors import FeedbackError
from dpp_feedback.messages import BATCH, Message, Taken

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpp_feedback.messages import Source

_MAX_BYTES = 256 * 1024 * 1024  # of bodies in one run, which holds them all in memory


class Receiving:
    """One receiving: who asks for how much, what came, and what goes back.

    Args:
        source: the queue.
        max_messages: at most so many wanted ones, and at most 256 MiB of their bodies.
        max_seconds: no call begins later than this.
        wanted: tells whether a message is wanted; called on several threads. None: all are.
        visibility_timeout: seconds; None: the queue's own.
    """

    def __init__(
        self,
        source: Source,
        max_messages: int,
        max_seconds: float,
        wanted: Callable[[Message], bool] | None,
        visibility_timeout: int | None,
    ) -> None:
        self._source = source
        self._max_messages = max_messages
        self._end = monotonic() + max_seconds
        self._wanted = wanted
        self._visibility_timeout = visibility_timeout
        self._lock = Lock()
        self._received: dict[str, Message] = {}
        # Handles by id, and no bodies: of messages not wanted, and of those beyond the limit.
        self._passed: dict[str, str] = {}
        self._surplus: dict[str, str] = {}
        self._reserved = self._size = 0
        self._errors: list[FeedbackError] = []
        self._late = False

    def run(self, threads: int) -> Taken:
        """Receive, and hand back what is not wanted; all of it if this is interrupted.

        Raises:
            AwsRefused, AwsUnavailable: as `Queue.depth`, if no message at all came.
        """
        try:
            with ThreadPoolExecutor(threads, "receive") as pool:
                try:
                    for done in [pool.submit(self._take) for _ in range(threads)]:
                        done.result()
                except BaseException:
                    self._end = monotonic()  # the other threads make no further call
                    raise
        except BaseException:
            self._hand_back({m.id: m.receipt_handle for m in self._received.values()})
            raise
        self._hand_back({})
        if self._errors and not self._received and not self._passed:
            raise self._errors[0]
        received = list(self._received.values())
        return Taken(received, self._errors, len(self._passed), self._late)

    def _take(self) -> None:
        while not self._is_over():
            asked = self._ask()
            if asked == 0:
                return
            try:
                got = self._source.receive_batch(asked, self._visibility_timeout)
            except FeedbackError as error:
                self._errors.append(error)
                return
            self._keep(got, asked)
            if not got:
                return

    def _is_over(self) -> bool:
        self._late = self._late or monotonic() >= self._end
        return self._late

    def _ask(self) -> int:
        """How many to ask for now. A filter may want none of them: then nothing is reserved."""
        with self._lock:
            left = self._max_messages - len(self._received) - self._reserved
            if left <= 0 or self._size >= _MAX_BYTES:
                return 0
            if self._wanted is not None:
                return BATCH
            self._reserved += min(BATCH, left)
            return min(BATCH, left)

    def _keep(self, got: list[Message], asked: int) -> None:
        with self._lock:  # first of all: a filter that raises loses none
            self._surplus.update((message.id, message.receipt_handle) for message in got)
        passed = {
            message.id for message in got if self._wanted is not None and not self._wanted(message)
        }
        with self._lock:
            if self._wanted is None:
                self._reserved -= asked
            for message in got:
                if message.id in passed:
                    self._surplus.pop(message.id, None)
                    self._passed[message.id] = message.receipt_handle
                elif len(self._received) < self._max_messages or message.id in self._received:
                    self._surplus.pop(message.id, None)
                    self._received[message.id] = message
                    self._size += len(message.body)

    def _hand_back(self, received: dict[str, str]) -> None:
        handles = self._passed | self._surplus | received
        failed = self._source.hand_back(handles) if handles else {}
        if failed:
            self._errors.append(
                FeedbackError(
                    f"{len(failed)} of {len(handles)} messages could not be handed back: they come "
                    f"back after the visibility timeout. {next(iter(failed.values()))}"
                )
            )
