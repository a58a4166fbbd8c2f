"""Who tells people: two sensors that launch nothing.

`run_failure_alert` tells of a failed run at once. `feedback_alerts` looks at everything each
minute, tells of all else, and of the end of each alert, those of failed runs too. What is open
stands in its cursor, which both read; a failed run that was told of bears a tag. So a job that
fails is one alert and one recovery, whoever of the two is first or fails to reach anybody.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of sensors at run time.

from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic

import dagster as dg

from dpp_feedback.alert_inputs import (
    ALERTED,
    job_runs,
    look,
    sensor_state,
    started_by_hand,
    will_be_retried,
)
from dpp_feedback.alerting.alert import Notice, Occasion
from dpp_feedback.alerting.memory import Memory
from dpp_feedback.alerting.readings import MAIN_FAILING, MAIN_JOB, Readings, Unreadable
from dpp_feedback.alerting.rules import failed_with_main, judge, run_failed
from dpp_feedback.alerting.transitions import transitions, unsent
from dpp_feedback.errors import FeedbackError
from dpp_feedback.notify import SETTINGS, Channels, NobodyTold
from dpp_feedback.plainly import told_plainly
from dpp_feedback.resources import AlertChannels, FeedbackQueue

_NO_CHANNEL = f"Nobody is told: no channel is set. Set {SETTINGS}."
_NOT_WATCHED = "SQS_DLQ_URL is not set: the dead-letter queue is not watched."
# Sending begins no later. With a look of 15 seconds and a message of 20, a sensor's 60 are enough.
_BEGIN_WITHIN_SECONDS = 20
_FAILING = "runs_failing:"


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks at the queues, the runs and the asset checks, and tells people of what is "
    "wrong: once when it begins, once when it is over. Launches nothing.",
)
@told_plainly()
def feedback_alerts(
    context: dg.SensorEvaluationContext,
    queue: FeedbackQueue,
    dead_letter_queue: FeedbackQueue,
    alert_channels: AlertChannels,
) -> dg.SkipReason:
    """Look, judge, tell, remember."""
    begin = monotonic()
    try:
        channels = alert_channels.connect()
    except FeedbackError as error:
        return dg.SkipReason(str(error))
    if not channels.any:
        return dg.SkipReason(_NO_CHANNEL)
    memory, lost = _remembered(context.cursor)
    origin = context.code_location_origin
    readings = look(
        context.instance,
        queue,
        dead_letter_queue,
        origin.location_name if origin else None,
        jobs=[key.removeprefix(_FAILING) for key in memory.open if key.startswith(_FAILING)],
        now=datetime.now(UTC),
    )
    said, memory = tell(channels, memory, readings, until=begin + _BEGIN_WITHIN_SECONDS)
    context.update_cursor(memory.to_json())
    return dg.SkipReason(lost + said)


@dg.run_failure_sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells people at once when a job of this code location fails. Of further "
    "failures, and of its end, feedback_alerts tells.",
)
@told_plainly()
def run_failure_alert(
    context: dg.RunFailureSensorContext, alert_channels: AlertChannels
) -> dg.SkipReason:
    """Tell of the first failure in a row.

    Always with a reason, which ends the tick: Dagster refuses a tick in which a run without one is
    followed by a run with one.
    """
    run, instance = context.dagster_run, context.instance
    if will_be_retried(run):
        return dg.SkipReason(f"Run {run.run_id} of {run.job_name} is tried again by Dagster.")
    if started_by_hand(run):
        return dg.SkipReason(
            f"Run {run.run_id} of {run.job_name} was started by hand: who did so sees it fail."
        )
    origin = run.remote_job_origin
    state = sensor_state(instance, "feedback_alerts", origin.location_name if origin else None)
    data = state.sensor_instigator_data if state else None
    memory, _ = _remembered(data.cursor if data else None)
    runs = job_runs(instance, run.job_name)
    fails = MAIN_FAILING in memory.open or job_runs(instance, MAIN_JOB).failures
    if (fails and run.job_name != MAIN_JOB) or failed_with_main(runs, memory):
        return dg.SkipReason(f"{MAIN_JOB} failed too: feedback_alerts tells of what is left.")
    if _FAILING + run.job_name in memory.open or runs.told:
        return dg.SkipReason(f"People know already that {run.job_name} fails.")
    if runs.failures == 0:
        return dg.SkipReason(f"{run.job_name} has succeeded since.")
    now = datetime.now(UTC)
    try:
        channels = alert_channels.connect()
        if not channels.any:
            return dg.SkipReason(_NO_CHANNEL)
        notice = Notice(Occasion.BEGINS, run_failed(runs), since=runs.failed_at or now, at=now)
        sent = channels.send_alert(notice)
    except FeedbackError as error:
        once = run.job_name == MAIN_JOB and runs.failures == 1
        again = "when the next run fails too" if once else "each minute"
        return dg.SkipReason(f"{error} feedback_alerts tries again {again}.")
    for name, why in sent.failed.items():
        context.log.warning(f"not told by {name}: {why}")
    instance.add_run_tags(runs.run_id, {ALERTED: "true"})
    return dg.SkipReason(f"Told that {run.job_name} fails, by {', '.join(sent.by)}.")


def tell(
    channels: Channels, memory: Memory, readings: Readings, until: float
) -> tuple[str, Memory]:
    """Tell people what has changed.

    Args:
        channels: how.
        memory: what is known so far.
        readings: the look.
        until: no message is begun after this, in seconds of the monotonic clock.

    Returns:
        What to say of it in Dagster, and what is known now: what nobody could be told of is not
        among it, so that the next look tells it.
    """
    judgement = judge(readings, memory)
    notices, known = transitions(memory.open, judgement.firing, readings.at, judgement.held)
    told: list[str] = []
    problems: dict[str, None] = {}
    left = list(notices)
    while left and monotonic() < until:
        try:
            sent = channels.send_alert(left[0])
        except NobodyTold as error:  # the rest would fare the same
            problems[str(error)] = None
            break
        problems.update((f"{name}: {why}", None) for name, why in sent.failed.items())
        told.append(f"{left[0].alert.key} {left[0].occasion}")
        del left[0]
    known = unsent(memory.open, known, left)
    queues = (readings.queue, readings.dead_letters)
    unreadable = [said.why for said in queues if isinstance(said, Unreadable)]
    parts = [
        f"Open: {', '.join(sorted(known))}." if known else "",
        f"Told: {', '.join(told)}." if told else "",
        f"Not told yet: {', '.join(notice.alert.key for notice in left)}." if left else "",
        *problems,
        *dict.fromkeys(unreadable),
        _NOT_WATCHED if readings.dead_letters is None else "",
    ]
    return " ".join(filter(None, parts)) or "All is well.", replace(
        memory.after(readings), open=known
    )


def _remembered(cursor: str | None) -> tuple[Memory, str]:
    """Read the cursor of `feedback_alerts`, and say so if it has to start afresh."""
    if not cursor:
        return Memory(), ""
    try:
        return Memory.from_json(cursor), ""
    except ValueError:
        return Memory(), "The cursor cannot be read: what was open is told again. "
