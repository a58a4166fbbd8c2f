"""Messages among simulated traffic that are no feedback: poison, and SES's control messages.

Poison is what breaks careless consumers; each sort must be rejected and end in the dead-letter
queue. Control messages are what SES itself writes to a topic while it is being wired; they must
be acknowledged without a trace.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpp_feedback.local.happenings import Happening

_NESTING = 5_000  # a recursive reader dies at about 1,000

_IDENTITY = "example.com"
_TOPIC = "arn:aws:sns:us-east-1:123456789012:ses-feedback"
_SUBSCRIBED = (
    "You have successfully subscribed your Amazon SNS topic '{topic}' to receive "
    "'{kind}' notifications from Amazon SES for identity '{identity}'."
)


def poison(number: int, spoiled: Happening) -> str:
    """Make a message that no consumer can store.

    Args:
        number: which sort; numbers that follow one another give different sorts.
        spoiled: a bounce or delivery that some sorts are made from.
    """
    return _SORTS[number % len(_SORTS)](spoiled)


def control(number: int) -> str:
    """Make a message that SES writes to a topic by itself, alternating between its two forms."""
    if number % 2:
        return "Successfully validated SNS topic for Amazon SES event publishing."
    kind = ("Bounce", "Complaint", "Delivery")[number // 2 % 3]
    message = _SUBSCRIBED.format(topic=_TOPIC, kind=kind, identity=_IDENTITY)
    return _json({"notificationType": "AmazonSnsSubscriptionSucceeded", "message": message})


def _text(_: Happening) -> str:
    return "Your message could not be delivered. Please contact your administrator."


def _html(_: Happening) -> str:
    return "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"


def _truncated(spoiled: Happening) -> str:
    body = _good(spoiled)
    return body[: len(body) * 2 // 3]


def _other_json(_: Happening) -> str:
    return _json({"orderId": 4711, "status": "shipped", "items": [{"sku": "A-1", "count": 2}]})


def _empty_object(_: Happening) -> str:
    return "{}"


def _number(_: Happening) -> str:
    return "42"


def _no_message_id(spoiled: Happening) -> str:
    written = spoiled.as_dict("notification")
    del written["mail"]["messageId"]
    return _json(written)


def _nul_in_id(spoiled: Happening) -> str:
    written = spoiled.as_dict("notification")
    written["mail"]["messageId"] = "\x00" + spoiled.mail.message_id
    return _json(written)


def _no_details(spoiled: Happening) -> str:
    written = spoiled.as_dict("notification")
    del written[spoiled.details_key]
    return _json(written)


def _mail_is_a_list(spoiled: Happening) -> str:
    return _json(spoiled.as_dict("notification") | {"mail": [spoiled.mail.message_id]})


def _details_are_text(spoiled: Happening) -> str:
    return _json(spoiled.as_dict("notification") | {spoiled.details_key: "failed"})


def _recipient_is_null(spoiled: Happening) -> str:
    key = "recipients" if spoiled.kind == "Delivery" else "bouncedRecipients"
    details = spoiled.details | {key: [None]}
    return _json(spoiled.as_dict("notification") | {spoiled.details_key: details})


def _not_a_number(spoiled: Happening) -> str:
    details = spoiled.details | {"processingTimeMillis": float("nan")}
    return _json(spoiled.as_dict("notification") | {spoiled.details_key: details})


def _nested(_: Happening) -> str:
    inside = "[" * _NESTING + "]" * _NESTING
    return f'{{"notificationType":"Bounce","mail":{{"headers":{inside}}}}}'


def _good(spoiled: Happening) -> str:
    return spoiled.body("notification")


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_SORTS: tuple[Callable[[Happening], str], ...] = (
    _text,
    _truncated,
    _other_json,
    _no_message_id,
    _nul_in_id,
    _details_are_text,
    _empty_object,
    _nested,
    _no_details,
    _mail_is_a_list,
    _recipient_is_null,
    _not_a_number,
    _number,
    _html,
)
