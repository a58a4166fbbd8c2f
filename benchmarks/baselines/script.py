"""What the scripts share: their settings, the statement, and how they report."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import boto3
import click
import psycopg
from botocore.config import Config
from psycopg.types.json import Jsonb

from benchmarks.accounting import peak_mb

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from benchmarks.accounting import Clock
    from dpp_feedback.feedback.events import FeedbackEvent

_COLUMNS = (
    "notification_type",
    "ses_message_id",
    "feedback_id",
    "source",
    "primary_recipient",
    "bounce_type",
    "bounce_sub_type",
    "type_data",
    "configuration_set",
    "event_at",
    "sns_message_id",
    "dedupe_key",
)
INSERT = f"""
INSERT INTO public.ses_feedback_events ({", ".join(_COLUMNS)})
VALUES ({", ".join(["%s"] * len(_COLUMNS))})
ON CONFLICT (dedupe_key) DO NOTHING
"""  # noqa: S608 - made of the constants above


@dataclass(frozen=True, slots=True)
class Report:
    """What a script prints, as JSON."""

    messages: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


def queue_url() -> str:
    """Name the queue that is full."""
    return os.environ["SQS_QUEUE_URL"]


def client(connections: int = 10) -> SQSClient:
    """Make boto3's client of SQS, with so many connections; 10 are botocore's default."""
    return boto3.client("sqs", config=Config(max_pool_connections=connections))


def database() -> psycopg.Connection[tuple[Any, ...]]:
    """Connect to the database, as psycopg's documentation does it."""
    return psycopg.connect(os.environ["DATABASE_URL"])


def row(event: FeedbackEvent) -> tuple[Any, ...]:
    """Write an event as a row for `INSERT`."""
    values = {name: getattr(event, name) for name in _COLUMNS}
    return tuple((values | {"type_data": Jsonb(event.type_data)}).values())


def report(messages: int, clock: Clock) -> None:
    """Print what it took."""
    spent = clock.spent()
    said = Report(messages, spent.seconds, spent.cpu_seconds, peak_mb())
    click.echo(json.dumps(asdict(said)))
