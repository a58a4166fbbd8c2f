"""Queue attributes: which there are, what they may be, and what a queue tells. No I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.loopback_sqs.errors import SqsError, invalid, unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.loopback_sqs.queues import Queue

DEFAULTS = {
    "VisibilityTimeout": "30",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
}
_RANGES = {
    "VisibilityTimeout": (0, 43_200),
    "MaximumMessageSize": (1_024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "DelaySeconds": (0, 900),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
}
_JSON = ("Policy", "RedrivePolicy", "RedriveAllowPolicy")
_KEPT = ("KmsMasterKeyId", "SqsManagedSseEnabled")
_TOLD = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
)
_KNOWN = {*_RANGES, *_JSON, *_KEPT, *_TOLD}


def check(attributes: Mapping[str, str]) -> None:
    """Refuse attributes that nobody can set, and values that they cannot have.

    Raises:
        SqsError: InvalidAttributeName, InvalidAttributeValue, UnsupportedOperation.
    """
    for name, value in attributes.items():
        if name in ("FifoQueue", "ContentBasedDeduplication"):
            raise unsupported("This stand-in has no FIFO queues.")
        if name not in _KNOWN or name in _TOLD:
            raise _unknown(name)
        if not _fits(name, value):
            raise SqsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")


def redrive(policy: str) -> tuple[str, int] | None:
    """Read a redrive policy: the dead-letter queue's ARN, and after how many receives.

    Raises:
        SqsError: InvalidParameterValue.
    """
    if not policy:
        return None
    try:
        said = json.loads(policy)
        target, most = str(said["deadLetterTargetArn"]), int(said["maxReceiveCount"])
    except (KeyError, TypeError, ValueError):
        raise invalid(
            f"Value {policy} for parameter RedrivePolicy is invalid. Reason: Redrive policy is not "
            "a JSON map with deadLetterTargetArn and maxReceiveCount."
        ) from None
    if not 1 <= most <= 1_000:
        raise invalid(
            f"Value {policy} for parameter RedrivePolicy is invalid. Reason: Invalid value for "
            "maxReceiveCount: must be between 1 and 1000."
        )
    return target, most


def told(queue: Queue, names: Sequence[str]) -> dict[str, str]:
    """Give the attributes that are asked for, those that the queue has.

    Raises:
        SqsError: InvalidAttributeName.
    """
    for name in names:
        if name != "All" and name not in _KNOWN:
            raise _unknown(name)
    own = {name: value for name, value in queue.attributes.items() if value} | {
        "ApproximateNumberOfMessages": str(queue.waiting),
        "ApproximateNumberOfMessagesNotVisible": str(queue.in_flight),
        "ApproximateNumberOfMessagesDelayed": str(queue.delayed),
        "CreatedTimestamp": str(int(queue.created)),
        "LastModifiedTimestamp": str(int(queue.modified)),
        "QueueArn": queue.arn,
    }
    return own if "All" in names else {name: own[name] for name in names if name in own}


def _fits(name: str, value: Any) -> bool:
    if name in _RANGES:
        lowest, highest = _RANGES[name]
        return str(value).isdecimal() and lowest <= int(value) <= highest
    if name in _JSON and value:
        try:
            return isinstance(json.loads(value), dict)
        except ValueError:
            return False
    return isinstance(value, str)


def _unknown(name: str) -> SqsError:
    return SqsError("InvalidAttributeName", f"Unknown Attribute {name}.")
