"""CloudWatch: the one number about a queue that SQS itself does not tell."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dpp_feedback.aws_errors import explaining

_NEWER_THAN = timedelta(minutes=10)  # SQS writes it each minute, and it arrives minutes late


def oldest_message_age(queue_arn: str, now: datetime) -> float | None:
    """Ask for the age of the oldest message in a queue: ApproximateAgeOfOldestMessage.

    Args:
        queue_arn: it names the region and the queue.
        now: the present time.

    Returns:
        Seconds; None when CloudWatch has no value of the last ten minutes, as for a queue that
        nobody has used for hours, and in a stand-in.

    Raises:
        AwsRefused: the role lacks cloudwatch:GetMetricStatistics, or AWS refuses otherwise.
        AwsUnavailable: CloudWatch does not answer, or not now.
    """
    import boto3
    from botocore.config import Config

    _, _, _, region, _, name = queue_arn.split(":")
    config = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1})
    with explaining("GetMetricStatistics", service="CloudWatch"):
        client: Any = boto3.Session().client("cloudwatch", region_name=region, config=config)
        said = client.get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": name}],
            StartTime=now - _NEWER_THAN,
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )
    points = sorted((point["Timestamp"], point["Maximum"]) for point in said["Datapoints"])
    return points[-1][1] if points else None
