"""Receive many messages of a queue, with many calls at a time; hand back those not wanted."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from dpp_feedback import event_loop
from dpp_feedback.errors import FeedbackError
from dpp_feedback.interrupts import deferred
from dpp_feedback.messages import AT_A_TIME, BATCH, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from dpp_feedback.messages import Held, Message

T = TypeVar("T", bound="Held")
_MAX_BYTES = 256 * 1024 * 1024  # of bodies in one run, which holds them in memory


class Source(Protocol):
    """What receiving needs of a queue."""

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Let `receive_some` be called while this lasts."""

    async def receive_some(self, number: int, visibility_timeout: int | None) -> list[Message]:
        """See `Queue.receive_some`."""

    def hand_back(self, handles: Mapping[str, str]) -> dict[str, str]:
        """See `Queue.hand_back`."""


class Receiving(Generic[T]):
    """One receiving: who asks for how much, what came, and what goes back.

    Args:
        source: the queue.
        max_messages: at most so many wanted ones, and at most 256 MiB of their bodies.
        max_seconds: no call begins later than this.
        read: makes of a message what is kept of it; None: it is not wanted.
        selecting: whether some messages may not be wanted.
        waiting: how many messages wait, roughly: no more calls are made at a time than bring so
            many. What turns out to be there beyond that is received too.
        visibility_timeout: seconds; None: the queue's own.
    """

    def __init__(
        self,
        source: Source,
        max_messages: int,
        max_seconds: float,
        read: Callable[[Message], T | None],
        selecting: bool,
        waiting: int,
        visibility_timeout: int | None,
    ) -> None:
        self._source = source
        self._max_messages = max_messages
        self._end = monotonic() + max_seconds
        self._read = read
        self._selecting = selecting
        self._expected = waiting
        self._visibility_timeout = visibility_timeout
        self._kept: dict[str, T] = {}
        # Handles by id, and no bodies: of messages not wanted, and of those beyond the limit.
        self._passed: dict[str, str] = {}
        self._surplus: dict[str, str] = {}
        self._more = BATCH  # messages to expect when more came than were expected
        self._calls = self._asked = self._came = self._size = 0
        self._ended = self._late = False
        self._errors: list[FeedbackError] = []
        self._failure: BaseException | None = None

    def run(self) -> Taken[T]:
        """Receive, and hand back what is not wanted; all of it if this is interrupted.

        Raises:
            AwsRefused, AwsUnavailable: as `Queue.depth`, if no message at all came.
        """
        try:
            with deferred(self._end_soon):
                try:
                    event_loop.run(self._receive, self._end_soon)
                finally:
                    self._hand_back(self._passed | self._surplus)
            return self._taken()
        except BaseException:
            self._hand_back({name: one.receipt_handle for name, one in self._kept.items()})
            raise

    def _taken(self) -> Taken[T]:
        if self._errors and not self._kept and not self._passed:
            raise self._errors[0]
        return Taken(list(self._kept.values()), self._errors, len(self._passed), self._late)

    def _end_soon(self) -> None:
        """Make no further call; those under way bring what they bring."""
        self._ended = True

    async def _receive(self) -> None:
        async with self._source.opened(), asyncio.TaskGroup() as self._tasks:
            self._call()
        del self._tasks  # with it goes the loop
        if self._failure:
            raise self._failure

    def _call(self) -> None:
        """Make as many calls as make sense now."""
        while self._calls < AT_A_TIME and (number := self._number()):
            if monotonic() >= self._end:
                self._late = True
                return
            self._calls += 1
            self._asked += number
            self._tasks.create_task(self._take(number))

    def _number(self) -> int:
        """For how many messages to ask now; 0: enough came, or is under way."""
        if self._ended or self._size >= _MAX_BYTES:
            return 0
        if self._calls and self._came + self._asked >= self._expected:
            return 0
        left = self._max_messages - len(self._kept)
        if self._selecting:  # none of those under way may be wanted
            return BATCH if left > 0 else 0
        return max(min(BATCH, left - self._asked), 0)

    async def _take(self, number: int) -> None:
        """Make one call; whatever fails ends the receiving, and loses nothing that came."""
        try:
            got = await self._source.receive_some(number, self._visibility_timeout)
            self._keep(got)
            if not got:
                self._end_soon()
            elif self._came > self._expected:
                self._expected = self._came + self._more
                self._more *= 2
        except FeedbackError as error:
            self._errors.append(error)
            self._end_soon()
        except BaseException as error:
            self._failure = error
            self._end_soon()
        self._calls -= 1
        self._asked -= number
        self._call()

    def _keep(self, got: list[Message]) -> None:
        self._came += len(got)
        # First of all: a selection that raises loses none.
        self._surplus.update((message.id, message.receipt_handle) for message in got)
        for message in got:
            kept = self._read(message)
            if kept is None:
                self._passed[message.id] = message.receipt_handle
            elif len(self._kept) < self._max_messages or message.id in self._kept:
                self._kept[message.id] = kept
                self._size += len(kept.body or "")
            else:
                continue
            self._surplus.pop(message.id, None)

    def _hand_back(self, handles: dict[str, str]) -> None:
        failed = self._source.hand_back(handles) if handles else {}
        if failed:
            self._errors.append(
                FeedbackError(
                    f"{len(failed)} of {len(handles)} messages could not be handed back: they come "
                    f"back after the visibility timeout. {next(iter(failed.values()))}"
                )
            )
