"""Taking a message body out of what it travelled in: SNS, EventBridge, Lambda, Firehose.

Finds the SES payloads and says what carried them. What a payload means is parser.py's business.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import from_json

from dpp_feedback.feedback.events import Ignored, IgnoredReason, Rejected, RejectedReason
from dpp_feedback.feedback.values import Refused, text, wrong_type

MAX_BODY = 1024 * 1024  # bytes; SQS carries no more in one message
_MAX_LAYERS = 10  # SNS in SQS in Lambda, each encoded twice, is 6
_BLANK = "\ufeff \t\r\n"
_VALIDATED = "Successfully validated SNS topic"
_ACCOUNT_EVENTS = ("Advisor Recommendation", "Sending Status")


@dataclass(frozen=True, slots=True)
class Record:
    """One SES payload and how it came.

    Attributes:
        payload: the object that holds `notificationType` or `eventType`.
        envelopes: what carried it, outermost first; empty for raw delivery.
        sns_message_id: `MessageId` of the SNS envelope.
        topic_arn: `TopicArn` of the SNS envelope.
        sent: the innermost envelope's time, as it stands there.
    """

    payload: dict[str, Any]
    envelopes: tuple[str, ...] = ()
    sns_message_id: str | None = None
    topic_arn: str | None = None
    sent: object = None


def open_body(body: str | bytes) -> list[Record | Ignored | Rejected]:
    """Find the SES payloads of one message body, in order.

    Never raises for what a body holds; a part that cannot be read is `Rejected` in its place.
    Duplicate keys of an object: the last one counts, as in PostgreSQL's jsonb.
    """
    try:
        return _open(_decode(body), Record({}), _MAX_LAYERS)
    except Refused as refused:
        return [Rejected(refused.reason, refused.detail)]


def _decode(body: str | bytes) -> str:
    if len(body) > MAX_BODY:
        raise Refused(
            RejectedReason.TOO_LARGE,
            f"the body has {len(body)} bytes; SQS carries at most {MAX_BODY}",
        )
    try:
        if isinstance(body, bytes):
            return body.decode()
        body.encode()  # half a surrogate pair in Python text, which no queue delivers
    except UnicodeError:
        raise Refused(RejectedReason.NOT_TEXT, "the body is not UTF-8 text") from None
    return body


def _open(value: object, seen: Record, layers: int) -> list[Record | Ignored | Rejected]:
    """Take off one layer and go on inside; `seen` is what the outer layers said."""
    if layers == 0:
        raise Refused(RejectedReason.NOT_SES, f"more than {_MAX_LAYERS} envelopes in one another")
    if isinstance(value, str):
        return _open_text(value, seen, layers)
    if isinstance(value, list):
        return _open_each(value, seen, layers)
    if not isinstance(value, dict):
        raise wrong_type("the body", value, "an object")
    if "Type" in value or ("Message" in value and "TopicArn" in value):
        return _open_sns(value, seen, layers)
    if "detail-type" in value:
        return _open_eventbridge(value, seen, layers)
    if "Records" in value:
        inside = value["Records"]
        if not isinstance(inside, list):
            raise wrong_type("Records", inside, "a list")
        return _open_each([_lambda_record(item) for item in inside], _in(seen, "Lambda"), layers)
    return [replace(seen, payload=value)]


def _open_text(body: str, seen: Record, layers: int) -> list[Record | Ignored | Rejected]:
    stripped = body.strip(_BLANK)
    if not stripped:
        raise Refused(RejectedReason.EMPTY, "the body is empty")
    if stripped.startswith(_VALIDATED):
        detail = "SES validated the SNS topic when event publishing was set up"
        return [Ignored(IgnoredReason.TOPIC_VALIDATED, detail)]
    try:
        value = _load(stripped)
    except ValueError as error:
        lines = stripped.splitlines()
        if len(lines) == 1 or not _is_object(lines[0]):
            raise Refused(RejectedReason.NOT_JSON, f"not JSON: {error}") from None
        return _open_each(list(lines), _in(seen, "Firehose"), layers)
    return _open(value, seen, layers - 1)


def _open_each(items: list[Any], seen: Record, layers: int) -> list[Record | Ignored | Rejected]:
    found: list[Record | Ignored | Rejected] = []
    for item in items:
        if isinstance(item, str) and not item.strip(_BLANK):
            continue
        try:
            found += _open(item, seen, layers - 1)
        except Refused as refused:
            found.append(Rejected(refused.reason, refused.detail))
    if not found:
        raise Refused(RejectedReason.EMPTY, "the body holds no record")
    return found


def _open_sns(
    envelope: dict[str, Any], seen: Record, layers: int
) -> list[Record | Ignored | Rejected]:
    kind = envelope.get("Type", "Notification")
    if kind == "SubscriptionConfirmation":
        detail = "SNS asks to confirm a subscription; a queue's needs no confirmation"
        return [Ignored(IgnoredReason.SUBSCRIPTION_CONFIRMATION, detail)]
    if kind == "UnsubscribeConfirmation":
        detail = "SNS says that a subscription was removed"
        return [Ignored(IgnoredReason.UNSUBSCRIBE_CONFIRMATION, detail)]
    if kind != "Notification" or "Message" not in envelope:
        raise Refused(RejectedReason.NOT_SES, "the body looks like SNS, but is no notification")
    inner = replace(
        _in(seen, "SNS notification"),
        sns_message_id=text(envelope, "MessageId", "SNS envelope"),
        topic_arn=text(envelope, "TopicArn", "SNS envelope"),
        sent=envelope.get("Timestamp"),
    )
    return _open(envelope["Message"], inner, layers - 1)


def _open_eventbridge(
    envelope: dict[str, Any], seen: Record, layers: int
) -> list[Record | Ignored | Rejected]:
    name = str(envelope["detail-type"])
    if envelope.get("source") == "aws.ses" and name.startswith(_ACCOUNT_EVENTS):
        detail = "an EventBridge event about the account or an identity, not about a mail"
        return [Ignored(IgnoredReason.ACCOUNT_EVENT, detail)]
    inner = replace(_in(seen, "EventBridge"), sent=envelope.get("time"))
    return _open(envelope.get("detail"), inner, layers - 1)


def _lambda_record(record: object) -> object:
    """What Lambda passes on: `Sns` from a topic, `body` from a queue, `ses` for received mail."""
    if isinstance(record, dict):
        for key in ("Sns", "body"):
            if key in record:
                return record[key]
        if isinstance(received := record.get("ses"), dict):
            return {"notificationType": "Received", **received}
    return record


def _in(seen: Record, envelope: str) -> Record:
    return replace(seen, envelopes=(*seen.envelopes, envelope))


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
