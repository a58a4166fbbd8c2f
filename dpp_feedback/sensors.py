"""When the main job runs: the sensor, and the decision it takes.

The sensor only asks: how much waits, which runs there are. It never receives a message, whose
body would end up in the run's config.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus as Status

from dpp_feedback.drain_config import LARGEST, MAX_MESSAGES
from dpp_feedback.errors import FeedbackError
from dpp_feedback.ingest import MAX_RUNTIME, process_feedback, ses_feedback_events
from dpp_feedback.messages import MOST_IN_FLIGHT
from dpp_feedback.plainly import told_plainly
from dpp_feedback.resources import FeedbackQueue, max_parallel_runs

_BACK_OFF = timedelta(seconds=30)  # after one failed run; doubled with each further one
_LONGEST_BACK_OFF = timedelta(minutes=15)
# A run whose process is gone may stand as started for ever where run monitoring is off. Older
# than this it counts no longer: a second drain does no harm, none at all does.
_STALE = 2 * MAX_RUNTIME
# A run of 100,000 messages takes a third of the time between two ticks.
_AHEAD = 3
# After a failure: each message that a failing run has received is one receive nearer to the DLQ.
_MESSAGES_TO_TRY = 100
_UNDER_WAY = [Status.NOT_STARTED, Status.QUEUED, Status.STARTING, Status.STARTED, Status.CANCELING]


@dataclass(frozen=True, slots=True)
class Past:
    """What the runs so far say.

    Attributes:
        under_way: runs queued or started.
        failures: runs that failed in a row, up to now.
        last_failure: when the last of these ended; None if there is none.
    """

    under_way: int
    failures: int
    last_failure: datetime | None


def runs_to_launch(
    waiting: int, past: Past, max_parallel: int, now: datetime, *, ahead: int = 1
) -> list[int] | str:
    """Decide which runs to ask for, each by its `max_messages`, or say why none.

    Args:
        waiting: how many messages wait.
        past: the runs so far.
        max_parallel: how many runs may drain the queue at once.
        now: aware.
        ahead: how many times as many may be asked for, since Dagster itself lets the others wait.
    """
    under_way = f"{waiting} waiting; {past.under_way} run(s) under way."
    if past.last_failure:
        if past.under_way:
            return under_way
        wait = min(_BACK_OFF * 2 ** (past.failures - 1), _LONGEST_BACK_OFF)
        again = past.last_failure + wait
        # A failure that lies further ahead is of a clock that was set back since.
        if abs(now - past.last_failure) < wait:
            return (
                f"{waiting} waiting; the last {past.failures} run(s) failed, and say why. "
                f"Trying again at {again:%H:%M:%S} UTC."
            )
        return [_MESSAGES_TO_TRY]
    # A backlog takes larger runs, not only more: a run's start costs as much as 15,000 messages.
    size = max(ceil(waiting / max_parallel), MAX_MESSAGES)
    size = min(size, LARGEST, MOST_IN_FLIGHT // max_parallel)
    runs = min(ceil(waiting / size), max_parallel * ahead) - past.under_way
    return [size] * runs if runs > 0 else under_way


@dg.sensor(
    job=process_feedback,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks SQS how much feedback waits, and runs process_feedback when some does.",
)
@told_plainly()
def feedback_queue_sensor(
    context: dg.SensorEvaluationContext, queue: FeedbackQueue
) -> list[dg.RunRequest] | dg.SkipReason:
    """Ask for runs without a run key: Dagster never launches a used key again, not even failed."""
    try:
        max_parallel = max_parallel_runs()
        depth = queue.connect().depth()
    except FeedbackError as error:
        return dg.SkipReason(str(error))
    if depth.waiting == 0:  # as a rule; then nobody asks Dagster for its runs
        return dg.SkipReason(f"Nothing waiting; {depth.in_flight} in flight.")
    now = datetime.now(UTC)
    decision = runs_to_launch(
        depth.waiting,
        _past(context.instance, now),
        max_parallel,
        now,
        ahead=_AHEAD if _queued(context.instance) else 1,
    )
    if isinstance(decision, str):
        return dg.SkipReason(decision)
    return [dg.RunRequest(run_config=_config(max_messages)) for max_messages in decision]


def _config(max_messages: int) -> dict[str, Any]:
    ops = {"receive_messages": {"config": {"max_messages": max_messages}}}
    return {"ops": {ses_feedback_events.node_def.name: {"ops": ops}}}


def _queued(instance: dg.DagsterInstance) -> bool:
    """Whether dagster.yaml bounds how many of the sensor's runs go at a time."""
    queue = instance.get_concurrency_config().run_queue_config
    limits = queue.tag_concurrency_limits if queue else []
    return any(limit["key"] == "dagster/sensor_name" for limit in limits)


def _past(instance: dg.DagsterInstance, now: datetime) -> Past:
    name = process_feedback.name
    under_way = instance.get_runs_count(
        dg.RunsFilter(job_name=name, statuses=_UNDER_WAY, created_after=now - _STALE)
    )
    ended = instance.get_run_records(
        dg.RunsFilter(job_name=name, statuses=[Status.SUCCESS, Status.FAILURE]), limit=10
    )
    failures = 0
    for record in ended:  # newest first
        if record.dagster_run.status is not Status.FAILURE:
            break
        failures += 1
    last = ended[0].end_time if failures else None
    return Past(under_way, failures, datetime.fromtimestamp(last, UTC) if last else None)
