"""The launchpad's fields of the jobs that drain a queue. How they are used stands in ingest.py."""

# No `from __future__ import annotations`: Dagster reads the annotations of configs at run time.

import dagster as dg
from pydantic import Field

from dpp_feedback.dlq.reasons import REASONS
from dpp_feedback.dlq.selection import Selection, SelectionError

MAX_MESSAGES = 10_000
LARGEST = 100_000  # a run holds its messages in memory: 350 MB (measured)


class ReprocessConfig(dg.Config):
    """Which dead letters, and whether anything is done to them. Each field may be left out.

    What is wrong here is found by the first op, which says it in a sentence: Dagster itself would
    answer with the stack trace of a config mapping.
    """

    dry_run: bool = Field(
        default=True,
        description="Only say what would become of the messages; store and delete nothing.",
    )
    max_messages: int = Field(
        default=MAX_MESSAGES,
        description=f"At most so many of the selected messages in one run, up to {LARGEST:,}.",
    )
    reasons: list[str] = Field(
        default=[],
        description="Only messages with one of these reasons, as the present parser sees them: "
        f"{', '.join(REASONS)}. `readable` are those it can read now.",
    )
    kinds: list[str] = Field(
        default=[], description="Only these kinds of events: Bounce, Complaint, Delivery, ..."
    )
    message_ids: list[str] = Field(
        default=[], description="Only these messages, by SQS's message id."
    )
    received_after: str | None = Field(
        default=None,
        description="Only messages that SQS received then or later: 2026-02-17T08:30:00Z.",
    )
    received_before: str | None = Field(
        default=None, description="Only messages that SQS received before: 2026-02-18T00:00:00Z."
    )

    def selection(self) -> Selection:
        """Read which messages are meant.

        Raises:
            SelectionError: a field makes no sense.
        """
        if not 1 <= self.max_messages <= LARGEST:
            raise SelectionError(
                f"max_messages is {self.max_messages}: write a number from 1 to {LARGEST:,}."
            )
        return Selection.of(
            reasons=self.reasons,
            kinds=self.kinds,
            message_ids=self.message_ids,
            received_after=self.received_after,
            received_before=self.received_before,
        )


class ReceiveConfig(dg.Config):
    """How much one run takes."""

    max_messages: int = Field(
        default=MAX_MESSAGES, ge=1, le=LARGEST, description="Receive at most so many messages."
    )
    max_seconds: int = Field(
        default=60,
        ge=1,
        le=600,
        description="Receive for at most so long, and a third of the time for which a received "
        "message stays in flight.",
    )
    reprocess: ReprocessConfig | None = Field(
        default=None, description="Set by the job reprocess_dlq: which dead letters."
    )
