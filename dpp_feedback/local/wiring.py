"""Makes in the AWS stand-in what production has: topics, queue, dead-letter queue, subscriptions.

It speaks plain AWS through boto3 and does not know which stand-in answers. Production itself is
wired by scripts/ with the AWS CLI, never from here.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpp_feedback.local import clients
from dpp_feedback.queue import DEFAULT_REGION

if TYPE_CHECKING:  # the stubs are there for developers only
    from mypy_boto3_ses.literals import NotificationTypeType
    from mypy_boto3_sqs import SQSClient

# A stand-in asks only that requests are signed. These words open nothing, nowhere.
ACCESS_KEY_ID = "local"
SECRET_ACCESS_KEY = "local"  # noqa: S105 - see above

_DAY_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class Names:
    """What things are called and how the queue behaves; the defaults are the local stack."""

    bounce_topic: str = "decisionproof-ses-bounce"
    complaint_topic: str = "decisionproof-ses-complaint"
    delivery_topic: str = "decisionproof-ses-delivery"
    alert_topic: str = "decisionproof-ses-feedback-alerts"
    queue: str = "decisionproof-ses-feedback-queue"
    dead_letter_queue: str = "decisionproof-ses-feedback-dlq"
    max_receives: int = 5
    retention_seconds: int = 14 * _DAY_SECONDS
    # Production has 300. Here a person waits: what a killed run had in hand is back in a minute.
    visibility_seconds: int = 60
    # Mail from any address of this domain is answered by notifications. Nobody can own it.
    sender_domain: str = "decisionproof.example"


def wire(
    endpoint_url: str, region: str = DEFAULT_REGION, names: Names | None = None
) -> dict[str, str]:
    """Make everything that is missing and set everything that differs; again is harmless.

    Args:
        endpoint_url: Where the stand-in listens.
        region: The AWS region that requests are signed for.
        names: What to call things.

    Returns:
        The product's settings by the name of their environment variable: SQS_QUEUE_URL,
        SQS_DLQ_URL, SNS_BOUNCE_ARN, SNS_COMPLAINT_ARN, SNS_DELIVERY_ARN,
        SES_FEEDBACK_ALERT_TOPIC_ARN, and what `clients` need.

    Raises:
        botocore.exceptions.BotoCoreError: The stand-in does not answer.
        botocore.exceptions.ClientError: It refuses.
    """
    names = names or Names()
    stand_in = {
        "AWS_REGION": region,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
    }
    sqs, sns, ses = clients.sqs(stand_in), clients.sns(stand_in), clients.ses(stand_in)

    topics: dict[NotificationTypeType, str] = {
        "Bounce": sns.create_topic(Name=names.bounce_topic)["TopicArn"],
        "Complaint": sns.create_topic(Name=names.complaint_topic)["TopicArn"],
        "Delivery": sns.create_topic(Name=names.delivery_topic)["TopicArn"],
    }
    queue_url, dlq_url = _queues(sqs, names, list(topics.values()))
    queue_arn = _arn(sqs, queue_url)

    ses.verify_domain_identity(Domain=names.sender_domain)
    for kind, topic_arn in topics.items():
        # Not raw: production keeps the SNS envelope, whose MessageId tells duplicates apart.
        sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn)
        ses.set_identity_notification_topic(
            Identity=names.sender_domain, NotificationType=kind, SnsTopic=topic_arn
        )
    return {
        "SQS_QUEUE_URL": queue_url,
        "SQS_DLQ_URL": dlq_url,
        "SNS_BOUNCE_ARN": topics["Bounce"],
        "SNS_COMPLAINT_ARN": topics["Complaint"],
        "SNS_DELIVERY_ARN": topics["Delivery"],
        # Alerts go out there; who wants them subscribes.
        "SES_FEEDBACK_ALERT_TOPIC_ARN": sns.create_topic(Name=names.alert_topic)["TopicArn"],
        **stand_in,
    }


def _queues(sqs: "SQSClient", names: Names, topic_arns: list[str]) -> tuple[str, str]:
    # Attributes are set, not given at creation: creating a queue again with others is an error.
    dlq_url = sqs.create_queue(QueueName=names.dead_letter_queue)["QueueUrl"]
    queue_url = sqs.create_queue(QueueName=names.queue)["QueueUrl"]
    retention = str(names.retention_seconds)
    redrive = {"deadLetterTargetArn": _arn(sqs, dlq_url), "maxReceiveCount": names.max_receives}
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OnlyTheFeedbackTopicsSend",
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": _arn(sqs, queue_url),
                "Condition": {"ArnEquals": {"aws:SourceArn": topic_arns}},
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=dlq_url, Attributes={"MessageRetentionPeriod": retention})
    sqs.set_queue_attributes(
        QueueUrl=queue_url,
        Attributes={
            "MessageRetentionPeriod": retention,
            "VisibilityTimeout": str(names.visibility_seconds),
            "RedrivePolicy": json.dumps(redrive),
            "Policy": json.dumps(policy),
        },
    )
    return queue_url, dlq_url


def _arn(sqs: "SQSClient", queue_url: str) -> str:
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    return attributes["Attributes"]["QueueArn"]
