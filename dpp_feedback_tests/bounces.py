"""A bounce as SES writes it: what the tests of the jobs send."""

from __future__ import annotations

import json


def bounce(number: int, *recipients: str) -> str:
    """Write the `number`-th mail's; the same number gives the same event."""
    who = recipients or (f"person{number}@example.org",)
    return json.dumps(
        {
            "notificationType": "Bounce",
            "bounce": {
                "bounceType": "Permanent",
                "bounceSubType": "General",
                "bouncedRecipients": [{"emailAddress": recipient} for recipient in who],
                "timestamp": "2026-02-17T08:30:00.000Z",
                "feedbackId": f"0100019c{number:08x}-feedback",
            },
            "mail": {
                "messageId": f"0100019c{number:08x}-mail",
                "source": "news@example.com",
                "destination": list(who),
                "timestamp": "2026-02-17T08:29:00.000Z",
            },
        }
    )
