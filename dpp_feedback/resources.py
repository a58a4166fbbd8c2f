"""The environment as Dagster resources: the only place that reads an environment variable.

Nothing is read before it is used, so definitions load anywhere; a missing or malformed setting is
one sentence that names it, when an op or a sensor first needs it.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

import dagster as dg

from dpp_feedback.errors import FeedbackError
from dpp_feedback.queue import DEFAULT_REGION, Queue
from dpp_feedback.store import Store

_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d")
_AWS_HOST = re.compile(r"sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")


class SettingError(FeedbackError):
    """An environment variable is missing or malformed."""


class FeedbackQueue(dg.ConfigurableResource["FeedbackQueue"]):
    """The SQS queue that the SNS topics feed.

    Environment: `SQS_QUEUE_URL`, `AWS_REGION` (default ap-northeast-2), `AWS_ENDPOINT_URL` (local
    stack only; boto3 reads it).
    """

    def connect(self) -> Queue:
        """Make a client of the queue; nothing is sent yet.

        Raises:
            SettingError: a setting is missing or malformed.
        """
        name, region = "SQS_QUEUE_URL", aws_region()
        return Queue.connect(_queue_url(name, region), region=region, setting=name)


class FeedbackStore(dg.ConfigurableResource["FeedbackStore"]):
    """The Postgres database of the event table. Environment: `DATABASE_URL`."""

    def connect(self) -> Store:
        """Connect to the database.

        Raises:
            SettingError: the setting is missing.
            DatabaseRefused, DatabaseUnavailable: it is malformed, or the database refuses or does
                not answer.
        """
        return Store.connect(database_url())


def database_url() -> str:
    """Read `DATABASE_URL`.

    Raises:
        SettingError: it is missing. Whether it is an address, `connection.connect` says.
    """
    return _required("DATABASE_URL")


def aws_region() -> str:
    """Read `AWS_REGION`.

    Raises:
        SettingError: it is no name of a region.
    """
    region = os.environ.get("AWS_REGION", "").strip() or DEFAULT_REGION
    if not _REGION.fullmatch(region):
        raise SettingError(
            f"AWS_REGION is {region!r}, no name of a region. Write one like ap-northeast-2."
        )
    return region


def max_parallel_runs() -> int:
    """Read `SES_FEEDBACK_MAX_PARALLEL_RUNS`: how many runs may drain the queue at once.

    Raises:
        SettingError: it is no whole number from 1 to 99.
    """
    value = os.environ.get("SES_FEEDBACK_MAX_PARALLEL_RUNS", "").strip() or "1"
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


def _required(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise SettingError(
            f"{name} is not set. Set it in the environment (in production the ConfigMap or "
            "Secret); on a laptop `dpp-feedback up` writes it to .env."
        )
    return value
