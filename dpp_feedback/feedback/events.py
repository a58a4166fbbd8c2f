"""What can become of a message body: feedback events, Ignored, or Rejected.

Values only. How they are read from a body is parser.py's business; how they are stored, store.py's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackEvent:
    """What SES says happened to one mail for one recipient: a row of `ses_feedback_events`.

    Addresses and details stay out of its repr, and so out of logs.

    Attributes:
        notification_type: SES's `notificationType` or `eventType`, verbatim ("Bounce").
        ses_message_id: `mail.messageId`.
        feedback_id: `feedbackId` of a bounce or a complaint.
        source: the sending address, lower case, without display name.
        primary_recipient: this row's recipient, lower case, without display name; None where SES
            does not say which of several recipients it was.
        bounce_type: `bounceType`, verbatim.
        bounce_sub_type: `bounceSubType`, verbatim.
        type_data: what SES says beyond that, keys in snake_case; JSON values, at most 64 KiB.
        configuration_set: the first `ses:configuration-set` of `mail.tags`.
        event_at: when it happened, aware, in UTC.
        sns_message_id: `MessageId` of the SNS envelope, where there is one.
        dedupe_key: see `dedupe_key`.
    """

    notification_type: str
    ses_message_id: str
    feedback_id: str | None
    source: str | None = field(repr=False)
    primary_recipient: str | None = field(repr=False)
    bounce_type: str | None
    bounce_sub_type: str | None
    type_data: dict[str, Any] = field(repr=False)
    configuration_set: str | None
    event_at: datetime
    sns_message_id: str | None
    dedupe_key: str


class IgnoredReason(StrEnum):
    """Why a message is no feedback, and may be acknowledged."""

    SUBSCRIPTION_CONFIRMATION = "subscription_confirmation"
    UNSUBSCRIBE_CONFIRMATION = "unsubscribe_confirmation"
    SUBSCRIPTION_SUCCEEDED = "subscription_succeeded"
    TOPIC_VALIDATED = "topic_validated"
    RECEIVED_MAIL = "received_mail"
    ACCOUNT_EVENT = "account_event"


class RejectedReason(StrEnum):
    """Why a message cannot be stored, and stays in the queue until it reaches the DLQ."""

    EMPTY = "empty"
    NOT_TEXT = "not_text"
    NOT_JSON = "not_json"
    TOO_LARGE = "too_large"
    NOT_SES = "not_ses"
    MISSING_MESSAGE_ID = "missing_message_id"
    MISSING_DETAILS = "missing_details"
    WRONG_TYPE = "wrong_type"
    BAD_TEXT = "bad_text"
    UNSIGNED = "unsigned"
    BAD_SIGNATURE = "bad_signature"
    BAD_CERTIFICATE = "bad_certificate"
    TOPIC_NOT_ALLOWED = "topic_not_allowed"
    PARSER_ERROR = "parser_error"
    REFUSED_BY_DATABASE = "refused_by_database"


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that is in order, but no feedback: acknowledge it.

    Attributes:
        reason: for counting.
        detail: one sentence for a person; names no address and quotes no body.
    """

    reason: IgnoredReason
    detail: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that cannot be stored: leave it in the queue, so that it reaches the DLQ.

    Attributes:
        reason: for counting.
        detail: one sentence for a person; names no address and quotes no body.
        events: what the good records of the same body say (a body may carry several). They are
            stored; the message stays all the same, since part of it has found no home yet.
    """

    reason: RejectedReason
    detail: str
    events: tuple[FeedbackEvent, ...] = ()


Outcome: TypeAlias = tuple[FeedbackEvent, ...] | Ignored | Rejected


def dedupe_key(
    *, anchor: str, notification_type: str, recipient: str | None, occurrence: tuple[str, ...] = ()
) -> str:
    """Name an event so that the same event always gets the same name.

    Made only of what SES says, so it is the same for an SQS redelivery, an SNS duplicate, and an
    event that is published twice (identity notification and configuration set). It begins with
    SES's id, whose first digits are the time in hexadecimal milliseconds: neighbours in time are
    neighbours in the unique index (measured: 3 times the insert rate of random keys at 10 million
    rows). The recipient is hashed, to bound the length and to keep addresses out of logs.

    Args:
        anchor: `feedbackId`, or `mail.messageId` where SES gives none.
        notification_type: the kind.
        recipient: the row's recipient.
        occurrence: what tells two events of this kind for one mail apart (an Open may come
            again): the event's own time, a link. Empty where it can happen only once.

    Returns:
        `<anchor>:<kind>:<16 hex digits>`.
    """
    told_apart_by = "\x1f".join((recipient or "", *occurrence))
    digest = blake2b(told_apart_by.encode(), digest_size=8).hexdigest()
    return f"{anchor}:{notification_type}:{digest}"
