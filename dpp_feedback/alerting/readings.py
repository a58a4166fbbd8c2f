"""What the alerts are judged by: values only, as one look at everything found them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

MAIN_JOB = "process_feedback"
MAIN_FAILING = f"runs_failing:{MAIN_JOB}"
"""The key of the alert about its failed runs."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An input that could not be read; `why` is a sentence for a person."""

    why: str


@dataclass(frozen=True, slots=True)
class Queued:
    """What the queue holds.

    Attributes:
        waiting: messages that may be received now.
        in_flight: received and not yet acknowledged.
        age: of the oldest message by CloudWatch, in seconds; None when it does not say.
    """

    waiting: int
    in_flight: int
    age: float | None = None


@dataclass(frozen=True, slots=True)
class JobRuns:
    """The latest runs of one job.

    No failures are those that Dagster will retry, and those of runs that a person has started, who
    sees them fail; their successes count.

    Attributes:
        job: its name.
        failures: runs that failed in a row, up to now.
        told: `run_failure_alert` has told people of one of these.
        run_id, failed_at, sentence: of the newest run that failed, whatever came after it: its id,
            its end, and what its failed op says.
        told_at: when the newest failed run ended that `run_failure_alert` has told of.
        started_at: when the newest run started, whatever became of it.
        success_started_at: when the newest run started that succeeded.
        under_way_since: when the newest run started that has not ended; None without one.
    """

    job: str
    failures: int = 0
    told: bool = False
    run_id: str = ""
    failed_at: datetime | None = None
    sentence: str = ""
    told_at: datetime | None = None
    started_at: datetime | None = None
    success_started_at: datetime | None = None
    under_way_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ongoing:
    """An incident that goes on, as the check `incidents` tells it.

    Attributes:
        kind: "bounce" or "complaint".
        dimension, name: the group that stands out ("source", "news@example.com").
        sentence: what a person is told.
    """

    kind: str
    dimension: str
    name: str
    sentence: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The latest evaluation of an asset check.

    Attributes:
        name: of the check ("bounce_rate").
        passed: what it found.
        error: it failed with severity ERROR, not WARN.
        description: its own sentence.
        figures: its numeric metadata.
        ongoing: incidents that go on; of the check `incidents`.
    """

    name: str
    passed: bool
    error: bool = False
    description: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    ongoing: Sequence[Ongoing] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """One look at everything.

    Attributes:
        at: when.
        queue: what SQS says of it.
        dead_letters: how many messages the DLQ holds; None: it is not watched.
        sensor_running: `feedback_queue_sensor` is switched on.
        jobs: the runs of each job that matters; those of `process_feedback` always.
        checks: the latest evaluations by name.
    """

    at: datetime
    queue: Queued | Unreadable
    dead_letters: int | Unreadable | None
    sensor_running: bool
    jobs: Sequence[JobRuns]
    checks: Mapping[str, CheckResult]

    @property
    def main_job(self) -> JobRuns:
        """The runs of `process_feedback`."""
        return next((runs for runs in self.jobs if runs.job == MAIN_JOB), JobRuns(MAIN_JOB))
