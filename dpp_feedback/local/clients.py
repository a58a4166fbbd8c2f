"""boto3 clients for the AWS stand-in, made from the settings of the local stack.

Everything is given explicitly: no environment variable, profile or proxy of this computer takes
part, and without AWS_ENDPOINT_URL there is no client. So nothing here can reach a real account.

`settings` holds AWS_REGION, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from boto3 import Session
    from botocore.config import Config
    from mypy_boto3_ses import SESClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

THREADS = 8  # more gain nothing against a stand-in that is one process


def ses(settings: Mapping[str, str]) -> SESClient:
    """Make a client of the mail service."""
    endpoint = settings["AWS_ENDPOINT_URL"]
    return _session_of(settings).client("ses", endpoint_url=endpoint, config=_config())


def sns(settings: Mapping[str, str]) -> SNSClient:
    """Make a client of the topics."""
    endpoint = settings["AWS_ENDPOINT_URL"]
    return _session_of(settings).client("sns", endpoint_url=endpoint, config=_config())


def sqs(settings: Mapping[str, str]) -> SQSClient:
    """Make a client of the queues."""
    endpoint = settings["AWS_ENDPOINT_URL"]
    return _session_of(settings).client("sqs", endpoint_url=endpoint, config=_config())


def _session_of(settings: Mapping[str, str]) -> Session:
    return _session(
        settings["AWS_ACCESS_KEY_ID"], settings["AWS_SECRET_ACCESS_KEY"], settings["AWS_REGION"]
    )


@lru_cache(maxsize=4)  # a session reads megabytes of service descriptions, once
def _session(key_id: str, secret: str, region: str) -> Session:
    import boto3  # here, because importing it takes longer than most commands

    return boto3.Session(key_id, secret, region_name=region)


def _config() -> Config:
    from botocore.config import Config

    return Config(proxies={}, max_pool_connections=THREADS, connect_timeout=5, read_timeout=30)
