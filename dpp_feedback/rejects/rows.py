"""What is recorded of a rejected message, and what is read of it. Values only, no statements."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from dpp_feedback.masking import masked
from dpp_feedback.messages import sha256_of, size_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from dpp_feedback.feedback.glance import Glance
    from dpp_feedback.messages import Message


class Resolution(StrEnum):
    """What became of a message that was rejected."""

    WAITING = "waiting"
    REPROCESSED = "reprocessed"
    DISCARDED = "discarded"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A rejected message, to be recorded; its body stays out of its repr, and so out of logs.

    Attributes:
        message_id: of SQS.
        body_sha256: SHA-256 of the body's UTF-8, in hexadecimal.
        body_bytes: its length in UTF-8.
        body: as SQS delivered it; None if nobody has kept it.
        reason: a `RejectedReason`.
        detail: the same for a person; without addresses. Cut to 500 characters when recorded.
        kind: kinds of events that the body names, with commas between; without addresses.
        topic_arn: SNS topic that the body names, if any.
        queue: name of the queue it is in.
        sent_at: SQS's `SentTimestamp`; aware.
    """

    message_id: str
    body_sha256: str
    body_bytes: int
    body: str | None = field(repr=False)
    reason: str
    detail: str
    kind: str | None
    topic_arn: str | None
    queue: str
    sent_at: datetime

    @classmethod
    def of(cls, message: Message, seen: Glance, reason: str, detail: str, queue: str) -> Self:
        """Make the record of a message; a kind that its body names is any text, so it is masked.

        Args:
            message: as received.
            seen: its body at a glance.
            reason: as the class says.
            detail: as the class says.
            queue: name of the queue that it was received from.
        """
        return cls(
            message_id=message.id,
            body_sha256=sha256_of(message.body),
            body_bytes=size_of(message.body),
            body=message.body,
            reason=reason,
            detail=detail,
            kind=masked(", ".join(seen.kinds)) or None,
            topic_arn=seen.topic_arn,
            queue=queue,
            sent_at=message.sent_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectRow:
    """A row of the table, as the comments of its columns say; times are aware."""

    message_id: str
    body_sha256: str
    body_bytes: int
    reason: str
    detail: str
    kind: str | None
    topic_arn: str | None
    queue: str
    sent_at: datetime
    first_seen_at: datetime
    last_seen_at: datetime
    times_seen: int
    parser_version: int
    last_run_id: str | None
    resolution: Resolution
    resolved_at: datetime | None
    resolved_by: str | None = field(repr=False)
    resolved_run_id: str | None
    body_kept_until: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many messages wait.

    Attributes:
        by_reason: number by reason, the most frequent first.
        older: how many of them an older parser rejected, so that they may be readable by now.
    """

    by_reason: Mapping[str, int]
    older: int
