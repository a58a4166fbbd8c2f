"""One message body in; feedback events, Ignored, or Rejected out.

The rules of both SES formats: notifications (`notificationType`) and event publishing
(`eventType`). No clock, no network, no exception for any body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic_core import to_json

from dpp_feedback.feedback.envelope import Record, open_body, outermost
from dpp_feedback.feedback.events import (
    FeedbackEvent,
    Ignored,
    IgnoredReason,
    Outcome,
    Rejected,
    RejectedReason,
    dedupe_key,
)
from dpp_feedback.feedback.kinds import (
    KINDS,
    Kind,
    Recipients,
    documented_name,
    unknown_kind,
)
from dpp_feedback.feedback.values import Refused, address, details, instant, text, wrong_type

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

PARSER_VERSION = 1
"""Raised with each change of what becomes of a body, so that old rejections are tried again.

feedback/test_parser_version.py fails when the code of envelope, events, kinds, parser or values
changes and nobody has thought of this.
"""

MAX_TYPE_DATA = 64 * 1024  # bytes of JSON in one row; SES's own have below 4 KiB
MAX_ROWS = 1024 * 1024  # bytes of JSON in the rows of one record, which each repeat what is shared
MAX_RECIPIENTS = 100  # SES sends a mail to at most 50
MAX_EVENTS = 10_000  # of one body

_NOT_FEEDBACK = {
    "Received": (IgnoredReason.RECEIVED_MAIL, "about a mail that SES received, not one it sent"),
    "AmazonSnsSubscriptionSucceeded": (
        IgnoredReason.SUBSCRIPTION_SUCCEEDED,
        "SES says that an identity's notifications now go to this topic",
    ),
}


Admit: TypeAlias = "Callable[[object], Rejected | None]"
"""Says of a decoded body, as `envelope.outermost` returns it, why it may not come in; None: it may.

What it raises is a fault of its own, and none of the body's.
"""


def anything(_value: object) -> None:
    """Let every body in, whoever wrote it."""


def parse(body: str | bytes, sent_at: datetime, admit: Admit = anything) -> Outcome:
    """Read one message body of the queue.

    Args:
        body: as SQS delivered it.
        sent_at: the queue's `SentTimestamp`, aware: the event's time where nothing else says it.
        admit: is asked about the very object that is read afterwards.

    Returns:
        Events, one for each recipient SES names; or why there are none.

    Raises:
        ValueError: `sent_at` has no time zone. No body raises anything.
    """
    if sent_at.tzinfo is None:
        raise ValueError("sent_at has no time zone")
    try:
        value = outermost(body)
    except Refused as refused:
        return Rejected(refused.reason, refused.detail)
    except Exception as error:
        return _failed(error)
    if (refusal := admit(value)) is not None:
        return refusal
    try:
        return _together(open_body(value), sent_at)
    except Exception as error:
        return _failed(error)


def read_record(record: Record, sent_at: datetime) -> Outcome:
    """Read one SES payload; `parse` does this for each record of a body."""
    try:
        return _read(record, sent_at)
    except Refused as refused:
        return Rejected(refused.reason, refused.detail)


def _failed(error: Exception) -> Rejected:
    """A fault of ours in one body must not stop the others."""
    return Rejected(RejectedReason.PARSER_ERROR, f"the parser failed: {type(error).__name__}")


def _together(records: list[Record | Ignored | Rejected], sent_at: datetime) -> Outcome:
    """Sum up the records of a body: one that is rejected keeps the message in the queue."""
    events: list[FeedbackEvent] = []
    ignored: Ignored | None = None
    rejected: Rejected | None = None
    for number, record in enumerate(records, 1):
        outcome = read_record(record, sent_at) if isinstance(record, Record) else record
        if isinstance(outcome, tuple):
            events += outcome
        elif isinstance(outcome, Ignored):
            ignored = outcome
        elif rejected is None:
            where = f"record {number} of {len(records)}: " if len(records) > 1 else ""
            rejected = Rejected(outcome.reason, where + outcome.detail)
        if len(events) > MAX_EVENTS:
            detail = f"more than {MAX_EVENTS} recipients in one body"
            return Rejected(RejectedReason.TOO_LARGE, detail)
    if rejected:
        return Rejected(rejected.reason, rejected.detail, tuple(events))
    return ignored if ignored and not events else tuple(events)


def _read(record: Record, sent_at: datetime) -> Outcome:
    payload = record.payload
    name = text(payload, "notificationType", "SES") or text(payload, "eventType", "SES")
    if name is None:
        detail = "neither notificationType nor eventType: not written by SES"
        raise Refused(RejectedReason.NOT_SES, detail)
    if name in _NOT_FEEDBACK:
        return Ignored(*_NOT_FEEDBACK[name])
    name = documented_name(name)
    kind = KINDS.get(name) or unknown_kind(name)
    mail = _object(payload, "mail", "mail") or {}
    said = _object(payload, kind.details, kind.where)
    if said is None and kind.recipients is Recipients.NAMED:
        detail = f"a {name} without its {kind.where} object"
        raise Refused(RejectedReason.MISSING_DETAILS, detail)
    return _events(name, kind, mail, said or {}, record, sent_at)


def _events(
    name: str,
    kind: Kind,
    mail: dict[str, Any],
    said: dict[str, Any],
    record: Record,
    sent_at: datetime,
) -> tuple[FeedbackEvent, ...]:
    """One event for each recipient; `said` is the kind's own object."""
    ses_message_id = text(mail, "messageId", "mail")
    if ses_message_id is None:
        detail = "no mail.messageId: the event could not be traced, nor counted once"
        raise Refused(RejectedReason.MISSING_MESSAGE_ID, detail)
    feedback_id = text(said, "feedbackId", kind.where)
    own_time = instant(said.get("timestamp"))
    event_at, time_from = _event_time(kind, own_time, mail, record, sent_at)
    occurrence: tuple[str, ...] = ()
    if not (feedback_id or kind.once):
        occurrence = (own_time.isoformat() if own_time else "", str(said.get("link", "")))
    tags = _object(mail, "tags", "mail.tags")
    source = address(mail["source"], "mail.source") if mail.get("source") else None
    bounce_type = text(said, "bounceType", kind.where)
    bounce_sub_type = text(said, "bounceSubType", kind.where)
    configuration_set = _configuration_set(tags)

    left_out = frozenset({"timestamp", "feedbackId", kind.recipients_key or ""})
    shared = details(said, left_out)
    if tags:
        shared |= details({"tags": tags})
    if time_from:
        shared["event_time_from"] = time_from

    recipients = _recipients(kind, name, said, mail)
    _check_size(shared, recipients)
    return tuple(
        FeedbackEvent(
            notification_type=name,
            ses_message_id=ses_message_id,
            feedback_id=feedback_id,
            source=source,
            primary_recipient=recipient,
            bounce_type=bounce_type,
            bounce_sub_type=bounce_sub_type,
            type_data=shared | own,
            configuration_set=configuration_set,
            event_at=event_at,
            sns_message_id=record.sns_message_id,
            dedupe_key=dedupe_key(
                anchor=feedback_id or ses_message_id,
                notification_type=name,
                recipient=recipient,
                occurrence=occurrence,
            ),
        )
        for recipient, own in recipients.items()
    )


def _check_size(shared: dict[str, Any], recipients: dict[str | None, dict[str, Any]]) -> None:
    shared_size = len(to_json(shared))
    sizes = [shared_size + len(to_json(own)) for own in recipients.values()]
    if max(sizes) > MAX_TYPE_DATA:
        detail = f"the details of one recipient take {max(sizes)} bytes, at most {MAX_TYPE_DATA}"
        raise Refused(RejectedReason.TOO_LARGE, detail)
    if sum(sizes) > MAX_ROWS:
        detail = f"the details of all recipients take {sum(sizes)} bytes, at most {MAX_ROWS}"
        raise Refused(RejectedReason.TOO_LARGE, detail)


def _event_time(
    kind: Kind, own: datetime | None, mail: dict[str, Any], record: Record, sent_at: datetime
) -> tuple[datetime, str | None]:
    """When it happened, and where that stands if not where this kind should have it."""
    if own:
        return own, None
    if mailed := instant(mail.get("timestamp")):
        return mailed, "mail" if kind.timed else None
    if sent := instant(record.sent):
        return sent, "envelope"
    return sent_at, "queue"


def _recipients(
    kind: Kind, name: str, said: dict[str, Any], mail: dict[str, Any]
) -> dict[str | None, dict[str, Any]]:
    """Whom the event is about, each with its own details; a repeated recipient counts once."""
    key = kind.recipients_key
    named = _list(said, key, kind.where) if key else []
    if named:
        return dict(_named(item, f"{kind.where}.{key}[{i}]") for i, item in enumerate(named))
    destination = [
        address(item, f"mail.destination[{i}]")
        for i, item in enumerate(_list(mail, "destination", "mail"))
    ]
    everybody = kind.recipients is Recipients.DESTINATION or name == "Complaint"
    if destination and (everybody or len(destination) == 1):
        return {recipient: {} for recipient in destination}
    return {None: {"destination_count": len(destination)}}


def _named(item: object, where: str) -> tuple[str, dict[str, Any]]:
    if isinstance(item, dict):
        recipient = address(item.get("emailAddress"), f"{where}.emailAddress")
        return recipient, details(item, frozenset({"emailAddress"}))
    return address(item, where), {}


def _configuration_set(tags: dict[str, Any] | None) -> str | None:
    named = (tags or {}).get("ses:configuration-set")
    first = named[0] if isinstance(named, list) and named else named
    return text({"name": first}, "name", "mail.tags.ses:configuration-set")


def _object(holder: dict[str, Any], key: str, where: str) -> dict[str, Any] | None:
    value = holder.get(key)
    if value is not None and not isinstance(value, dict):
        raise wrong_type(where, value, "an object")
    return value


def _list(holder: dict[str, Any], key: str, where: str) -> list[Any]:
    value = holder.get(key)
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise wrong_type(f"{where}.{key}", value, "a list")
    if len(value) > MAX_RECIPIENTS:
        detail = f"{where}.{key} names {len(value)} recipients; SES sends to at most 50"
        raise Refused(RejectedReason.TOO_LARGE, detail)
    return value
