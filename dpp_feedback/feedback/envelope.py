"""Taking a message body out of what it travelled in: SNS, EventBridge, Lambda, Firehose.

Finds the SES payloads and says what carried them. What a payload means is parser.py's business.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic_core import from_json

from dpp_feedback.feedback.events import Ignored, IgnoredReason, Rejected, RejectedReason
from dpp_feedback.feedback.kinds import DETAIL_TYPES
from dpp_feedback.feedback.values import Refused, text, wrong_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_BODY = 1024 * 1024  # bytes; SQS carries no more in one message
_MAX_LAYERS = 10  # SNS in SQS in Lambda, each encoded twice, is 6
_MAX_RECORDS = 10_000  # SES's own fill a body with 3,000
_BLANK = "\ufeff \t\r\n"
_VALIDATED = "Successfully validated SNS topic"
# How the names of SES's other events begin, by EventBridge's page "Amazon Simple Email Service
# events"; the last is CloudTrail's ("AWS API Call via CloudTrail").
_ACCOUNT_EVENTS = ("Advisor Recommendation", "Sending Status", "AWS ")


@dataclass(frozen=True, slots=True)
class Record:
    """One SES payload and how it came; nothing of the body is in its repr.

    Attributes:
        payload: the object that holds `notificationType` or `eventType`.
        envelopes: what carried it, outermost first; empty for raw delivery.
        sns_message_id: `MessageId` of the SNS envelope.
        sent: the time of the innermost envelope that has one, as it stands there.
    """

    payload: dict[str, Any] = field(repr=False)
    envelopes: tuple[str, ...] = ()
    sns_message_id: str | None = None
    sent: object = field(default=None, repr=False)


_Found: TypeAlias = "Iterator[Record | Ignored | Rejected]"


def outermost(body: str | bytes) -> object:
    """Decode a body, once: what is verified is then what is read.

    Duplicate keys of an object: the last one counts, as in PostgreSQL's jsonb.

    Returns:
        The JSON value; the text itself where the body is no single JSON document.

    Raises:
        Refused: it is empty, too large or no UTF-8.
    """
    stripped = _decode(body).strip(_BLANK)
    if not stripped:
        raise Refused(RejectedReason.EMPTY, "the body is empty")
    try:
        return _load(stripped)
    except ValueError:
        return stripped


def is_sns(value: object) -> bool:
    """Whether a decoded body is read as SNS's envelope: it has a `Type` or a `Message`.

    One that holds SES's own keys beside these is not: it is read as SES's payload.
    """
    if not isinstance(value, dict) or "notificationType" in value or "eventType" in value:
        return False
    return "Type" in value or "Message" in value


def open_body(value: object) -> list[Record | Ignored | Rejected]:
    """Find the SES payloads of one decoded body, in order.

    Never raises for what a body holds; a part that cannot be read is `Rejected` in its place.

    Args:
        value: as `outermost` returns it.
    """
    try:
        found = list(islice(_open(value, Record({}), _MAX_LAYERS), _MAX_RECORDS + 1))
    except Refused as refused:
        return [Rejected(refused.reason, refused.detail)]
    if len(found) > _MAX_RECORDS:
        detail = f"more than {_MAX_RECORDS} records in one body"
        return [Rejected(RejectedReason.TOO_LARGE, detail)]
    return found


def _decode(body: str | bytes) -> str:
    try:
        # Python text may hold half a surrogate pair, which no queue delivers.
        encoded = body.encode() if isinstance(body, str) else body
        decoded = body if isinstance(body, str) else body.decode()
    except UnicodeError:
        raise Refused(RejectedReason.NOT_TEXT, "the body is not UTF-8 text") from None
    if len(encoded) > MAX_BODY:
        detail = f"the body has {len(encoded)} bytes; SQS carries at most {MAX_BODY}"
        raise Refused(RejectedReason.TOO_LARGE, detail)
    return decoded


def _open(value: object, seen: Record, layers: int) -> _Found:
    """Take off one layer and go on inside; `seen` is what the outer layers said."""
    if layers == 0:
        raise Refused(RejectedReason.NOT_SES, f"more than {_MAX_LAYERS} envelopes in one another")
    if isinstance(value, str):
        yield from _open_text(value, seen, layers)
    elif isinstance(value, list):
        yield from _open_each(value, seen, layers)
    elif not isinstance(value, dict):
        raise wrong_type("the body", value, "an object")
    elif "notificationType" in value or "eventType" in value:
        yield _record(value, seen)
    elif is_sns(value):
        yield from _open_sns(value, seen, layers)
    elif "detail-type" in value:
        yield from _open_eventbridge(value, seen, layers)
    else:
        yield from _open_lambda(value, seen, layers)


def _open_text(body: str, seen: Record, layers: int) -> _Found:
    stripped = body.strip(_BLANK)
    if not stripped:
        raise Refused(RejectedReason.EMPTY, "the body is empty")
    if stripped.startswith(_VALIDATED):
        detail = "SES validated the SNS topic when event publishing was set up"
        yield Ignored(IgnoredReason.TOPIC_VALIDATED, detail)
        return
    try:
        value = _load(stripped)
    except ValueError as error:
        lines = stripped.split("\n")  # not splitlines(): JSON text may hold U+2028 as it is
        if len(lines) == 1 or not _is_object(lines[0]):
            where = f"what the {seen.envelopes[-1]} carries" if seen.envelopes else "the body"
            raise Refused(RejectedReason.NOT_JSON, f"{where} is not JSON: {error}") from None
        yield from _open_each(lines, _in(seen, "Firehose"), layers)
    else:
        yield from _open(value, seen, layers - 1)


def _open_each(items: Sequence[object], seen: Record, layers: int) -> _Found:
    empty = True
    for item in items:
        if isinstance(item, str) and not item.strip(_BLANK):
            continue
        empty = False
        try:
            yield from _open(item, seen, layers - 1)
        except Refused as refused:
            yield Rejected(refused.reason, refused.detail)
    if empty:
        raise Refused(RejectedReason.EMPTY, "the body holds no record")


def _open_sns(envelope: dict[str, Any], seen: Record, layers: int) -> _Found:
    kind = envelope.get("Type", "Notification")
    if kind == "SubscriptionConfirmation":
        detail = "SNS asks to confirm a subscription; a queue's needs no confirmation"
        yield Ignored(IgnoredReason.SUBSCRIPTION_CONFIRMATION, detail)
        return
    if kind == "UnsubscribeConfirmation":
        detail = "SNS says that a subscription was removed"
        yield Ignored(IgnoredReason.UNSUBSCRIBE_CONFIRMATION, detail)
        return
    if kind != "Notification" or envelope.get("Message") is None:
        raise Refused(RejectedReason.NOT_SES, "the body looks like SNS, but is no notification")
    inner = Record(
        {},
        (*seen.envelopes, "SNS notification"),
        text(envelope, "MessageId", "SNS envelope") or seen.sns_message_id,
        envelope.get("Timestamp") or seen.sent,
    )
    yield from _open(envelope["Message"], inner, layers - 1)


def _open_eventbridge(envelope: dict[str, Any], seen: Record, layers: int) -> _Found:
    name = text(envelope, "detail-type", "EventBridge") or ""
    if envelope.get("source") == "aws.ses" and name.startswith(_ACCOUNT_EVENTS):
        detail = "an EventBridge event about the account or an identity, not about a mail"
        yield Ignored(IgnoredReason.ACCOUNT_EVENT, detail)
        return
    inner = Record(
        {},
        (*seen.envelopes, "EventBridge"),
        seen.sns_message_id,
        envelope.get("time") or seen.sent,
    )
    carried = envelope.get("detail")
    if carried is None:
        raise Refused(RejectedReason.NOT_SES, "an EventBridge event without its detail")
    if isinstance(carried, dict) and name in DETAIL_TYPES:
        carried = {"eventType": DETAIL_TYPES[name], **carried}  # not everybody passes it on
    yield from _open(carried, inner, layers - 1)


def _open_lambda(value: dict[str, Any], seen: Record, layers: int) -> _Found:
    """What Lambda passes on: `Sns` from a topic, `body` from a queue, `ses` for received mail."""
    if "Records" in value:
        records = value["Records"]
        if not isinstance(records, list):
            raise wrong_type("Records", records, "a list")
        yield from _open_each(records, _in(seen, "Lambda"), layers)
    elif "Sns" in value:
        yield from _open(value["Sns"], seen, layers - 1)
    elif "body" in value:
        yield from _open(value["body"], seen, layers - 1)
    elif "ses" in value:
        yield _record({"notificationType": "Received"}, seen)
    else:
        yield _record(value, seen)


def _in(seen: Record, envelope: str) -> Record:
    return Record({}, (*seen.envelopes, envelope), seen.sns_message_id, seen.sent)


def _record(payload: dict[str, Any], seen: Record) -> Record:
    return Record(payload, seen.envelopes, seen.sns_message_id, seen.sent)


def _is_object(line: str) -> bool:
    try:
        return isinstance(_load(line), dict)
    except ValueError:
        return False


def _load(document: str) -> object:
    """Read JSON strictly: no NaN, at most 200 levels, integers of at most 4,300 digits.

    Half a surrogate pair is what a server leaves that cuts text by UTF-16 units; the meaning of
    the rest is certain, so the half becomes "?".
    """
    try:
        return from_json(document, allow_inf_nan=False)
    except ValueError as error:
        if "hex escape" not in str(error):
            raise
    try:
        whole = json.dumps(json.loads(document), ensure_ascii=False)
    except RecursionError:
        raise ValueError("recursion limit exceeded") from None
    return from_json(whole.encode("utf-8", "replace"), allow_inf_nan=False)
