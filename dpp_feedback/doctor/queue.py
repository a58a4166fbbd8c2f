"""The queue that the topics feed: reachable, and kept as the runs need it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dpp_feedback.doctor import policy
from dpp_feedback.doctor.aws import NotThere
from dpp_feedback.doctor.finding import Examination, Finding, failed, passed, warned
from dpp_feedback.errors import FeedbackError
from dpp_feedback.resources import FeedbackQueue, topic_arn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dpp_feedback.doctor.aws import Aws

QUEUE = "SQS_QUEUE_URL"
TOPICS = ("SNS_BOUNCE_ARN", "SNS_COMPLAINT_ARN", "SNS_DELIVERY_ARN")
MANAGED_BY_AWS = ("alias/aws/sqs", "alias/aws/sns")

# A run receives for a third of it, and tries a database that restarts for a quarter of a minute.
_SHORT = timedelta(seconds=60)
_LONG = timedelta(hours=1)  # so long are the messages of a killed run out of sight
WIRE = "Run scripts/phase3_ses_feedback_infra.sh again."


def examinations(aws: Aws) -> list[Examination]:
    """Look at the queue of SQS_QUEUE_URL."""
    return [Examination("queue", QUEUE, lambda: _queue(aws))]


def attributes(aws: Aws, setting: str) -> dict[str, str]:
    """Ask for all attributes of the queue that a setting names.

    Raises:
        NotThere, AwsRefused, AwsUnavailable: as `Aws.call`.
        SettingError: the setting is missing or malformed.
    """
    url = FeedbackQueue(setting=setting).connect().url
    said = aws.call("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])
    found: dict[str, str] = said.get("Attributes") or {}
    return found


def seconds(attributes: Mapping[str, str], name: str) -> timedelta:
    """Read an attribute that counts seconds."""
    return timedelta(seconds=int(attributes.get(name, "0")))


def _queue(aws: Aws) -> Iterator[Finding]:
    try:
        said = attributes(aws, QUEUE)
    except NotThere:
        yield failed(
            QUEUE,
            f"There is no such queue: {FeedbackQueue().connect().url}.",
            f"Correct the setting or AWS_REGION, or make the queue. {WIRE}",
        )
        return
    waiting = int(said.get("ApproximateNumberOfMessages", "0"))
    in_flight = int(said.get("ApproximateNumberOfMessagesNotVisible", "0"))
    name = FeedbackQueue().connect().name
    yield passed(QUEUE, f"{name}: {waiting:,} waiting, {in_flight:,} in flight.")
    yield _visibility(seconds(said, "VisibilityTimeout"))
    yield encryption("encryption", said)
    yield from _policy(said.get("Policy", ""))


def _visibility(timeout: timedelta) -> Finding:
    check, found = "visibility timeout", f"{int(timeout.total_seconds()):,} s."
    if not timeout:
        return failed(
            check, found, "Set VisibilityTimeout to 300: messages come back while a run has them."
        )
    if timeout < _SHORT:
        return warned(
            check,
            found,
            "Set VisibilityTimeout to 300: a run that waits for the database for less than a "
            "minute loses its messages to the next one, which brings them nearer to the DLQ.",
        )
    if timeout > _LONG:
        return warned(
            check,
            found,
            "Set VisibilityTimeout to 300: the messages of a run that is killed come back only "
            "after this time.",
        )
    return passed(check, found)


def encryption(check: str, attributes: Mapping[str, str]) -> Finding:
    """Judge a queue's encryption by its attributes."""
    key = attributes.get("KmsMasterKeyId", "")
    if key in MANAGED_BY_AWS:
        return failed(
            check,
            f"Encrypted with {key}, AWS's own key, which SNS may not use: nothing arrives.",
            "Set SqsManagedSseEnabled to true, or a key of your own whose policy lets "
            "sns.amazonaws.com use it.",
        )
    if key:
        return passed(check, "SSE-KMS, with a key of its own.")
    if attributes.get("SqsManagedSseEnabled") == "true":
        return passed(check, "SSE-SQS.")
    return warned(check, "The queue is not encrypted.", "Set SqsManagedSseEnabled to true.")


def _policy(written: str) -> Iterator[Finding]:
    if not policy.statements(written):
        yield failed("policy", "The queue has none: SNS may not send to it.", WIRE)
        return
    barred = [
        name for name in TOPICS if (arn := _topic(name)) and not policy.topic_may_send(written, arn)
    ]
    if barred:
        yield failed("policy", f"It does not let SNS send from {', '.join(barred)}.", WIRE)
    elif policy.anybody_may_send(written):
        yield warned(
            "policy",
            "It lets everybody send, or everybody's topics: no condition names a source.",
            WIRE,
        )
    else:
        yield passed("policy", "It lets SNS send from the topics.")
    if policy.requires_tls(written):
        yield passed("TLS", "The policy denies what comes without it.")
    else:
        yield warned("TLS", "The policy takes what comes without it.", WIRE)


def _topic(name: str) -> str | None:
    """The topic's ARN, or None where there is none or a wrong one: the settings tell that."""
    try:
        return topic_arn(name)
    except FeedbackError:
        return None
