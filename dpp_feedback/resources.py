"""The environment as Dagster resources: the only place that reads an environment variable.

Nothing is read before it is used, so definitions load anywhere; a missing or malformed setting is
one sentence that names it, when an op or a sensor first needs it.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import dagster as dg

from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.rates import MIN_VOLUME
from dpp_feedback.queue import DEFAULT_REGION, Queue
from dpp_feedback.removal.old import DEFAULT_DAYS, LEAST_DAYS
from dpp_feedback.secrecy import keep_secrets
from dpp_feedback.sns.certificates import Certificates
from dpp_feedback.sns.check import SnsCheck
from dpp_feedback.store import Store

if TYPE_CHECKING:
    from botocore.session import Session
    from mypy_boto3_sqs import SQSClient

    from dpp_feedback.destination import Destination
    from dpp_feedback.notify import Channels
    from dpp_feedback.ses import Ses

SETTINGS = frozenset(
    {
        "DATABASE_URL",
        "SQS_QUEUE_URL",
        "SQS_DLQ_URL",
        "SNS_BOUNCE_ARN",
        "SNS_COMPLAINT_ARN",
        "SNS_DELIVERY_ARN",
        "SNS_VERIFY",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
        "SES_FEEDBACK_ALERT_TOPIC_ARN",
        "SES_FEEDBACK_ERASURE_KEY",
        "SES_FEEDBACK_MAIL_FROM",
        "SES_FEEDBACK_MAIL_TO",
        "SES_FEEDBACK_MAX_PARALLEL_RUNS",
        "SES_FEEDBACK_MIN_VOLUME",
        "SES_FEEDBACK_REJECT_KEY",
        "SES_FEEDBACK_REPORTS",
        "SES_FEEDBACK_RETENTION_DAYS",
        "SES_FEEDBACK_SLACK_WEBHOOK_URL",
        "SES_FEEDBACK_TIME_ZONE",
        "SES_FEEDBACK_VERIFIED_DOMAINS",
    }
)
"""Every variable that the product knows; boto3, libpq and Dagster know more."""

_KEY_LENGTH = 16
# A client takes 50 ms of a processor, and the sensors ask for one three times a minute. But whoever
# logs in anew, in boto3's files, is not to wait for long.
_CLIENT_SECONDS = 600
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d")
_TOPICS = ("SNS_BOUNCE_ARN", "SNS_COMPLAINT_ARN", "SNS_DELIVERY_ARN")
_PARTITIONS = ("aws", "aws-cn", "aws-us-gov")  # whose certificates are known
_DOMAIN = re.compile(r"[^\s@,/:]+\.[^\s@,/:.]+")
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}")
_AWS_HOST = re.compile(r"sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")


class SettingError(FeedbackError):
    """An environment variable is missing or malformed."""


class SettingMissing(SettingError):
    """An environment variable is not set, and something needs it."""


class FeedbackQueue(dg.ConfigurableResource["FeedbackQueue"]):
    """An SQS queue: the one that the SNS topics feed, or its dead-letter queue.

    Environment: what `setting` names, `AWS_REGION` (default ap-northeast-2), `AWS_ENDPOINT_URL`
    (local stack only; boto3 reads it).

    Attributes:
        setting: `SQS_QUEUE_URL` or `SQS_DLQ_URL`.
    """

    setting: str = "SQS_QUEUE_URL"

    def connect(self) -> Queue:
        """Make a client of the queue, or take the last one; nothing is sent yet.

        Raises:
            SettingError: a setting is missing or malformed.
        """
        region = aws_region()
        url = _queue_url(self.setting, region)
        boto3 = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
        moment = int(monotonic() // _CLIENT_SECONDS)
        return Queue.connect(
            url,
            region=region,
            setting=self.setting,
            make_client=lambda region: _client(region, boto3, moment),
        )


class FeedbackStore(dg.ConfigurableResource["FeedbackStore"]):
    """The Postgres database of the event table.

    Environment: `DATABASE_URL`, and optional `SES_FEEDBACK_REJECT_KEY`.
    """

    def connect(self) -> Store:
        """Connect to the database.

        Raises:
            SettingError: a setting is missing or malformed.
            DatabaseRefused, DatabaseUnavailable: the address is malformed, or the database
                refuses or does not answer.
        """
        return Store.connect(database_url(), reject_key())


class SesAccount(dg.ConfigurableResource["SesAccount"]):
    """The SES account: its statistics and its suppression list. Environment: `AWS_REGION`."""

    def connect(self) -> Ses:
        """Make a client; nothing is sent yet.

        Raises:
            SettingError: the setting is malformed.
        """
        from dpp_feedback.ses import Ses

        return Ses.connect(aws_region())


class ReportFolder(dg.ConfigurableResource["ReportFolder"]):
    """Where reports and lists are written. Environment: `SES_FEEDBACK_REPORTS`, `AWS_REGION`."""

    def connect(self) -> Destination:
        """Read where it is; nothing is written yet.

        Raises:
            SettingError: a setting is malformed.
        """
        from dpp_feedback.destination import Destination

        return Destination.of(_optional("SES_FEEDBACK_REPORTS") or "reports", aws_region())


class AlertChannels(dg.ConfigurableResource["AlertChannels"]):
    """Where alerts and reports are sent to.

    Environment, each optional: `SES_FEEDBACK_ALERT_TOPIC_ARN`, `SES_FEEDBACK_SLACK_WEBHOOK_URL`,
    `SES_FEEDBACK_MAIL_FROM` with `SES_FEEDBACK_MAIL_TO`; and `AWS_REGION`.
    """

    def connect(self) -> Channels:
        """Read which channels are set; nothing is sent yet.

        Raises:
            SettingError: a setting is malformed.
        """
        from dpp_feedback.notify import Channels

        return Channels(
            region=aws_region(),
            topic_arn=_optional("SES_FEEDBACK_ALERT_TOPIC_ARN"),
            slack_webhook_url=_optional("SES_FEEDBACK_SLACK_WEBHOOK_URL"),
            mail_from=_optional("SES_FEEDBACK_MAIL_FROM"),
            mail_to=_optional("SES_FEEDBACK_MAIL_TO"),
        )


def min_volume() -> int:
    """Read `SES_FEEDBACK_MIN_VOLUME`: mails below which a rate alarms nobody.

    Raises:
        SettingError: it is no whole number above 0.
    """
    value = _optional("SES_FEEDBACK_MIN_VOLUME") or str(MIN_VOLUME)
    if not re.fullmatch("[1-9][0-9]{0,9}", value):
        raise SettingError(
            "SES_FEEDBACK_MIN_VOLUME is no whole number above 0: write how many mails a rate needs "
            f"before it alarms; {MIN_VOLUME} is the default."
        )
    return int(value)


def verified_domains() -> frozenset[str]:
    """Read `SES_FEEDBACK_VERIFIED_DOMAINS`: bounces to them are none to AWS. With commas between.

    Raises:
        SettingError: one of them is no domain.
    """
    value = _optional("SES_FEEDBACK_VERIFIED_DOMAINS") or ""
    domains = {name.strip().lower() for name in value.split(",") if name.strip()}
    if not all(_DOMAIN.fullmatch(name) for name in domains):
        raise SettingError(
            "SES_FEEDBACK_VERIFIED_DOMAINS is no list of domains: write example.com,example.org."
        )
    return frozenset(domains)


def time_zone() -> str:
    """Read `SES_FEEDBACK_TIME_ZONE`: whose 08:00 the report comes at. Default UTC.

    Raises:
        SettingError: there is no such time zone.
    """
    name = _optional("SES_FEEDBACK_TIME_ZONE") or "UTC"
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # unknown; a folder of zones; a path
        raise SettingError(
            f"SES_FEEDBACK_TIME_ZONE is {name!r}, no time zone. Write one like Asia/Seoul or "
            "Europe/Berlin."
        ) from None
    return name


def database_url() -> str:
    """Read `DATABASE_URL`.

    Raises:
        SettingError: it is missing. Whether it is an address, `connection.connect` says.
    """
    return _required("DATABASE_URL")


def reject_key() -> str | None:
    """Read `SES_FEEDBACK_REJECT_KEY`: a passphrase; rejected bodies are kept, encrypted with it.

    Postgres encrypts, so the key travels to it, as a parameter of the statement: use TLS
    (`sslmode=verify-full` in DATABASE_URL). Statements and pg_stat_activity never show it. The
    server's log shows parameters, and so key and bodies, of statements that `log_statement` or
    `log_min_duration_statement` has it write down, unless `log_parameter_max_length` is 0; and of
    those that fail, only if `log_parameter_max_length_on_error` is not 0, which is its default.

    Returns:
        None if it is not set: bodies are not kept.

    Raises:
        SettingError: it is too short to guard anything.
    """
    return _passphrase("SES_FEEDBACK_REJECT_KEY", ", or unset it to keep no bodies")


def erasure_key() -> str | None:
    """Read `SES_FEEDBACK_ERASURE_KEY`: erased addresses stay suppressed by a hash keyed with it.

    It never goes to the database: whoever has both can try addresses.

    Returns:
        None if it is not set: no hash can be made.

    Raises:
        SettingError: it is too short to guard anything.
    """
    return _passphrase("SES_FEEDBACK_ERASURE_KEY")


def retention_days() -> int | None:
    """Read `SES_FEEDBACK_RETENTION_DAYS`: how many days events are kept for.

    Returns:
        None for `never`: they are kept for ever.

    Raises:
        SettingError: it is neither `never` nor a whole number of 30 or more.
    """
    value = _optional("SES_FEEDBACK_RETENTION_DAYS") or str(DEFAULT_DAYS)
    if value == "never":
        return None
    if not re.fullmatch("[1-9][0-9]{1,4}", value) or int(value) < LEAST_DAYS:
        raise SettingError(
            f"SES_FEEDBACK_RETENTION_DAYS is no whole number from {LEAST_DAYS} to 99999: write how "
            f"many days events are kept for ({DEFAULT_DAYS} is the default), or never."
        )
    return int(value)


def aws_region() -> str:
    """Read `AWS_REGION`.

    Raises:
        SettingError: it is no name of a region.
    """
    region = _optional("AWS_REGION") or DEFAULT_REGION
    if not _REGION.fullmatch(region):
        raise SettingError(
            f"AWS_REGION is {region!r}, no name of a region. Write one like ap-northeast-2."
        )
    return region


def endpoint_url() -> str | None:
    """Read `AWS_ENDPOINT_URL`, as boto3 does: where a stand-in for AWS listens."""
    return _optional("AWS_ENDPOINT_URL")


def topic_arn(name: str) -> str | None:
    """Read `SNS_BOUNCE_ARN`, `SNS_COMPLAINT_ARN` or `SNS_DELIVERY_ARN`; None if it is not set.

    Args:
        name: of the setting.

    Raises:
        SettingError: it is no ARN of a standard topic, or AWS_REGION is another region or
            malformed.
    """
    arn, region = _optional(name), aws_region()
    if arn is None:
        return None
    topic = _TOPIC.fullmatch(arn)
    if topic is None:  # ".fifo" too: SES publishes to standard topics only
        raise SettingError(
            f"{name} is no ARN of a standard topic. Write arn:aws:sns:{region}:<account>:<topic>; "
            "`aws sns list-topics` prints them."
        )
    if topic["region"] != region:
        raise SettingError(
            f"{name} is in {topic['region']}, AWS_REGION says {region}. Correct one of them."
        )
    return arn


def sns_check() -> SnsCheck:
    """Read what a body has to show to come in; certificates are remembered for the whole process.

    Environment: `SNS_BOUNCE_ARN`, `SNS_COMPLAINT_ARN`, `SNS_DELIVERY_ARN`, and what `verifies`
    reads.

    Raises:
        SettingError: a setting is malformed; or signatures are to be verified, and no topic is
            named: anybody's topic has good signatures.
    """
    topics = frozenset(filter(None, map(topic_arn, _TOPICS)))
    if not verifies():
        return SnsCheck(topics)
    if not topics:
        raise SettingMissing(
            "SNS's signatures are verified, but none of SNS_BOUNCE_ARN, SNS_COMPLAINT_ARN and "
            "SNS_DELIVERY_ARN is set, and anybody's topic has good signatures: set the ARNs of "
            "your topics, or SNS_VERIFY=false."
        )
    unknown = {arn.split(":")[1] for arn in topics}.difference(_PARTITIONS)
    if unknown:
        raise SettingError(
            f"Nothing is known of SNS's certificates in {', '.join(sorted(unknown))}: set "
            "SNS_VERIFY=false."
        )
    return SnsCheck(topics, _certificates(aws_region()))


def verifies() -> bool:
    """Read `SNS_VERIFY`: whether a body needs SNS's signature.

    Returns:
        By default whether `AWS_ENDPOINT_URL` is unset: a stand-in for AWS signs nothing.

    Raises:
        SettingError: it is neither true nor false.
    """
    value = _optional("SNS_VERIFY")
    if value is None:
        return endpoint_url() is None
    if value not in ("true", "false"):
        raise SettingError(f"SNS_VERIFY is {value!r}: write true or false.")
    return value == "true"


def names_set() -> frozenset[str]:
    """Name the variables of the environment that are not empty, whoever's they are; no value."""
    return frozenset(name for name in os.environ if _optional(name))


@lru_cache(maxsize=4)
def _client(
    region: str, _boto3: tuple[tuple[str, str], ...], _moment: int
) -> tuple[Session, SQSClient]:
    """Remember the client of a region, while what boto3 reads from the environment is the same."""
    return Queue.make_client(region)


@lru_cache(maxsize=4)
def _certificates(region: str) -> Certificates:
    return Certificates(region)


def max_parallel_runs() -> int:
    """Read `SES_FEEDBACK_MAX_PARALLEL_RUNS`: how many runs may drain the queue at once.

    Raises:
        SettingError: it is no whole number from 1 to 99.
    """
    value = _optional("SES_FEEDBACK_MAX_PARALLEL_RUNS") or "1"
    if not re.fullmatch("[1-9][0-9]?", value):
        raise SettingError(
            "SES_FEEDBACK_MAX_PARALLEL_RUNS is no whole number from 1 to 99. Write 1, or more if "
            "one run at a time falls behind."
        )
    return int(value)


def _queue_url(name: str, region: str) -> str:
    url = _required(name)
    try:
        parts = urlsplit(url)
    except ValueError:  # "https://["
        parts = urlsplit("")
    segments = parts.path.strip("/").split("/")
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or len(segments) != 2:
        raise SettingError(  # without the value, which may be another setting's, password and all
            f"{name} is no URL of a queue. Write "
            f"https://sqs.{region}.amazonaws.com/<account>/<queue>; "
            "`aws sqs get-queue-url --queue-name <queue>` prints it."
        )
    if url.endswith(".fifo"):
        raise SettingError(f"{name} names a FIFO queue; SNS feeds a standard one. Correct it.")
    host = _AWS_HOST.fullmatch(parts.hostname or "")
    if host and host["region"] != region:
        raise SettingError(
            f"{name} is in {host['region']}, AWS_REGION says {region}. Correct one of them."
        )
    return url


def _passphrase(name: str, otherwise: str = "") -> str | None:
    key = _optional(name)
    if key is not None and len(key) < _KEY_LENGTH:
        raise SettingError(
            f"{name} is shorter than {_KEY_LENGTH} characters: write one that "
            f"`openssl rand -base64 33` prints{otherwise}."
        )
    return key


def _required(name: str) -> str:
    value = _optional(name)
    if not value:
        raise SettingMissing(
            f"{name} is not set. Set it in the environment (in production the ConfigMap or "
            "Secret); on a laptop `dpp-feedback up` writes it to .env."
        )
    return value


def _optional(name: str) -> str | None:
    keep_secrets()  # what reads a setting goes on to read keys, bodies or addresses
    return os.environ.get(name, "").strip() or None
