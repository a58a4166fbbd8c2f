"""What Dagster loads. It only assembles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from dpp_feedback.alerts import feedback_alerts, run_failure_alert
from dpp_feedback.assets.dlq import dlq_health
from dpp_feedback.assets.report import bounce_rate_report
from dpp_feedback.assets.rollups import daily_bounce_rates
from dpp_feedback.assets.suppression import suppressed_recipients
from dpp_feedback.checks.arrival import HOURLY_CHECKS, reconciliation
from dpp_feedback.checks.rates import rate_checks
from dpp_feedback.dlq_sensor import dlq_health_sensor
from dpp_feedback.ingest import process_feedback, ses_feedback_events
from dpp_feedback.reprocess import reprocess_dlq
from dpp_feedback.resources import (
    AlertChannels,
    FeedbackQueue,
    FeedbackStore,
    ReportFolder,
    SesAccount,
)
from dpp_feedback.retention import retention
from dpp_feedback.schedules import (
    bounce_rate_report_job,
    bounce_rate_report_schedule,
    daily_rollup,
    daily_rollup_schedule,
    feedback_checks,
    feedback_checks_schedule,
    retention_schedule,
    suppression_list,
    suppression_list_schedule,
)
from dpp_feedback.sensors import feedback_queue_sensor

if TYPE_CHECKING:
    from collections.abc import Mapping

_OWNER = "team:email-deliverability"


def build_definitions(resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """Put everything together; tests rewire it with resources of their own, by key."""
    assets = [
        ses_feedback_events,
        daily_bounce_rates,
        bounce_rate_report,
        dlq_health,
        suppressed_recipients,
    ]
    resources = {
        # In memory: op outputs hold mail addresses, which must not be pickled to disk.
        "io_manager": dg.mem_io_manager,
        "queue": FeedbackQueue(),
        "dead_letter_queue": FeedbackQueue(setting="SQS_DLQ_URL"),
        "store": FeedbackStore(),
        "ses": SesAccount(),
        "reports": ReportFolder(),
        "alert_channels": AlertChannels(),
        **(resources or {}),
    }
    return dg.Definitions(
        assets=[*dg.map_asset_specs(_owned, assets)],
        asset_checks=[rate_checks, reconciliation, *HOURLY_CHECKS],
        jobs=[
            process_feedback,
            reprocess_dlq(resources),
            daily_rollup,
            bounce_rate_report_job,
            suppression_list,
            feedback_checks,
            retention,
        ],
        schedules=[
            daily_rollup_schedule,
            bounce_rate_report_schedule,
            suppression_list_schedule,
            feedback_checks_schedule,
            retention_schedule,
        ],
        sensors=[feedback_queue_sensor, dlq_health_sensor, feedback_alerts, run_failure_alert],
        resources=resources,
        # In one process: four ops take 0.1 s so, 15 s with a process each.
        executor=dg.in_process_executor,
    )


def _owned(spec: dg.AssetSpec) -> dg.AssetSpec:
    return spec.merge_attributes(owners=[_OWNER], tags={"domain": "ses-feedback"})


defs = build_definitions()
