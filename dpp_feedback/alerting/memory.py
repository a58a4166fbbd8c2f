"""What is remembered from one look to the next: which alerts are open, what has been waiting.

It lives in the cursor of the sensor `feedback_alerts`, as JSON.
"""

# No `from __future__ import annotations`: pydantic reads these annotations at run time.

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from dpp_feedback.alerting.alert import Alert, Severity
from dpp_feedback.alerting.readings import MAIN_FAILING, Queued, Readings, Unreadable


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert that people know of and that has not ended.

    Attributes:
        alert: as it was seen last.
        since: when it began.
        told: the highest severity that was told.
        told_at: when it was told last.
        quiet_since: since when it has not been seen; None while it is.
        quiet_looks: how many looks in a row have not seen it.
    """

    alert: Alert
    since: AwareDatetime
    told: Severity
    told_at: AwareDatetime
    quiet_since: AwareDatetime | None = None
    quiet_looks: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """All that one look leaves to the next.

    Attributes:
        open: open alerts by key.
        looked_at: when the last look was.
        waiting_since: the oldest waiting message is at most so old, by what the looks have seen:
            since then messages were waiting in each of them, and no run has started that
            succeeded. None when nothing waits.
        unreadable_since: since when SQS could not be asked; None while it can.
        main_failing_until: the last look at which the alert about process_feedback's runs was open.
    """

    open: Mapping[str, OpenAlert] = field(default_factory=dict)
    looked_at: AwareDatetime | None = None
    waiting_since: AwareDatetime | None = None
    unreadable_since: AwareDatetime | None = None
    main_failing_until: AwareDatetime | None = None

    @classmethod
    def from_json(cls, cursor: str) -> "Memory":
        """Read it.

        Raises:
            ValueError: it is none.
        """
        try:
            return _MEMORY.validate_json(cursor)
        except ValidationError:
            raise ValueError("not the memory of feedback_alerts") from None

    def to_json(self) -> str:
        """Write it."""
        return _MEMORY.dump_json(self).decode()

    def after(self, readings: Readings) -> "Memory":
        """Take in what a look at the queues found; the open alerts are `transitions`' business."""
        queue = readings.queue
        waiting_since = None  # a look that failed: nobody knows what waited then
        if isinstance(queue, Queued):
            waiting_since = self._waiting_since(queue, readings)
        unreadable = Unreadable in (type(queue), type(readings.dead_letters))
        return replace(
            self,
            looked_at=readings.at,
            waiting_since=waiting_since,
            unreadable_since=self.unreadable_since or readings.at if unreadable else None,
            main_failing_until=readings.at
            if MAIN_FAILING in self.open
            else self.main_failing_until,
        )

    def _waiting_since(self, queue: Queued, readings: Readings) -> datetime | None:
        if queue.waiting == 0:
            return None
        if self.waiting_since is None:
            return readings.at
        # What waited before a run that succeeded is stored; what waits now came later.
        drained = readings.main_job.success_started_at
        return max(self.waiting_since, drained) if drained else self.waiting_since


_MEMORY = TypeAdapter(Memory)
