"""Why a message lies in the dead-letter queue, as the present parser sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpp_feedback.feedback.events import Ignored, Rejected, RejectedReason

if TYPE_CHECKING:
    from collections.abc import Container

    from dpp_feedback.feedback.glance import Glance

READABLE = "readable"
"""The parser reads it, and no database is known to have refused it: it may go back."""

IGNORED = "ignored"
"""The parser takes it for no feedback by now: put back, it is acknowledged without a trace."""

NOT_KNOWN = "not_known"
"""In the place of a reason: SNS gives no certificate to judge the message by. For lists only."""

REASONS = (*(reason.value for reason in RejectedReason), READABLE, IGNORED)


def reason_now(glance: Glance, message_id: str, refused: Container[str]) -> str:
    """Say why a message would come back here, or that it would not: one of `REASONS`.

    Args:
        glance: of its body.
        message_id: SQS's `MessageId`.
        refused: ids of the messages whose rows the database refused, and that still wait.
    """
    if isinstance(glance.outcome, Rejected):
        return glance.outcome.reason.value
    if message_id in refused:
        return RejectedReason.REFUSED_BY_DATABASE.value
    return IGNORED if isinstance(glance.outcome, Ignored) else READABLE
