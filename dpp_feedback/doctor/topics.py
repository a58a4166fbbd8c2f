"""The topics: each there, and subscribed once by the queue, in SNS's envelope."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dpp_feedback.aws_errors import AwsRefused
from dpp_feedback.doctor.aws import NotThere
from dpp_feedback.doctor.finding import Examination, Finding, failed, passed, warned
from dpp_feedback.doctor.queue import MANAGED_BY_AWS, QUEUE, TOPICS, WIRE, attributes
from dpp_feedback.resources import topic_arn, verifies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback.doctor.aws import Aws


def examinations(aws: Aws) -> list[Examination]:
    """Look at the topic of each setting. The runs need none of these calls."""
    return [
        Examination("topics", name, partial(_topic, aws, name), unknown="warn") for name in TOPICS
    ]


def _topic(aws: Aws, name: str) -> Iterator[Finding]:
    arn = topic_arn(name)
    if arn is None:
        yield warned(
            name, "It is not set: the topic is not looked at.", "Set it to the topic's ARN."
        )
        return
    yield from _itself(aws, name, arn)
    queue_arn = attributes(aws, QUEUE).get("QueueArn", "")
    try:
        subscriptions = [
            each["SubscriptionArn"]
            for each in aws.pages("sns", "ListSubscriptionsByTopic", "Subscriptions", TopicArn=arn)
            if each["Protocol"] == "sqs" and each["Endpoint"] == queue_arn
        ]
    except NotThere:
        return
    check = f"{name.split('_')[1].lower()} subscription"
    if not subscriptions:
        yield failed(check, f"The queue of {QUEUE} does not subscribe to the topic.", WIRE)
    elif len(subscriptions) > 1:
        yield warned(
            check,
            f"The queue subscribes {len(subscriptions)} times: every message comes as often, and "
            "counts once.",
            "Remove all but one with `aws sns unsubscribe`.",
        )
    for subscription in subscriptions:
        yield from _subscription(aws, check, subscription)


def _itself(aws: Aws, name: str, arn: str) -> Iterator[Finding]:
    try:
        said = aws.call("sns", "GetTopicAttributes", TopicArn=arn).get("Attributes", {})
    except NotThere:
        yield failed(name, f"There is no such topic: {arn}.", f"Correct the setting. {WIRE}")
        return
    except AwsRefused as error:
        yield Finding(name, "warn", str(error))
        return
    if said.get("KmsMasterKeyId") in MANAGED_BY_AWS:
        yield failed(
            name,
            f"Encrypted with {said['KmsMasterKeyId']}, AWS's own key, which SES may not use: "
            "nothing arrives.",
            "Encrypt it with a key of your own whose policy lets ses.amazonaws.com use it, or not "
            "at all.",
        )
    else:
        yield passed(name, f"{arn.rpartition(':')[2]} is there.")


def _subscription(aws: Aws, check: str, arn: str) -> Iterator[Finding]:
    unconfirmed = failed(
        check,
        "The subscription waits for its confirmation: nothing arrives.",
        "Confirm it as the queue's owner: the queue holds SNS's message with a SubscribeURL.",
    )
    if not arn.startswith("arn:"):  # "PendingConfirmation"
        yield unconfirmed
        return
    said = aws.call("sns", "GetSubscriptionAttributes", SubscriptionArn=arn).get("Attributes", {})
    if said.get("PendingConfirmation") == "true":
        yield unconfirmed
    elif said.get("FilterPolicy") not in (None, "", "{}"):
        yield warned(
            check,
            "The subscription has a filter policy: what it does not match never arrives.",
            "Remove it with `aws sns set-subscription-attributes --attribute-name FilterPolicy`.",
        )
    elif said.get("RawMessageDelivery") == "true" and verifies():
        yield failed(
            check,
            "RawMessageDelivery is on, and bodies need SNS's signature (SNS_VERIFY), which only "
            "its envelope has: every message is refused.",
            "Set RawMessageDelivery to false with `aws sns set-subscription-attributes`.",
        )
    elif said.get("RawMessageDelivery") == "true":
        yield warned(
            check,
            "RawMessageDelivery is on: it works, but without SNS's envelope nothing tells which "
            "topic a message in the DLQ came through.",
            "Set RawMessageDelivery to false with `aws sns set-subscription-attributes`.",
        )
    else:
        yield passed(check, "The queue subscribes, confirmed, in SNS's envelope.")
