"""The names, addresses and texts that simulated traffic is made of: tables only, no code.

Every domain is one reserved for examples (RFC 2606): nothing here can ever reach a person.
Numbers are weights; only their proportions matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Sender:
    """A verified identity that sends mail.

    Attributes:
        address: the sending address.
        display_name: what stands before it in From; may be empty.
        identity: what SES verified: the address itself or its domain.
        configuration_set: the one it names when it sends.
        subjects: what it writes about.
    """

    address: str
    display_name: str
    identity: str
    configuration_set: str
    subjects: tuple[str, ...]

    @property
    def domain(self) -> str:
        """The domain of the address."""
        return self.address.partition("@")[2]


NEWS = Sender(
    "news@example.com",
    "Example News",
    "example.com",
    "newsletter",
    ("This week in examples", "Zehn Tipps für den Frühling", "What is new \N{PARTY POPPER}"),
)
SENDERS = {
    NEWS: 60,
    Sender(
        "orders@shop.example",
        "Shop Example",
        "shop.example",
        "transactional",
        ("Your order has been shipped", "Votre commande est confirmée", "Receipt for your order"),
    ): 25,
    Sender(
        "no-reply@accounts.example.org",
        "",
        "no-reply@accounts.example.org",
        "security",
        ("Confirm your address", "A new sign-in to your account", "Your password was changed"),
    ): 15,
}

FIRST_NAMES = ("Jane", "Mary", "Richard", "Aiko", "Zoë", "Omar", "Lucia", "Sven", "Priya", "Noah")
LAST_NAMES = ("Doe", "Roe", "O'Neill", "García", "Müller", "Tanaka", "Okafor", "Silva", "Nilsson")
DOMAINS = {
    "example.com": 30,
    "example.net": 20,
    "example.org": 15,
    "mail.example.com": 10,
    "students.university.example": 8,
    "corp.example": 8,
    "Example.COM": 5,  # as people type it; SES passes it on
    "xn--bcher-kva.example": 4,  # IDNA: bücher.example
}
LOOP_DOMAINS = ("example.com", "example.net", "example.org", "mail.example.com")
"""Providers that pass complaints on; companies and universities do not."""


class BounceReason(NamedTuple):
    """Why mails bounce.

    Attributes:
        weight: how often.
        kind: SES's `bounceType`.
        sub_kind: SES's `bounceSubType`.
        status: of the delivery status notification; empty: there was none, only an answer in
            words.
        said: what the receiving server said, with {} for the address.
    """

    weight: float
    kind: str
    sub_kind: str
    status: str
    said: str


_ON_LIST = (
    "Amazon SES did not send the message to this address because it is on the suppression list "
    "for your account."
)
UNKNOWN_USER = BounceReason(
    40, "Permanent", "General", "5.1.1", "smtp; 550 5.1.1 <{}>: user unknown"
)
OUT_OF_OFFICE = BounceReason(9, "Transient", "General", "", "")
BOUNCES = (
    UNKNOWN_USER,
    BounceReason(
        6, "Permanent", "General", "5.1.10", "smtp; 550 5.1.10 RecipientNotFound by SMTP lookup"
    ),
    BounceReason(
        4, "Permanent", "NoEmail", "5.1.3", "smtp; 553 5.1.3 <{}>... no such mailbox name"
    ),
    BounceReason(
        3, "Permanent", "Suppressed", "5.1.1", "Amazon SES has suppressed sending to this address"
    ),
    BounceReason(9, "Permanent", "OnAccountSuppressionList", "5.1.1", _ON_LIST),
    BounceReason(
        9, "Transient", "General", "4.4.7", "smtp; 554 4.4.7 Message expired: unable to deliver"
    ),
    OUT_OF_OFFICE,
    BounceReason(9, "Transient", "MailboxFull", "5.2.2", "smtp; 552 5.2.2 <{}>: mailbox is full"),
    BounceReason(
        2, "Transient", "MessageTooLarge", "5.3.4", "smtp; 552 5.3.4 message size exceeds limit"
    ),
    BounceReason(
        3, "Transient", "ContentRejected", "5.7.1", "smtp; 550 5.7.1 message content rejected"
    ),
    BounceReason(
        1, "Transient", "AttachmentRejected", "5.7.1", "smtp; 552 5.7.1 attachment type refused"
    ),
    BounceReason(5, "Undetermined", "Undetermined", "", ""),
)
"""AWS's table of bounces."""

COMPLAINTS = {"abuse": 85, "not-spam": 2, "fraud": 4, "auth-failure": 3, "virus": 2, "other": 4}
FEEDBACK_LOOPS = ("Example Feedback Loop (V0.01)", "ExampleMail/1.0 FBL", "Example Abuse Desk 2")

DELAYS: tuple[tuple[str, str, str], ...] = (
    ("TransientCommunicationFailure", "4.4.1", "smtp; 421 4.4.1 unable to connect to host"),
    ("MailboxFull", "4.2.2", "smtp; 452 4.2.2 mailbox is full"),
    ("SpamDetected", "4.7.1", "smtp; 451 4.7.1 greylisted, try again later"),
    ("RecipientServerError", "4.3.0", "smtp; 451 4.3.0 temporary server error"),
    ("IPFailure", "4.7.0", "smtp; 421 4.7.0 too many messages from this address"),
    ("General", "4.0.0", "smtp; 450 4.0.0 try again later"),
    ("Undetermined", "4.0.0", "smtp; 400 4.0.0 no reason given"),
)
"""Delay type, status, what the receiving server said."""

RESPONSES = ("250 2.6.0 Message received", "250 ok:  Message 64111812 accepted", "250 2.0.0 OK")
READERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
)
PATHS = ("offers", "account", "article/17", "terms?lang=de&from=mail")
