"""When rollups, reports, lists and checks run by themselves."""

# No `from __future__ import annotations`: Dagster reads the annotations of schedules at run time.

from datetime import date, timedelta

import dagster as dg

from dpp_feedback.assets.report import bounce_rate_report
from dpp_feedback.assets.rollups import LATE, daily_bounce_rates
from dpp_feedback.assets.suppression import suppressed_recipients
from dpp_feedback.checks.arrival import HOURLY_CHECKS
from dpp_feedback.errors import FeedbackError
from dpp_feedback.resources import time_zone
from dpp_feedback.retention import retention

_RUNNING = dg.DefaultScheduleStatus.RUNNING

daily_rollup = dg.define_asset_job(
    "daily_rollup",
    selection=[daily_bounce_rates],
    description="Recount closed days from the events, correct the counters, and check rates and "
    "arrival. By hand: choose days in the launchpad, or backfill them in one run.",
)

bounce_rate_report_job = dg.define_asset_job(
    "bounce_rate_report",
    selection=[bounce_rate_report],
    description="Write the report as HTML, CSV and PNG, and send it where a channel is set.",
)

suppression_list = dg.define_asset_job(
    "suppression_list",
    selection=[suppressed_recipients],
    description="Write the list of who must not be mailed, and compare it with SES's own.",
)

feedback_checks = dg.define_asset_job(
    "feedback_checks",
    selection=dg.AssetSelection.checks(*HOURLY_CHECKS),
    description="Does feedback arrive where mail is sent, and is it from the present?",
)


def days_to_roll_up(today: date) -> dict[str, str]:
    """The days of a nightly run, as the tags by which Dagster runs a range of partitions at once.

    Args:
        today: in UTC; its own day is not closed yet.
    """
    return {
        "dagster/asset_partition_range_start": str(today - timedelta(days=LATE)),
        "dagster/asset_partition_range_end": str(today - timedelta(days=1)),
    }


@dg.schedule(
    job=daily_rollup,
    cron_schedule="30 0 * * *",  # late enough for the last messages of the day to be stored
    execution_timezone="UTC",
    default_status=_RUNNING,
    description="Nightly: the day that has just closed, and the six before it, for late feedback.",
)
def daily_rollup_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Ask for one run over the last week."""
    return dg.RunRequest(tags=days_to_roll_up(context.scheduled_execution_time.date()))


suppression_list_schedule = dg.ScheduleDefinition(
    name="suppression_list_schedule",
    job=suppression_list,
    cron_schedule="45 0 * * *",
    execution_timezone="UTC",
    default_status=_RUNNING,
    description="Nightly: who must not be mailed.",
)

retention_schedule = dg.ScheduleDefinition(
    name="retention_schedule",
    job=retention,
    cron_schedule="15 2 * * *",  # after the nightly recount
    execution_timezone="UTC",
    default_status=_RUNNING,
    description="Nightly: what is older than SES_FEEDBACK_RETENTION_DAYS goes.",
)

feedback_checks_schedule = dg.ScheduleDefinition(
    name="feedback_checks_schedule",
    job=feedback_checks,
    cron_schedule="10 * * * *",
    execution_timezone="UTC",
    default_status=_RUNNING,
    description="Hourly: does feedback arrive?",
)


def _evaluate(_context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    try:
        time_zone()
    except FeedbackError as error:
        return dg.SkipReason(str(error))
    return dg.RunRequest()


class _InTheUsersTimeZone(dg.ScheduleDefinition):
    """A schedule whose time zone is read when Dagster loads the code location, not at import."""

    @property
    def execution_timezone(self) -> str:
        """The setting; UTC where it is wrong: that must not keep the rest from loading."""
        try:
            return time_zone()
        except FeedbackError:
            return "UTC"


bounce_rate_report_schedule = _InTheUsersTimeZone(
    name="bounce_rate_report_schedule",
    job=bounce_rate_report_job,
    cron_schedule="0 8 * * 1-5",
    execution_fn=_evaluate,
    default_status=_RUNNING,
    description="The report, on weekdays at 08:00 in SES_FEEDBACK_TIME_ZONE, summer and winter.",
)
