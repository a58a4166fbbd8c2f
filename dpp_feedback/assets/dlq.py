"""The asset `dlq_health` and its check `dlq_empty`: what lies in the dead-letter queue, and why.

It only looks: a few messages are received and handed back. When it runs is dlq_sensor.py's
business; moving messages back is not done here.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of assets at run time.

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.events import Rejected
from dpp_feedback.feedback.parser import parse
from dpp_feedback.plainly import told_plainly
from dpp_feedback.queue import MoveTask, Queue, Sample
from dpp_feedback.resources import FeedbackQueue

CHECK = "dlq_empty"
READABLE = "readable now"
"""Stands among the reasons for messages that the present parser reads: they may go back."""

_SAMPLED = 100


@dataclass(frozen=True, slots=True)
class Health:
    """What is known about the dead-letter queue.

    Attributes:
        waiting, in_flight: messages, roughly: SQS's counts lag by up to a minute.
        reasons: messages of the sample by why the present parser rejects them, or `READABLE`.
        sampled: messages in the sample.
        partial: the queue may hold more than the sample.
        oldest_age: of the oldest message in the sample; None without one.
        retention: how long SQS keeps a message, from when it was first sent.
        move_task: the latest redrive; None where SQS does not say.
        fed: whether the main queue's redrive policy names this queue; None if that is not known.
        why_not: why there is no sample, or why `fed` is not known; "" where nothing is missing.
    """

    waiting: int
    in_flight: int
    reasons: Mapping[str, int]
    sampled: int
    partial: bool
    oldest_age: timedelta | None
    retention: timedelta
    move_task: MoveTask | None
    fed: bool | None
    why_not: str

    @property
    def messages(self) -> int:
        """How many there are; at least the sample, whatever the lagging count says."""
        return max(self.waiting + self.in_flight, self.sampled)

    @property
    def time_left(self) -> timedelta | None:
        """Until SQS deletes the oldest of the sample."""
        return None if self.oldest_age is None else self.retention - self.oldest_age


@dg.asset(
    group_name="ses_feedback",
    kinds={"sqs"},
    description="What lies in the dead-letter queue: how many messages, how old, why the parser "
    "rejects them, how long SQS still keeps them, and whether the main queue really feeds it. "
    "A sample is received and handed back; nothing is deleted or moved.",
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset="dlq_health",
            description="No message lies in the dead-letter queue: each is feedback that was not "
            "stored.",
        )
    ],
)
def dlq_health(dead_letter_queue: FeedbackQueue, queue: FeedbackQueue) -> dg.MaterializeResult:  # type: ignore[type-arg]  # or Dagster refuses
    """Look at the dead-letter queue."""
    with told_plainly():
        health = examine(dead_letter_queue.connect(), queue, datetime.now(UTC))
    return dg.MaterializeResult(
        metadata=_metadata(health),
        check_results=[
            dg.AssetCheckResult(
                check_name=CHECK,
                passed=health.messages == 0,
                severity=dg.AssetCheckSeverity.ERROR,
                description=in_words(health),
                metadata={"messages": health.messages},
            )
        ],
    )


def examine(dead_letters: Queue, main: FeedbackQueue, now: datetime) -> Health:
    """Ask the queue, and look at a sample of what lies in it.

    Raises:
        AwsRefused, AwsUnavailable: the dead-letter queue cannot be asked, or not received from.
            The main queue may be missing.
    """
    depth = dead_letters.depth()
    sample, why_not = Sample([], partial=True), ""
    if dead_letters.redrive_policy():
        why_not = (
            "The dead-letter queue has a redrive policy of its own, so looking at messages would "
            "move them on: there is no sample."
        )
    else:
        sample = dead_letters.sample(_SAMPLED)
    try:
        policy = main.connect().redrive_policy()
        fed = policy is not None and policy.target_arn == dead_letters.arn()
    except FeedbackError as error:
        fed, why_not = None, f"{why_not} {error}".strip()
    oldest = min((message.sent_at for message in sample.messages), default=None)
    return Health(
        waiting=depth.waiting,
        in_flight=depth.in_flight,
        reasons=reasons(sample),
        sampled=len(sample.messages),
        partial=sample.partial,
        oldest_age=None if oldest is None else max(now - oldest, timedelta()),
        retention=dead_letters.retention(),
        move_task=dead_letters.move_task(),
        fed=fed,
        why_not=why_not,
    )


def reasons(sample: Sample) -> dict[str, int]:
    """Count why the present parser rejects messages; those it does not reject are `READABLE`."""
    outcomes = (parse(message.body, message.sent_at) for message in sample.messages)
    counted = Counter(
        outcome.reason.value if isinstance(outcome, Rejected) else READABLE for outcome in outcomes
    )
    return dict(sorted(counted.items(), key=lambda each: (-each[1], each[0])))


def in_words(health: Health) -> str:
    """Say how the queue stands, and what to do: for the check, and for alerts."""
    said = []
    if health.messages == 0:
        said.append("The dead-letter queue is empty.")
    else:
        said.append(f"{_messages(health.messages)} in the dead-letter queue, not stored.")
        if health.reasons:
            by_reason = ", ".join(f"{n} {reason}" for reason, n in health.reasons.items())
            said.append(f"Of {health.sampled} sampled: {by_reason}.")
        if health.oldest_age is not None and health.time_left is not None:
            said.append(
                f"The oldest is {'at least ' if health.partial else ''}{_long(health.oldest_age)} "
                f"old; SQS deletes it {_in(health.time_left)}."
            )
        said.append(_what_to_do(health))
    if health.fed is False:
        said.append(
            "The main queue's redrive policy does not name this queue, so messages that fail are "
            "not kept here: compare SQS_DLQ_URL with the RedrivePolicy of SQS_QUEUE_URL."
        )
    return " ".join([*said, health.why_not]).strip()


def _what_to_do(health: Health) -> str:
    if health.move_task and health.move_task.status == "RUNNING":
        return "A redrive is moving them back now: wait for it to end."
    readable = health.reasons.get(READABLE, 0)
    if readable and readable == health.sampled:
        return "The parser reads them now: start a redrive to SQS_QUEUE_URL, and they are stored."
    if readable:
        return (
            "Some of them are readable now: start a redrive to SQS_QUEUE_URL; what is still "
            "rejected comes back here. Find out what sends the others."
        )
    if health.reasons:
        return (
            "A redrive would bring them back here: find out what sends them, or which change of "
            "the parser they need."
        )
    return "See in the log of process_feedback why messages stay in the queue."


def _messages(number: int) -> str:
    return "1 message lies" if number == 1 else f"{number:,} messages lie"


def _in(left: timedelta) -> str:
    return f"in {_long(left)}" if left > timedelta() else "any moment now"


def _long(span: timedelta) -> str:
    minutes = int(span.total_seconds()) // 60
    if minutes >= 48 * 60:
        return f"{minutes // (24 * 60)} days"
    if minutes >= 120:
        return f"{minutes // 60} hours"
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def _metadata(health: Health) -> dict[str, dg.MetadataValue]:
    """Numbers, which Dagster plots over the runs, and a table; never anything of a message."""
    metadata: dict[str, dg.MetadataValue] = {
        "messages": dg.MetadataValue.int(health.messages),
        "waiting": dg.MetadataValue.int(health.waiting),
        "in_flight": dg.MetadataValue.int(health.in_flight),
        "sampled": dg.MetadataValue.int(health.sampled),
        "readable_now": dg.MetadataValue.int(health.reasons.get(READABLE, 0)),
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
    if health.reasons:
        metadata["reasons"] = dg.MetadataValue.table(
            [dg.TableRecord({"reason": r, "messages": n}) for r, n in health.reasons.items()],
            schema=dg.TableSchema([dg.TableColumn("reason"), dg.TableColumn("messages", "int")]),
        )
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
