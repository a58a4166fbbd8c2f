"""Our own payloads, the envelopes that carry them, and the three ways a body may turn out.

No tests here, and no rule about SES.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpp_feedback.feedback.events import Ignored, Rejected
from dpp_feedback.feedback.parser import parse

if TYPE_CHECKING:
    from dpp_feedback.feedback.events import FeedbackEvent

ROOT = Path(__file__).resolve().parents[2]
PAYLOADS = ROOT / "dpp_feedback_tests" / "payloads"
PUBLIC_PAYLOADS = ROOT / ".." / "shared" / "payloads"  # other people's; beside the repository

SENT_AT = datetime(2026, 2, 18, 12, 0, tzinfo=UTC)  # the queue's SentTimestamp
SNS_ID = "5f3c1d2e-8a9b-4c7d-b6e5-0f1a2b3c4d5e"
MESSAGE_ID = "0100019c6a1f2b40-3d5e7f91-1a2b-4c3d-8e4f-5a6b7c8d9e0f-000000"
FEEDBACK_ID = "0100019c6a1f4c58-9b8a7c6d-0f1e-4d2c-b3a4-958677685940-000000"


def payload(name: str) -> dict[str, Any]:
    """Read one of our payloads: `payload("event_bounce")`."""
    loaded: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text())
    return loaded


def own_payloads() -> list[str]:
    return sorted(path.stem for path in PAYLOADS.glob("*.json"))


def in_sns(message: object, **changes: Any) -> dict[str, Any]:
    """Wrap a message as SNS does; what is not text is encoded first.

    Where the environment names our topics, it comes from one of them: others are rejected.
    """
    return {
        "Type": "Notification",
        "MessageId": SNS_ID,
        "TopicArn": os.environ.get("SNS_BOUNCE_ARN", "arn:aws:sns:eu-west-1:111122223333:feedback"),
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-02-17T12:00:00.250Z",
        **changes,
    }


def in_eventbridge(detail: object, **changes: Any) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": "Email Bounced",
        "source": "aws.ses",
        "time": "2026-02-17T13:00:00Z",
        "region": "eu-west-1",
        "detail": detail,
        **changes,
    }


def events(body: object) -> tuple[FeedbackEvent, ...]:
    """Parse a body that must become events; what is not text or bytes is encoded first."""
    outcome = parse(_encoded(body), SENT_AT)
    assert isinstance(outcome, tuple), outcome
    return outcome


def ignored(body: object) -> Ignored:
    outcome = parse(_encoded(body), SENT_AT)
    assert isinstance(outcome, Ignored), outcome
    return outcome


def rejected(body: object) -> Rejected:
    outcome = parse(_encoded(body), SENT_AT)
    assert isinstance(outcome, Rejected), outcome
    return outcome


def _encoded(body: object) -> str | bytes:
    return body if isinstance(body, str | bytes) else json.dumps(body)
