"""The dead-letter queue: where messages go that cannot be stored, and for how long."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from dpp_feedback.aws_errors import AwsRefused
from dpp_feedback.doctor.aws import NotThere
from dpp_feedback.doctor.finding import Examination, Finding, failed, passed, warned
from dpp_feedback.doctor.queue import QUEUE, WIRE, attributes, encryption, seconds
from dpp_feedback.resources import FeedbackQueue, SettingMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback.doctor.aws import Aws

DLQ = "SQS_DLQ_URL"
_RECEIVES = 5  # what the scripts set, and docs/decisions.md counts with
_RETENTION = timedelta(days=14)  # SQS's longest


def examinations(aws: Aws) -> list[Examination]:
    """Look at the dead-letter queue, the way into it, and redrives out of it."""
    area = "dead-letter queue"
    return [
        Examination(area, DLQ, lambda: _queue(aws), unknown="warn"),
        Examination(area, "redrive policy", lambda: _redrive_policy(aws)),
        Examination(area, "redrive", _redrive, unknown="warn"),
    ]


def _queue(aws: Aws) -> Iterator[Finding]:
    try:
        said = attributes(aws, DLQ)
    except SettingMissing:
        yield warned(
            DLQ,
            "It is not set: nobody is told of messages that cannot be stored.",
            "Set it to the URL of the queue that the redrive policy names.",
        )
        return
    except NotThere:
        yield failed(
            DLQ,
            f"There is no such queue: {FeedbackQueue(setting=DLQ).connect().url}.",
            f"Correct the setting or AWS_REGION, or make the queue. {WIRE}",
        )
        return
    held = int(said.get("ApproximateNumberOfMessages", "0"))
    held += int(said.get("ApproximateNumberOfMessagesNotVisible", "0"))
    if held:
        yield warned(
            DLQ, f"Messages that could not be stored: {held:,}.", "See `dpp-feedback dlq list`."
        )
    else:
        yield passed(DLQ, "It is empty.")
    yield _retention(seconds(said, "MessageRetentionPeriod"))
    yield encryption("encryption", said)
    if said.get("RedrivePolicy"):
        yield failed(
            "own redrive policy",
            "It has one: each look at a message brings it nearer to yet another queue, so `dlq` "
            "and `reprocess_dlq` refuse.",
            f"Remove it, or correct {DLQ}.",
        )
    else:
        yield passed("own redrive policy", "None.")


def _retention(kept: timedelta) -> Finding:
    check, found = "retention", f"{_long(kept)}."
    if kept < _RETENTION:
        return warned(
            check,
            found,
            "Set MessageRetentionPeriod to 1209600, 14 days: what nobody looks at until then is "
            "deleted.",
        )
    return passed(check, found)


def _redrive_policy(aws: Aws) -> Iterator[Finding]:
    queue, check = attributes(aws, QUEUE), "redrive policy"
    try:
        policy = json.loads(queue.get("RedrivePolicy") or "null")
        target, receives = policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])
    except (KeyError, TypeError, ValueError):
        yield failed(
            check,
            f"The queue of {QUEUE} has none: a message that cannot be stored comes again and "
            "again until its retention ends, and is lost then.",
            WIRE,
        )
        return
    if receives == _RECEIVES:
        yield passed("maxReceiveCount", f"{receives}.")
    else:
        meaning = (
            "good messages get there when a few runs fail"
            if receives < _RECEIVES
            else "bad messages take that many runs to get there"
        )
        yield warned("maxReceiveCount", f"{receives}: {meaning}.", f"Set it to {_RECEIVES}. {WIRE}")
    try:
        said = attributes(aws, DLQ)
    except (SettingMissing, NotThere):  # told above
        yield warned(check, f"It names {target}.", f"Set {DLQ} to the URL of that queue.")
        return
    except AwsRefused as error:  # only the runs' own queue must be readable
        yield Finding(check, "warn", str(error))
        return
    if said.get("QueueArn") != target:
        yield failed(
            check,
            f"It names {target}, and {DLQ} names {said.get('QueueArn')}.",
            f"Correct {DLQ}, or the policy. {WIRE}",
        )
        return
    yield passed(check, f"The queue of {QUEUE} names this queue.")
    kept = seconds(queue, "MessageRetentionPeriod")
    if seconds(said, "MessageRetentionPeriod") < kept:
        yield failed(
            "retention of both",
            f"The queue keeps messages for {_long(kept)}, longer than this queue, where their age "
            "counts on: a message may be deleted as soon as it gets here.",
            "Set MessageRetentionPeriod to 1209600, 14 days.",
        )


def _redrive() -> Iterator[Finding]:
    try:
        task = FeedbackQueue(setting=DLQ).connect().move_tasks.latest()
    except SettingMissing:
        return
    check = "redrive"
    if task is None:
        yield warned(
            check,
            "Whether one is running cannot be asked.",
            "Add sqs:ListMessageMoveTasks on this queue to the role's policy; an old stand-in for "
            "AWS has no such call.",
        )
    elif task.under_way:
        yield warned(
            check,
            f"One is {task.status}; messages moved so far: {task.moved:,}.",
            "Wait for its end, or `dpp-feedback dlq redrive --cancel`.",
        )
    elif task.status == "FAILED":
        yield warned(
            check,
            f"The last one FAILED: {task.failure or 'SQS does not say why'}.",
            "Put that right, and `dpp-feedback dlq redrive` again.",
        )
    else:
        yield passed(check, "None is running.")


def _long(time: timedelta) -> str:
    hours = time / timedelta(hours=1)
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"
