"""Messages with a canary wherever SES puts something that a person wrote, or that names one.

The words are of the fields, so that what is found tells which field it came from.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from dpp_feedback_tests.canaries.search import canary
from dpp_feedback_tests.feedback.bodies import in_sns

PEOPLE = (
    *("recipient", "display-name", "diagnostic-code", "verp", "sender-name", "header", "subject"),
    *("tag", "link", "user-agent", "complainer", "poison", "kind", "refused", "bug", "trigger"),
)
"""Names of the canaries in messages."""

_TOPIC = "arn:aws:sns:ap-northeast-2:000000000000:decisionproof-ses-bounce"  # of the local stack


def event(kind: str, name: str = "recipient", **details: Any) -> str:
    """Write a message as event publishing sends it, of yesterday, about a canary's address."""
    at = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="milliseconds")
    who = f"{canary(name)}@gmail.com"
    to = f'"{canary("display-name")} Doe" <{who}>'
    key = kind[0].lower() + kind[1:]
    recipient = {
        "emailAddress": to,
        "status": "5.1.1",
        "diagnosticCode": f"smtp; 550 5.1.1 <{who}>: {canary('diagnostic-code')} unknown",
    }
    # Variable return path: the sender's address names the recipient.
    source = f"news+{canary('verp')}=gmail.com@decisionproof.example"
    body = {
        "eventType": kind,
        key: {
            "timestamp": at,
            "feedbackId": f"0100019c6a1f4c58-{uuid4()}-000000",
            "bounceType": "Permanent",
            "bounceSubType": "General",
            "bouncedRecipients": [recipient],
            "complainedRecipients": [recipient],
            "recipients": [to],
            "smtpResponse": f"250 OK {canary('diagnostic-code')}",
            "link": f"https://shop.example/?to={who}&x={canary('link')}",
            "userAgent": f"Mail {canary('user-agent')}",
            **details,
        },
        "mail": {
            "timestamp": at,
            "messageId": f"0100019c6a1f2b40-{uuid4()}-000000",
            "source": f"{canary('sender-name')} <{source}>",
            "destination": [to],
            "headers": [{"name": "X-Customer", "value": canary("header")}],
            "commonHeaders": {"subject": canary("subject"), "to": [to], "from": [source]},
            "tags": {"customer": [canary("tag")], "ses:configuration-set": ["marketing"]},
        },
    }
    return json.dumps(in_sns(body, MessageId=str(uuid4()), TopicArn=_TOPIC))


def poison() -> list[str]:
    """Write messages that are rejected, each for a reason of its own."""
    word = canary("poison")
    mail = {"messageId": f"{word}", "source": f"{word}@example.com"}
    return [
        f"{word}@example.com, no JSON at all",
        json.dumps({"hello": f"{word}@example.com"}),
        json.dumps({"notificationType": "Bounce", "mail": mail}),
        json.dumps({"notificationType": "Bounce", "mail": mail, "bounce": word}),
        json.dumps({"notificationType": f"{canary('kind')}@example.com", "mail": {"to": word}}),
        json.dumps({"eventType": "Bounce", "mail": {"messageId": [word]}, "bounce": {}}),
        event("Bounce", "poison", bouncedRecipients=[{"emailAddress": f"{word}\u0000@x.example"}]),
    ]
