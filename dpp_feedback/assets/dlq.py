"""The asset `dlq_health` and its checks: what lies in the dead-letter queue, why, and how long.

It only looks: messages are received and handed back. When it runs is dlq_sensor.py's business;
what brings messages back is the job reprocess_dlq, or a redrive.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of assets at run time.

import json
from datetime import UTC, datetime, timedelta

import dagster as dg

from dpp_feedback.assets.dlq_examine import Health, examine
from dpp_feedback.assets.dlq_words import expiring_in_words, in_words, launch_config
from dpp_feedback.dlq.reasons import IGNORED, READABLE
from dpp_feedback.move_tasks import MoveTask
from dpp_feedback.plainly import told_plainly
from dpp_feedback.resources import FeedbackQueue, FeedbackStore, sns_check

EMPTY = "dlq_empty"
EXPIRING = "dlq_expiring"


@dg.asset(
    group_name="ses_feedback",
    kinds={"sqs"},
    description="What lies in the dead-letter queue: how many messages, how old, why the parser "
    "rejects them or what it would do with them by now, how long SQS still keeps them, and whether "
    "the main queue really feeds it. Up to 1,000 messages are received and handed back, up to "
    "10,000 after a change of the parser; none is deleted or moved.",
    check_specs=[
        dg.AssetCheckSpec(
            EMPTY,
            asset="dlq_health",
            description="No message lies in the dead-letter queue: each is feedback that was not "
            "stored.",
        ),
        dg.AssetCheckSpec(
            EXPIRING,
            asset="dlq_health",
            description="SQS deletes no message of the dead-letter queue within 3 days: what is "
            "deleted is lost.",
        ),
    ],
)
def dlq_health(
    context: dg.AssetExecutionContext,
    dead_letter_queue: FeedbackQueue,
    queue: FeedbackQueue,
    store: FeedbackStore,
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # or Dagster refuses
    """Look at the dead-letter queue."""
    now = datetime.now(UTC)
    with told_plainly():
        health = examine(
            dead_letter_queue.connect(), queue, store, now, context.run.run_id, sns_check()
        )
    known = health.looked_at > 0 or health.messages == 0
    return dg.MaterializeResult(
        metadata=_metadata(health, now),
        check_results=[
            dg.AssetCheckResult(
                check_name=EMPTY,
                passed=health.messages == 0,
                severity=dg.AssetCheckSeverity.ERROR,
                description=in_words(health),
                metadata={"messages": health.messages},
            ),
            dg.AssetCheckResult(
                check_name=EXPIRING,
                passed=known and health.expiring == 0,
                severity=dg.AssetCheckSeverity.ERROR if known else dg.AssetCheckSeverity.WARN,
                description=expiring_in_words(health),
                metadata={"expiring": health.expiring},
            ),
        ],
    )


def _metadata(health: Health, now: datetime) -> dict[str, dg.MetadataValue]:
    """Numbers, which Dagster plots over the runs, and a table; never anything of a message."""
    metadata: dict[str, dg.MetadataValue] = {
        "messages": dg.MetadataValue.int(health.messages),
        "waiting": dg.MetadataValue.int(health.waiting),
        "in_flight": dg.MetadataValue.int(health.in_flight),
        "looked_at": dg.MetadataValue.int(health.looked_at),
        READABLE: dg.MetadataValue.int(health.reasons.get(READABLE, 0)),
        IGNORED: dg.MetadataValue.int(health.reasons.get(IGNORED, 0)),
        "rejected_by_older_parser": dg.MetadataValue.int(health.older),
        "expiring": dg.MetadataValue.int(health.expiring),
        "expired": dg.MetadataValue.int(health.expired),
        "retention_days": dg.MetadataValue.float(_days(health.retention)),
        "redrive": dg.MetadataValue.text(_redrive(health.move_task)),
        "fed_by_main_queue": dg.MetadataValue.text(
            {True: "yes", False: "no", None: "not known"}[health.fed]
        ),
    }
    if health.oldest_age is not None and health.time_left is not None:
        age = health.oldest_age.total_seconds()
        metadata["oldest_age_seconds"] = dg.MetadataValue.float(round(age, 1))
        metadata["oldest_days_left"] = dg.MetadataValue.float(_days(health.time_left))
        metadata["first_deleted_at"] = dg.MetadataValue.timestamp(now + health.time_left)
    if health.reasons:
        metadata["reasons"] = dg.MetadataValue.table(
            [dg.TableRecord({"reason": r, "messages": n}) for r, n in health.reasons.items()],
            schema=dg.TableSchema([dg.TableColumn("reason"), dg.TableColumn("messages", "int")]),
        )
    if health.leaving:
        config = json.loads(launch_config(READABLE, IGNORED))
        metadata["launchpad_of_reprocess_dlq"] = dg.MetadataValue.json(config)
    if health.why_partial:
        metadata["partial_because"] = dg.MetadataValue.text(health.why_partial)
    if health.why_not:
        metadata["not_known_because"] = dg.MetadataValue.text(health.why_not)
    return metadata


def _redrive(task: MoveTask | None) -> str:
    if task is None:
        return "not known: SQS does not say, or the role may not call sqs:ListMessageMoveTasks"
    if task.status == "NONE":
        return "none so far"
    of = "" if task.to_move is None else f" of {task.to_move}"
    return f"{task.status}: {task.moved}{of} moved"


def _days(span: timedelta) -> float:
    return round(span.total_seconds() / 86_400, 2)
