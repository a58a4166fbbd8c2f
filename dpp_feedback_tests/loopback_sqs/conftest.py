"""The loopback SQS, one process for all tests, as new for each; and boto3 that does not repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def name() -> str:
    """The name of a queue that no other test has."""
    return f"queue-{uuid4().hex}"


def client(url: str, *, read_timeout: float = 30) -> SQSClient:
    """boto3, unmodified, with one attempt: a test sees each failure."""
    return boto3.client(
        "sqs",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(
            retries={"total_max_attempts": 1}, read_timeout=read_timeout, max_pool_connections=20
        ),
    )
