"""What the tests of redrive and discard talk to, next to the parts of the whole session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dpp_feedback.resources import FeedbackQueue
from dpp_feedback_tests.dlq.dead_letters import DeadLetters

if TYPE_CHECKING:
    import psycopg
    from mypy_boto3_sqs import SQSClient

    from dpp_feedback.queue import Queue


@pytest.fixture
def dead_letters(
    sqs: SQSClient, environment: dict[str, str], database: psycopg.Connection[tuple[Any, ...]]
) -> DeadLetters:
    return DeadLetters(sqs, environment, database)


@pytest.fixture
def queue(environment: dict[str, str]) -> Queue:
    """The dead-letter queue, as the product calls it."""
    assert environment
    return FeedbackQueue(setting="SQS_DLQ_URL").connect()
