"""The kinds of feedback SES documents, and where each keeps what we need.

From AWS's pages "Contents of event data" and "Amazon SNS notification contents" of the SES
developer guide. A kind that is not here is still stored, under its own name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Recipients(Enum):
    """Whom an event of a kind is about."""

    NAMED = auto()
    """SES lists them in the kind's own object."""
    DESTINATION = auto()
    """Everybody in `mail.destination`."""
    UNSAID = auto()
    """One person of `mail.destination`, and SES does not say which."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Where one kind keeps its details.

    Attributes:
        details: key of the kind's own object.
        recipients: whom it is about.
        recipients_key: key of the list inside the details; for `Recipients.NAMED`.
        once: SES says it at most once for a mail and recipient, so its time is not needed to
            tell two of them apart.
        timed: the details carry a `timestamp` of their own.
        known: it is one of `KINDS`; another's name comes from the body, which no report quotes.
    """

    details: str
    recipients: Recipients
    recipients_key: str | None = None
    once: bool = False
    timed: bool = True
    known: bool = True

    @property
    def where(self) -> str:
        """How a report names the kind's own object."""
        return self.details if self.known else "the kind's own object"


KINDS = {
    "Bounce": Kind("bounce", Recipients.NAMED, "bouncedRecipients"),
    "Complaint": Kind("complaint", Recipients.NAMED, "complainedRecipients"),
    "Delivery": Kind("delivery", Recipients.NAMED, "recipients", once=True),
    "DeliveryDelay": Kind("deliveryDelay", Recipients.NAMED, "delayedRecipients"),
    "Send": Kind("send", Recipients.DESTINATION, once=True, timed=False),
    "Reject": Kind("reject", Recipients.DESTINATION, once=True, timed=False),
    "Rendering Failure": Kind("failure", Recipients.DESTINATION, once=True, timed=False),
    "Open": Kind("open", Recipients.UNSAID),
    "Click": Kind("click", Recipients.UNSAID),
    "Subscription": Kind("subscription", Recipients.UNSAID),
}


# `detail-type` of EventBridge's page "Amazon Simple Email Service events".
DETAIL_TYPES = {
    "Email Bounced": "Bounce",
    "Email Complaint Received": "Complaint",
    "Email Delivered": "Delivery",
    "Email Delivery Delayed": "DeliveryDelay",
    "Email Sent": "Send",
    "Email Rejected": "Reject",
    "Email Rendering Failed": "Rendering Failure",
    "Email Opened": "Open",
    "Email Clicked": "Click",
    "Email Subscribed": "Subscription",
}
_BY_LETTERS = {name.replace(" ", "").lower(): name for name in KINDS}


def documented_name(name: str) -> str:
    """Return the name that SES's guide gives a kind, for its other spellings; else the same.

    AWS itself writes `RenderingFailure` and `DELIVERY_DELAY` elsewhere. A bounce that is spelled
    `bounce` is one all the same, names its recipients, and must not count twice.
    """
    return _BY_LETTERS.get(name.replace(" ", "").replace("_", "").lower(), name)


def unknown_kind(name: str) -> Kind:
    """Guess where a kind that AWS adds tomorrow keeps its details: "New Thing" in `newThing`."""
    joined = name.replace(" ", "")
    return Kind(joined[:1].lower() + joined[1:], Recipients.UNSAID, known=False)
