"""What the tests of redrive and discard share: messages, the queue of a test, and its tables."""

from __future__ import annotations

import json
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg
    from mypy_boto3_sqs import SQSClient


def delivery(number: int = 0, recipient: str = "secret@example.org") -> str:
    """A body that the parser reads: one event."""
    return json.dumps(
        {
            "notificationType": "Delivery",
            "delivery": {"recipients": [recipient], "timestamp": "2026-02-17T08:30:00.000Z"},
            "mail": {"messageId": f"0100-mail-{number}", "source": "news@example.com"},
        }
    )


class DeadLetters:
    """The dead-letter queue of a test, the queue before it, and what the database says."""

    def __init__(
        self,
        sqs: SQSClient,
        environment: dict[str, str],
        database: psycopg.Connection[tuple[Any, ...]],
    ) -> None:
        self.sqs = sqs
        self.url = environment["SQS_DLQ_URL"]
        self.main_url = environment["SQS_QUEUE_URL"]
        self.database = database

    def send(self, bodies: Sequence[str]) -> list[str]:
        """Send bodies straight to it; return the message ids."""
        return [
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)["MessageId"]
            for body in bodies
        ]

    def depth(self, url: str | None = None) -> tuple[int, int]:
        """Messages waiting, and in flight."""
        said = self.sqs.get_queue_attributes(
            QueueUrl=url or self.url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
            ],
        )["Attributes"]
        return (
            int(said["ApproximateNumberOfMessages"]),
            int(said["ApproximateNumberOfMessagesNotVisible"]),
        )

    def until(self, waiting: int, in_flight: int = 0, url: str | None = None) -> None:
        """Wait until the queue is as it is to be."""
        end = monotonic() + 60
        while self.depth(url) != (waiting, in_flight):
            assert monotonic() < end, self.depth(url)
            sleep(0.1)

    def acts(self) -> list[dict[str, Any]]:
        """The records of acts, the first first."""
        rows = self.database.execute(
            "SELECT to_jsonb(act) FROM public.ses_feedback_dlq_actions AS act ORDER BY started_at"
        )
        return [row[0] for row in rows]

    def rejects(self) -> dict[str, dict[str, Any]]:
        """The rows of rejects, by message id."""
        rows = self.database.execute(
            "SELECT message_id, to_jsonb(row) FROM public.ses_feedback_rejects AS row"
        )
        return {name: row for name, row in rows}  # noqa: C416 - rows are tuples of Any

    def events(self) -> int:
        """How many events are stored."""
        row = self.database.execute("SELECT count(*) FROM public.ses_feedback_events").fetchone()
        assert row
        return int(row[0])
