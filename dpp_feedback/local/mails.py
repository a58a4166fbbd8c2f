"""The mails that simulated traffic is about, and SES's `mail` object for each of them.

Who sent what to whom, SES's ids and times. What happened to a mail is happenings.py's business;
names and addresses to choose from are in words.py.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from dpp_feedback.local import words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

_Chosen = TypeVar("_Chosen")

_ACCOUNT = "123456789012"
_REGION = "us-east-1"
_REGION_PREFIX = "0100"  # how message ids of us-east-1 begin

_ASCII = str.maketrans({"ë": "e", "í": "i", "ü": "u", "'": ""})


@dataclass(frozen=True, slots=True)
class Recipient:
    """Someone a mail goes to.

    Attributes:
        address: as the sender typed it; may have capital letters.
        display_name: what stands before it in To; may be empty.
    """

    address: str
    display_name: str

    @property
    def mailbox(self) -> str:
        """The recipient as the To header has it."""
        return _mailbox(self.display_name, self.address)


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail that SES accepted.

    Attributes:
        message_id: SES's id, as it returned it to the sender.
        sent: when SES accepted it; aware, whole milliseconds.
        sender: who sent it.
        recipients: to whom, one or several.
        subject: as the sender wrote it.
        client_ip: where it was handed in from.
        token: an id of the sender's own, for its headers.
    """

    message_id: str
    sent: datetime
    sender: words.Sender
    recipients: tuple[Recipient, ...]
    subject: str
    client_ip: str
    token: str


def compose(rng: Random, sent: datetime) -> Mail:
    """Invent a mail that was sent at a time; about one in fifteen has several recipients."""
    sender = choose(rng, words.SENDERS)
    several = rng.random() < 1 / 15
    people: dict[str, Recipient] = {}
    for _ in range(rng.randint(2, 4) if several else 1):
        someone = _someone(rng)
        people[someone.address.lower()] = someone  # nobody twice
    return _written(rng, sent, sender, tuple(people.values()))


def compose_to(rng: Random, sent: datetime, sender: words.Sender, domain: str) -> Mail:
    """Invent a mail of one sender to one person at a domain."""
    return _written(rng, sent, sender, (_someone(rng, domain),))


def choose(rng: Random, weights: Mapping[_Chosen, float]) -> _Chosen:
    """Choose one by the weights."""
    return rng.choices(list(weights), list(weights.values()))[0]


def whole(moment: datetime) -> datetime:
    """Cut to milliseconds: SES says no more."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _written(
    rng: Random, sent: datetime, sender: words.Sender, recipients: tuple[Recipient, ...]
) -> Mail:
    return Mail(
        message_id=ses_id(rng, sent),
        sent=sent,
        sender=sender,
        recipients=recipients,
        subject=rng.choice(sender.subjects),
        client_ip=f"192.0.2.{rng.randint(1, 254)}",
        token=f"{rng.getrandbits(96):024x}",
    )


def ses_id(rng: Random, moment: datetime) -> str:
    """Make an id as SES does: the region, the time in hexadecimal milliseconds, then chance."""
    milliseconds = round(moment.timestamp() * 1000)
    chance = uuid.UUID(int=rng.getrandbits(128), version=4)
    return f"{_REGION_PREFIX}{milliseconds:012x}-{chance}-000000"


def iso(moment: datetime) -> str:
    """Write a time as SES does: UTC, milliseconds, Z."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def mail_object(mail: Mail, *, event_publishing: bool) -> dict[str, Any]:
    """Write SES's `mail` object, with the headers that SES includes.

    Only event publishing has tags; only notifications say which IP address and caller sent it.
    """
    sender = mail.sender
    written: dict[str, Any] = {
        "timestamp": iso(mail.sent),
        "source": _mailbox(sender.display_name, sender.address)
        if event_publishing
        else sender.address,
        "sourceArn": f"arn:aws:ses:{_REGION}:{_ACCOUNT}:identity/{sender.identity}",
        "sendingAccountId": _ACCOUNT,
        "messageId": mail.message_id,
        "destination": [recipient.address for recipient in mail.recipients],
        "headersTruncated": False,
        "headers": [{"name": name, "value": value} for name, value in _headers(mail)],
        "commonHeaders": {
            "from": [_mailbox(sender.display_name, sender.address)],
            "date": format_datetime(mail.sent),
            "to": [recipient.mailbox for recipient in mail.recipients],
            "messageId": mail.message_id if event_publishing else _own_id(mail),
            "subject": mail.subject,
        },
    }
    if event_publishing:
        written["tags"] = {
            "ses:operation": ["SendEmail"],
            "ses:configuration-set": [sender.configuration_set],
            "ses:source-ip": [mail.client_ip],
            "ses:from-domain": [sender.domain],
            "ses:caller-identity": ["mailer"],
            "campaign": [f"{sender.configuration_set}-{mail.sent:%Y-%m}"],
        }
    else:
        written |= {"sourceIp": mail.client_ip, "callerIdentity": "mailer"}
    return written


def _headers(mail: Mail) -> list[tuple[str, str]]:
    sender, first = mail.sender, mail.recipients[0]
    date = format_datetime(mail.sent)
    received = (
        f"from mailer.{sender.domain} (mailer.{sender.domain} [{mail.client_ip}]) by "
        f"email-smtp.amazonaws.com with SMTP (SimpleEmailService-d-EXAMPLE) id {mail.token} "
        f"for {first.address}; {date}"
    )
    unsubscribe = f"https://www.{sender.domain}/unsubscribe/{mail.token}"
    return [
        ("Received", received),
        ("From", _mailbox(sender.display_name, sender.address)),
        ("Reply-To", f"support@{sender.domain}"),
        ("To", ", ".join(_mailbox(_encoded(r.display_name), r.address) for r in mail.recipients)),
        ("Message-ID", _own_id(mail)),
        ("Subject", _encoded(mail.subject)),
        ("Date", date),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/alternative; boundary="----=_Part_{mail.token[:16]}"'),
        ("List-Unsubscribe", f"<{unsubscribe}>, <mailto:unsubscribe@{sender.domain}>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("X-SES-CONFIGURATION-SET", sender.configuration_set),
    ]


def _own_id(mail: Mail) -> str:
    """The sender's own Message-ID; SES replaces it in the mail, but shows it here."""
    return f"<{mail.token}@mailer.{mail.sender.domain}>"


def _someone(rng: Random, domain: str | None = None) -> Recipient:
    first, last = rng.choice(words.FIRST_NAMES), rng.choice(words.LAST_NAMES)
    local = f"{first}.{last}{rng.randint(1, 9999)}".translate(_ASCII)
    domain = domain or choose(rng, words.DOMAINS)
    as_typed = local if rng.random() < 0.1 else local.lower()
    display_name = rng.choice(("", "", f"{first} {last}", f'"{last}, {first}"'))
    return Recipient(f"{as_typed}@{domain}", display_name)


def _mailbox(display_name: str, address: str) -> str:
    if not display_name:
        return address
    return f"{display_name} <{address}>"


@lru_cache(maxsize=256)  # names and subjects repeat, and the library is slow
def _encoded(text: str) -> str:
    """Write text that is not ASCII as RFC 2047 wants it in a header."""
    return text if text.isascii() else Header(text, "utf-8", maxlinelen=998).encode()
