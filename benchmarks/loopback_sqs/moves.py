"""One message move task, a "DLQ redrive": how fast it may go, and how it ends. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

FASTEST = 500  # messages per second; AWS's highest limit, and the pace without one
_STEP = 0.1  # seconds; the limit holds within each


@dataclass
class MoveTask:
    """A task of StartMessageMoveTask, which ListMessageMoveTasks tells.

    Attributes:
        source_arn: the dead-letter queue.
        destination_arn: where all go; None: each back to the queue that it came from.
        per_second: at most so many; None: AWS chooses.
        to_move: how many waited when it began.
        started: when, in seconds since 1970.
        moved: so many until now.
        status: RUNNING, COMPLETED, CANCELLING, CANCELLED or FAILED.
        failure: why it failed.
    """

    source_arn: str
    destination_arn: str | None
    per_second: int | None
    to_move: int
    started: float
    handle: str = field(default_factory=lambda: str(uuid4()))
    moved: int = 0
    status: str = "RUNNING"
    failure: str | None = None
    _cancelled: float = 0.0

    @property
    def is_active(self) -> bool:
        """Whether it runs, or has yet to notice that it is cancelled."""
        return self.status in ("RUNNING", "CANCELLING")

    def allowed(self, now: float) -> int:
        """How many more it may move until now."""
        if self.status != "RUNNING":
            return 0
        steps = int((now - self.started) / _STEP)
        pace = int(steps * _STEP * (self.per_second or FASTEST))
        return max(0, min(pace, self.to_move) - self.moved)

    def cancel(self, now: float) -> None:
        """Move no more; what is moved stays so."""
        self.status, self._cancelled = "CANCELLING", now

    def fail(self, why: str) -> None:
        """End it, with AWS's word for why."""
        self.status, self.failure = "FAILED", why

    def settle(self, now: float, *, nothing_left: bool) -> None:
        """Let it end if it is done."""
        begun = now >= self.started + _STEP
        if self.status == "RUNNING" and begun and (nothing_left or self.moved >= self.to_move):
            self.status = "COMPLETED"
        elif self.status == "CANCELLING" and now >= self._cancelled + _STEP:
            self.status = "CANCELLED"

    def told(self) -> dict[str, Any]:
        """Give it as ListMessageMoveTasks does: a handle only while it runs."""
        told = {
            "TaskHandle": self.handle if self.status == "RUNNING" else None,
            "Status": self.status,
            "SourceArn": self.source_arn,
            "DestinationArn": self.destination_arn,
            "MaxNumberOfMessagesPerSecond": self.per_second,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "FailureReason": self.failure,
            "StartedTimestamp": int(self.started * 1000),
        }
        return {name: value for name, value in told.items() if value is not None}
