"""The settings: each can be read, and none is misspelt."""

from __future__ import annotations

from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING

from dpp_feedback import resources
from dpp_feedback.connection import require_readable
from dpp_feedback.doctor.finding import Examination, Finding, passed, warned
from dpp_feedback.errors import FeedbackError
from dpp_feedback.resources import SETTINGS, SettingMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REQUIRED = ("DATABASE_URL", "SQS_QUEUE_URL")
_READERS: dict[str, Callable[[], object]] = {
    "DATABASE_URL": lambda: require_readable(resources.database_url()),
    "SQS_QUEUE_URL": resources.FeedbackQueue().connect,
    "SQS_DLQ_URL": resources.FeedbackQueue(setting="SQS_DLQ_URL").connect,
    "SNS_BOUNCE_ARN": partial(resources.topic_arn, "SNS_BOUNCE_ARN"),
    "SNS_COMPLAINT_ARN": partial(resources.topic_arn, "SNS_COMPLAINT_ARN"),
    "SNS_DELIVERY_ARN": partial(resources.topic_arn, "SNS_DELIVERY_ARN"),
    "SNS_VERIFY": resources.verifies,
    "AWS_REGION": resources.aws_region,
    "SES_FEEDBACK_ERASURE_KEY": resources.erasure_key,
    "SES_FEEDBACK_MAX_PARALLEL_RUNS": resources.max_parallel_runs,
    "SES_FEEDBACK_MIN_VOLUME": resources.min_volume,
    "SES_FEEDBACK_REJECT_KEY": resources.reject_key,
    "SES_FEEDBACK_REPORTS": resources.ReportFolder().connect,
    "SES_FEEDBACK_RETENTION_DAYS": resources.retention_days,
    "SES_FEEDBACK_TIME_ZONE": resources.time_zone,
    "SES_FEEDBACK_VERIFIED_DOMAINS": resources.verified_domains,
}
_PREFIX = "SES_FEEDBACK_"


def examinations() -> list[Examination]:
    """Read every setting, as what runs does."""
    area = "settings"
    return [
        Examination(area, "values", _values),
        Examination(area, "names", _names),
        Examination(area, "alerts", _alerts),
        Examination(area, "signatures", _signatures),
    ]


def _values() -> Iterator[Finding]:
    readable = []
    for name, read in _READERS.items():
        try:
            read()
        except FeedbackError as error:
            if name in _REQUIRED or not isinstance(error, SettingMissing):
                yield Finding(name, "fail", str(error))
        else:
            if name in resources.names_set():
                readable.append(name)
    if readable:
        yield passed("values", f"They can be read: {', '.join(readable)}.")


def _alerts() -> Iterator[Finding]:
    check, names = "alerts", resources.names_set()
    halves = {"SES_FEEDBACK_MAIL_FROM", "SES_FEEDBACK_MAIL_TO"}
    if len(halves & names) == 1:
        yield warned(
            check,
            f"{(halves & names).pop()} is set, {(halves - names).pop()} is not: no mail is sent.",
            "Set both, or none.",
        )
    if resources.AlertChannels().connect().any:
        yield passed(check, "Somebody is told.")
    else:
        yield warned(
            check,
            "Nobody is told: no channel is set.",
            "Set SES_FEEDBACK_ALERT_TOPIC_ARN, SES_FEEDBACK_SLACK_WEBHOOK_URL, or both of "
            "SES_FEEDBACK_MAIL_FROM and SES_FEEDBACK_MAIL_TO.",
        )


def _signatures() -> Iterator[Finding]:
    check = "signatures"
    if resources.verifies():
        resources.sns_check().require_reachable()
        yield passed(check, "Bodies need SNS's signature, and its certificates can be had.")
    elif resources.endpoint_url():
        yield passed(check, "Signatures are not verified: a stand-in for AWS makes none.")
    else:
        yield warned(
            check,
            "Signatures are not verified: whoever can send to the queue can forge feedback.",
            "Set SNS_VERIFY=true, with raw delivery off.",
        )


def _names() -> Iterator[Finding]:
    unknown = {
        name for name in resources.names_set() if name.startswith(_PREFIX) and name not in SETTINGS
    }
    for name in sorted(unknown):
        meant = get_close_matches(name, SETTINGS, n=1, cutoff=0.8)
        yield warned(
            "names",
            f"{name} is no setting: nothing reads it.",
            f"Write {meant[0]}, or unset it." if meant else "Unset it; README.md lists them.",
        )
    if not unknown:
        yield passed("names", f"Every variable that begins with {_PREFIX} is known.")
