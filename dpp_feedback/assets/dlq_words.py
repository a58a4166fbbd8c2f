"""What `dlq_health` and its checks say to a person, and which next step they name."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from dpp_feedback.assets.dlq_examine import EXPIRING
from dpp_feedback.dlq.reasons import IGNORED, NOT_KNOWN, READABLE
from dpp_feedback.feedback.events import RejectedReason

if TYPE_CHECKING:
    from dpp_feedback.assets.dlq_examine import Health

_REFUSED = RejectedReason.REFUSED_BY_DATABASE.value
_RUNBOOK = 'docs/runbook.md, section "Dead-letter queue"'
_LONGEST_RETENTION = timedelta(days=14)


def in_words(health: Health) -> str:
    """Say how the queue stands, and what to do: for the check `dlq_empty`."""
    said = []
    if health.messages == 0:
        said.append("The dead-letter queue is empty.")
    else:
        said += [_what_lies(health), _how_old(health), _by_a_new_parser(health)]
        said += [health.why_partial, what_to_do(health)]
    if health.fed is False:
        said.append(
            "The main queue's redrive policy does not name this queue, so messages that fail are "
            "not kept here: compare SQS_DLQ_URL with the RedrivePolicy of SQS_QUEUE_URL."
        )
    return " ".join(filter(None, [*said, health.why_not]))


def expiring_in_words(health: Health) -> str:
    """Say how many messages SQS deletes soon: for the check `dlq_expiring`."""
    within = f"within {EXPIRING.days} days"
    if health.expiring and health.time_left is not None:
        number = f"{health.expiring:,} message{'' if health.expiring == 1 else 's'}"
        latest = "at the latest " if health.why_partial else ""
        first = f"the first {latest}{_in(health.time_left)}"
        said = [f"SQS deletes {_at_least(health)}{number} {within}, {first}."]
        if health.retention < _LONGEST_RETENTION:
            said.append(
                "To gain time, raise the MessageRetentionPeriod of the dead-letter queue: it is "
                f"{_long(health.retention)}, and may be 14 days."
            )
        return " ".join([*said, what_to_do(health)])
    if health.looked_at < health.messages and not health.looked_at:
        return f"Nobody knows when SQS deletes them. {health.why_partial}".strip()
    if health.why_partial and health.looked_at:
        return f"SQS deletes none of the {health.looked_at:,} messages looked at {within}."
    return f"SQS deletes no message {within}."


def what_to_do(health: Health) -> str:
    """Name the next step, by commands and jobs that exist."""
    if health.move_task and health.move_task.status == "RUNNING":
        return "A redrive is moving them back now: wait for it to end."
    if not health.looked_at:
        return f"What to do: {_RUNBOOK}."
    steps = []
    if health.leaving:
        config = launch_config(READABLE, IGNORED)
        steps.append(
            f'Launch the job reprocess_dlq with {config}, and then with "dry_run": false, to store '
            f"what is {READABLE}."
        )
        if health.leaving == health.looked_at and not health.why_partial:
            steps.append("Or let `dpp-feedback dlq redrive` move everything back to SQS_QUEUE_URL.")
    if _REFUSED in health.reasons:
        steps.append(
            f"What is {_REFUSED}: mend the database, and launch reprocess_dlq with "
            f"{launch_config(_REFUSED)}; the dry run says whether it takes them now."
        )
    others = health.reasons.get(_REFUSED, 0) + health.reasons.get(NOT_KNOWN, 0)
    if health.leaving + others < health.looked_at:
        steps.append(
            "What the parser rejects would come back here: `dpp-feedback dlq list` names each."
        )
    return " ".join([*steps, f"What each reason asks for: {_RUNBOOK}."])


def launch_config(*reasons: str) -> str:
    """Write the launchpad's config of a first, dry run of reprocess_dlq, as JSON."""
    return json.dumps({"dry_run": True, "reasons": list(reasons)})


def _what_lies(health: Health) -> str:
    number = health.messages
    said = "1 message lies" if number == 1 else f"{number:,} messages lie"
    said += " in the dead-letter queue, not stored"
    if not health.reasons:
        return f"{said}."
    by_reason = ", ".join(f"{n:,} {reason}" for reason, n in health.reasons.items())
    if health.why_partial:
        return f"{said}. Of {health.looked_at:,} looked at: {by_reason}."
    return f"{said}: {by_reason}."


def _how_old(health: Health) -> str:
    if health.oldest_age is None or health.time_left is None:
        return ""
    return (
        f"The oldest is {_at_least(health)}{_long(health.oldest_age)} old; SQS deletes it "
        f"{_in(health.time_left)}."
    )


def _by_a_new_parser(health: Health) -> str:
    if not health.older:
        return ""
    waits = "1 message that waits" if health.older == 1 else f"{health.older:,} messages that wait"
    return (
        f"The parser has changed since it rejected {waits}: of what lies here, "
        f"{_at_least(health)}{health.leaving:,} would be stored or ignored now."
    )


def _at_least(health: Health) -> str:
    return "at least " if health.why_partial else ""


def _in(left: timedelta) -> str:
    return f"in {_long(left)}" if left > timedelta() else "any moment now"


def _long(span: timedelta) -> str:
    minutes = int(span.total_seconds()) // 60
    if minutes >= 48 * 60:
        return f"{minutes // (24 * 60)} days"
    if minutes >= 120:
        return f"{minutes // 60} hours"
    return "1 minute" if minutes == 1 else f"{minutes} minutes"
