"""One attack through SES's own fields: names that would be code wherever they are shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_TURNED = "\u202egnp.exe\u2066\u200b\u2028"  # turns text around, has no width, ends a line
_BEACON = "![x](https://evil.example/p.png)"

SENDER = f"-2*cmd|'{_BEACON}<!channel>{_TURNED}'!a0@evil.example"
CONFIGURATION_SET = f"\uff1d1*1{{{{7*7}}}}$\\frac{{$<img src=x>{_TURNED}"
SUB_TYPE = f"[link=https://evil.example]{_TURNED}[/]"
DOMAIN = f"x;=1*1<script>alert(1)</script>{_TURNED}.example"
DIAGNOSTIC = f"smtp; 550 \x1b]8;;https://evil.example\x07{_TURNED}\r\nBcc: all@evil.example"
KIND = f"[red]New{_TURNED}`<!here>`"
STEERING = "\x1b[2J\x1b]0;owned\x07"
"""Commands to a terminal: control characters, which no name may hold."""
_STEERING_IN_SQS = (
    "\x9b2J\x9d0;owned\x9c"  # the same in the control characters that SQS lets through
)


def records(at: datetime, deliveries: int, bounces: int, complaints: int) -> list[str]:
    """Make bodies of a day's feedback, as Firehose writes it: a hundred records each."""
    bounce = {
        "bounceType": "Permanent",
        "bounceSubType": SUB_TYPE,
        "bouncedRecipients": [{"emailAddress": "%", "diagnosticCode": DIAGNOSTIC}],
    }
    complaint = {"complainedRecipients": [{"emailAddress": "%"}], "userAgent": DIAGNOSTIC}
    said: list[tuple[str, Mapping[str, object]]] = [
        *[("Delivery", {"recipients": ["%"]})] * deliveries,
        *[("Bounce", bounce)] * bounces,
        *[("Complaint", complaint)] * complaints,
        (KIND, {}),
    ]
    written = [_record(at, number, kind, own) for number, (kind, own) in enumerate(said)]
    return ["\n".join(written[start : start + 100]) for start in range(0, len(written), 100)]


def rejected() -> list[str]:
    """Make bodies that cannot be stored, each hostile in what is told of it."""
    steering = json.dumps(STEERING)[1:-1]
    return [
        f'{{"eventType": "{KIND}{steering}", "mail": {{"messageId": "1"}}}}',
        f'{{"eventType": "Bounce", "mail": {{"messageId": "{steering}"}}, "bounce": {{}}}}',
        f'{{"notificationType": "[red]x", "TopicArn": "arn:aws:sns:x:1:{_STEERING_IN_SQS}"',
        _STEERING_IN_SQS + KIND,
    ]


def _record(at: datetime, number: int, kind: str, own: Mapping[str, object]) -> str:
    details = json.dumps({"timestamp": at.isoformat(), **own})
    body = {
        "eventType": kind,
        "mail": {
            "messageId": f"{number}-{_TURNED}<b>",
            "source": SENDER,
            "tags": {"ses:configuration-set": [CONFIGURATION_SET]},
        },
        kind.lower(): json.loads(details.replace("%", f"person{number}@{DOMAIN}")),
    }
    return json.dumps(body)
