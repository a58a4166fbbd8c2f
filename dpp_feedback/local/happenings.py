"""What happens to simulated mails: the ten kinds of events, as AWS documents them.

Each kind has one function that invents the kind's own object and says whom it is about. The
`mail` object is mails.py's business; how many of what is published, traffic.py's.

AWS's pages: "Amazon SNS notification contents" and "Contents of event data" of the SES
developer guide.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from dpp_feedback.feedback.events import dedupe_key
from dpp_feedback.local import words
from dpp_feedback.local.mails import Mail, Recipient, choose, iso, mail_object, ses_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

Format: TypeAlias = Literal["notification", "event-publishing"]

_MTA = "a8-{}.smtp-out.amazonses.com"


@dataclass(frozen=True, slots=True)
class Happening:
    """One event about one mail.

    Attributes:
        kind: SES's `eventType`.
        mail: which mail.
        details_key: where the kind's own object stands.
        details: the kind's own object.
        dedupe_keys: one for each row the event must lead to.
    """

    kind: str
    mail: Mail
    details_key: str
    details: dict[str, Any]
    dedupe_keys: tuple[str, ...]

    def as_dict(self, form: Format) -> dict[str, Any]:
        """Write the event as SES publishes it in one of its two formats."""
        publishing = form == "event-publishing"
        return {
            "eventType" if publishing else "notificationType": self.kind,
            self.details_key: self.details,
            "mail": mail_object(self.mail, event_publishing=publishing),
        }

    def body(self, form: Format) -> str:
        """The same as the text that SES gives to SNS."""
        return json.dumps(self.as_dict(form), ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class _Told:
    """What a kind's function says: its object, whom it is about, and what names the event."""

    details: dict[str, Any]
    about: Sequence[Recipient | None]
    feedback_id: str | None = None
    occurrence: tuple[str, ...] = ()


def happen(kind: str, rng: Random, mail: Mail, moment: datetime) -> Happening:
    """Invent what SES says about a mail.

    Args:
        kind: one of `KINDS`.
        rng: where chance comes from.
        mail: the mail.
        moment: when it happened; aware, whole milliseconds.
    """
    return _happening(kind, mail, KINDS[kind][1](rng, mail, moment))


def bounce(rng: Random, mail: Mail, moment: datetime, reason: words.BounceReason) -> Happening:
    """Invent what SES says about a mail that bounced for a reason."""
    return _happening("Bounce", mail, _bounced(rng, mail, moment, reason))


def complaint(rng: Random, mail: Mail, moment: datetime) -> Happening:
    """Invent what SES says about a mail that was delivered, and that somebody complained of."""
    return _happening("Complaint", mail, _complained(rng, mail, moment))


def _happening(kind: str, mail: Mail, told: _Told) -> Happening:
    keys = tuple(
        dedupe_key(
            anchor=told.feedback_id or mail.message_id,
            notification_type=kind,
            recipient=someone.address.lower() if someone else None,
            occurrence=told.occurrence,
        )
        for someone in told.about
    )
    return Happening(kind, mail, KINDS[kind][0], told.details, keys)


def _bounce(rng: Random, mail: Mail, moment: datetime) -> _Told:
    reason = rng.choices(words.BOUNCES, [reason.weight for reason in words.BOUNCES])[0]
    return _bounced(rng, mail, moment, reason)


def _bounced(rng: Random, mail: Mail, moment: datetime, reason: words.BounceReason) -> _Told:
    _, kind, sub_kind, status, said = reason
    bounced = rng.sample(mail.recipients, rng.randint(1, len(mail.recipients)))
    feedback_id = ses_id(rng, moment)
    suppressed = sub_kind in {"Suppressed", "OnAccountSuppressionList"}  # SES never tried
    details: dict[str, Any] = {
        "feedbackId": feedback_id,
        "bounceType": kind,
        "bounceSubType": sub_kind,
        "bouncedRecipients": [
            {
                "emailAddress": someone.address,
                "action": "failed",
                "status": status,
                "diagnosticCode": said.format(someone.address),
            }
            if status
            else {"emailAddress": someone.mailbox}  # then it is taken from the To header
            for someone in bounced
        ],
        "timestamp": iso(moment),
    }
    if not suppressed:
        details["remoteMtaIp"] = f"198.51.100.{rng.randint(1, 254)}"
    if status:
        reporter = "amazonses.com" if suppressed else _MTA.format(rng.randint(1, 99))
        details["reportingMTA"] = f"dns; {reporter}"
    return _Told(details, bounced, feedback_id)


def _complaint(rng: Random, mail: Mail, moment: datetime) -> _Told:
    if rng.random() >= 0.15:
        return _complained(rng, mail, moment)
    feedback_id = ses_id(rng, moment)
    details: dict[str, Any] = {  # SES did not send it at all, and names nobody
        "feedbackId": feedback_id,
        "timestamp": iso(moment),
        "complaintSubType": "OnAccountSuppressionList",
        "complainedRecipients": [],
    }
    return _Told(details, mail.recipients, feedback_id)


def _complained(rng: Random, mail: Mail, moment: datetime) -> _Told:
    feedback_id = ses_id(rng, moment)
    # A feedback loop names one person, or hides who it was: then SES lists all it may have been.
    complained = mail.recipients if rng.random() < 0.3 else mail.recipients[:1]
    details: dict[str, Any] = {
        "feedbackId": feedback_id,
        "timestamp": iso(moment),
        "complaintSubType": None,
        "complainedRecipients": [{"emailAddress": someone.address} for someone in complained],
    }
    if rng.random() < 0.9:  # else the report had no machine-readable part
        details |= {
            "userAgent": rng.choice(words.FEEDBACK_LOOPS),
            "complaintFeedbackType": choose(rng, words.COMPLAINTS),
            "arrivalDate": iso(moment),
        }
    return _Told(details, complained, feedback_id)


def _delivery(rng: Random, mail: Mail, moment: datetime) -> _Told:
    details = {
        "timestamp": iso(moment),
        "processingTimeMillis": round((moment - mail.sent) / timedelta(milliseconds=1)),
        "recipients": [someone.address for someone in mail.recipients],
        "smtpResponse": rng.choice(words.RESPONSES),
        "remoteMtaIp": f"198.51.100.{rng.randint(1, 254)}",
        "reportingMTA": _MTA.format(rng.randint(1, 99)),
    }
    return _Told(details, mail.recipients)


def _delay(rng: Random, mail: Mail, moment: datetime) -> _Told:
    kind, status, said = rng.choice(words.DELAYS)
    details = {
        "timestamp": iso(moment),
        "delayType": kind,
        "expirationTime": iso(mail.sent + timedelta(hours=14)),
        "reportingMTA": _MTA.format(rng.randint(1, 99)),
        "delayedRecipients": [
            {"emailAddress": someone.address, "status": status, "diagnosticCode": said}
            for someone in mail.recipients
        ],
    }
    return _Told(details, mail.recipients, occurrence=(moment.isoformat(), ""))


def _send(_rng: Random, mail: Mail, _moment: datetime) -> _Told:
    return _Told({}, mail.recipients)


def _reject(_rng: Random, mail: Mail, _moment: datetime) -> _Told:
    return _Told({"reason": "Bad content"}, mail.recipients)


def _rendering_failure(rng: Random, mail: Mail, _moment: datetime) -> _Told:
    missing = rng.choice(("firstName", "orderNumber", "items"))
    message = f"Attribute '{missing}' is not present in the rendering data."
    template = f"{mail.sender.configuration_set}-v2"
    return _Told({"errorMessage": message, "templateName": template}, mail.recipients)


def _open(rng: Random, mail: Mail, moment: datetime) -> _Told:
    details = _reader(rng, moment)
    return _Told(details, _unsaid(mail), occurrence=(moment.isoformat(), ""))


def _click(rng: Random, mail: Mail, moment: datetime) -> _Told:
    link = f"https://www.{mail.sender.domain}/{rng.choice(words.PATHS)}"
    tags = {"linkTags": {"position": [rng.choice(("top", "footer"))]}} if rng.random() < 0.5 else {}
    details = _reader(rng, moment) | {"link": link} | tags
    return _Told(details, _unsaid(mail), occurrence=(moment.isoformat(), link))


def _subscription(rng: Random, mail: Mail, moment: datetime) -> _Told:
    def preferences(unsubscribed: bool, status: str) -> dict[str, Any]:
        topics = [{"topicName": mail.sender.configuration_set, "subscriptionStatus": status}]
        return {"unsubscribeAll": unsubscribed, "topicSubscriptionStatus": topics}

    details = {
        "contactList": "readers",
        "timestamp": iso(moment),
        "source": rng.choice(("UnsubscribeHeader", "UnsubscribeFooter", "Bounce")),
        "newTopicPreferences": preferences(rng.random() < 0.5, "OptOut"),
        "oldTopicPreferences": preferences(False, "OptIn"),
    }
    return _Told(details, _unsaid(mail), occurrence=(moment.isoformat(), ""))


def _reader(rng: Random, moment: datetime) -> dict[str, Any]:
    return {
        "ipAddress": f"203.0.113.{rng.randint(1, 254)}",
        "timestamp": iso(moment),
        "userAgent": rng.choice(words.READERS),
    }


def _unsaid(mail: Mail) -> Sequence[Recipient | None]:
    """Whom an event is about whose person SES does not name: known only if there is one."""
    return mail.recipients if len(mail.recipients) == 1 else (None,)


KINDS: dict[str, tuple[str, Callable[[Random, Mail, datetime], _Told]]] = {
    "Bounce": ("bounce", _bounce),
    "Complaint": ("complaint", _complaint),
    "Delivery": ("delivery", _delivery),
    "Send": ("send", _send),
    "Reject": ("reject", _reject),
    "Open": ("open", _open),
    "Click": ("click", _click),
    "Rendering Failure": ("failure", _rendering_failure),
    "DeliveryDelay": ("deliveryDelay", _delay),
    "Subscription": ("subscription", _subscription),
}
"""SES's kinds: where each keeps its details, and who invents them."""

NOTIFIED = frozenset({"Bounce", "Complaint", "Delivery"})
"""The kinds that exist in notification format; the others are only published as events."""
