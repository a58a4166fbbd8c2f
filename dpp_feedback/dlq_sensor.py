"""When the dead-letter queue is looked at: the sensor, and the decision it takes.

Like the main queue's sensor it only asks how many messages there are, and never receives one.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of sensors at run time.

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

import dagster as dg
from dagster import DagsterRunStatus as Status

from dpp_feedback.assets.dlq import dlq_health
from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.parser import PARSER_VERSION
from dpp_feedback.plainly import told_plainly
from dpp_feedback.resources import FeedbackQueue

NAME = "dlq_health_sensor"

_AT_LEAST_EVERY = timedelta(days=1)  # ages grow and retention ends also where nothing arrives
_STALE = timedelta(hours=1)  # a run takes seconds; an older one that stands as started is gone
_UNDER_WAY = [Status.NOT_STARTED, Status.QUEUED, Status.STARTING, Status.STARTED, Status.CANCELING]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last run was asked for: the sensor's cursor.

    Attributes:
        messages: in the queue then, in flight ones among them.
        at: when; aware.
        parser_version: of the parser then.
    """

    messages: int
    at: datetime
    parser_version: int = PARSER_VERSION

    @classmethod
    def read(cls, cursor: str | None) -> Self | None:
        """Read a cursor; None where there is none, or it is another version's."""
        try:
            said = json.loads(cursor or "")
            at = datetime.fromisoformat(said["at"]).astimezone(UTC)
            return cls(int(said["messages"]), at, int(said["parser_version"]))
        except (KeyError, TypeError, ValueError):
            return None

    def written(self) -> str:
        """Write it as a cursor."""
        return json.dumps(
            {
                "messages": self.messages,
                "at": self.at.isoformat(),
                "parser_version": self.parser_version,
            }
        )


def reason_to_wait(messages: int, seen: Seen | None, now: datetime) -> str | None:
    """Say why no run is needed; None: one is."""
    if seen is None or now - seen.at >= _AT_LEAST_EVERY:
        return None
    if messages != seen.messages or seen.parser_version != PARSER_VERSION:
        return None
    return (
        f"{messages} in the dead-letter queue, as at the last look at {seen.at:%Y-%m-%d %H:%M} UTC."
    )


@dg.sensor(
    name=NAME,
    target=[dlq_health],
    minimum_interval_seconds=120,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks SQS how much lies in the dead-letter queue, and makes dlq_health anew when "
    "that has changed, after a change of the parser, and once a day.",
)
@told_plainly()
def dlq_health_sensor(
    context: dg.SensorEvaluationContext, dead_letter_queue: FeedbackQueue
) -> dg.SensorResult | dg.SkipReason:
    """Ask for a run without a run key: Dagster never launches a used key again."""
    try:
        depth = dead_letter_queue.connect().depth()
    except FeedbackError as error:
        return dg.SkipReason(str(error))
    now = datetime.now(UTC)
    # A look puts messages in flight for a moment, and does not change the sum.
    messages = depth.waiting + depth.in_flight
    if reason := reason_to_wait(messages, Seen.read(context.cursor), now):
        return dg.SkipReason(reason)
    under_way = context.instance.get_runs_count(
        dg.RunsFilter(
            tags={"dagster/sensor_name": NAME}, statuses=_UNDER_WAY, created_after=now - _STALE
        )
    )
    if under_way:
        said = f"{messages} in the dead-letter queue; dlq_health is being made."
        return dg.SkipReason(said)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(asset_selection=[dlq_health.key])],
        cursor=Seen(messages, now).written(),
    )
