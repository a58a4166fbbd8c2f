"""Daily counts of feedback: what the counter tables hold, and what every rate is made from.

Values only; how they are counted is store.py's business, what they mean is rates.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

OTHERS = "(others)"
"""Stands for all sources, configuration sets or domains that a query did not keep apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many events of one sort happened on one day.

    Text is "" where SES does not say it, or where a query does not tell it apart.

    Attributes:
        day: in UTC, by the event's own time.
        notification_type: SES's kind ("Bounce").
        bounce_type: verbatim ("Permanent").
        bounce_sub_type: verbatim ("MailboxFull").
        complaint_sub_type: verbatim ("OnAccountSuppressionList").
        automatic_reply: a bounce that is the answer of a vacation responder or of a
            challenge-response system: Transient/General without a delivery status notification.
        source: sending address in lower case, without display name and `+label`; "@domain" of a
            variable return path, which has a "=" before the "@".
        configuration_set: the one the mail was sent with.
        recipient_domain: in lower case, as SES wrote it.
        count: events: one for each notification and recipient.
    """

    day: date
    notification_type: str
    bounce_type: str = ""
    bounce_sub_type: str = ""
    complaint_sub_type: str = ""
    automatic_reply: bool = False
    source: str = ""
    configuration_set: str = ""
    recipient_domain: str = ""
    count: int
