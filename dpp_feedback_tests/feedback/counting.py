"""Counts for the tests of rates, trends, incidents and analyses."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from dpp_feedback.feedback.counts import Count

AS_OF = date(2026, 6, 30)  # a Tuesday


def count(kind: str, number: int = 1, back: int = 0, **changes: Any) -> Count:
    """Events of a kind, `back` days before `AS_OF`."""
    day = AS_OF - timedelta(days=back)
    return Count(day=day, notification_type=kind, count=number, **changes)


def hard(number: int = 1, back: int = 0, **changes: Any) -> Count:
    changes = {"bounce_sub_type": "General", **changes}
    return count("Bounce", number, back, bounce_type="Permanent", **changes)


def soft(number: int = 1, back: int = 0, **changes: Any) -> Count:
    changes = {"bounce_sub_type": "MailboxFull", **changes}
    return count("Bounce", number, back, bounce_type="Transient", **changes)
