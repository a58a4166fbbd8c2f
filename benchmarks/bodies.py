"""The messages that are measured with: what SNS sends to SQS for a sender in good order.

Of each hundred 90 are deliveries, 8 bounces and 2 complaints, in SES's notification format inside
SNS envelopes, half of them with the mail's original headers, as an identity's setting has it. One
mail in a hundred went to ten people. That makes 1.6 to 4 KB, and 5.6 with ten people and headers.
Each body is unique, and body number n is the same in every run with the same seed. They are made
one by one: 200,000 need no memory.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from dpp_feedback.local.happenings import happen
from dpp_feedback.local.mails import Mail, compose, iso

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 7
START = datetime(2026, 2, 17, 3, tzinfo=UTC)
_PACE = timedelta(milliseconds=50)  # a mail each; 200,000 take less than three hours
_KINDS = ["Delivery"] * 90 + ["Bounce"] * 8 + ["Complaint"] * 2
_WITHOUT_HEADERS = 0.5
_TO_MANY = 0.01
_MANY = 10
_SNS = "https://sns.ap-northeast-2.amazonaws.com"
_TOPIC = "arn:aws:sns:ap-northeast-2:123456789012:ses-feedback"


class Body(NamedTuple):
    """A message's body.

    Attributes:
        text: what SQS holds.
        rows: how many rows it leads to.
    """

    text: str
    rows: int


def bodies(number: int, *, seed: int = SEED, start: datetime = START) -> Iterator[Body]:
    """Make bodies, the oldest first.

    Args:
        number: how many.
        seed: which ones.
        start: when the first mail was sent; aware. The next were sent 50 ms apart.
    """
    return islice(_endless(seed, start), number)


def _endless(seed: int, start: datetime) -> Iterator[Body]:
    rng = Random(f"benchmark/{seed}")  # noqa: S311 - a benchmark must be repeatable
    sent = start
    while True:
        for kind in rng.sample(_KINDS, len(_KINDS)):
            mail = compose(rng, sent)
            if rng.random() < _TO_MANY:
                mail = _to_many(rng, mail)
            # Servers answer within seconds, people within minutes.
            seconds = 0.2 + rng.expovariate(1 / (300 if kind == "Complaint" else 3))
            moment = sent + timedelta(milliseconds=round(seconds * 1000))
            happening = happen(kind, rng, mail, moment)
            said = happening.as_dict("notification")
            if rng.random() < _WITHOUT_HEADERS:
                for name in ("headersTruncated", "headers", "commonHeaders"):
                    del said["mail"][name]
            message = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
            text = _enveloped(rng, message, kind.lower(), moment)
            yield Body(text, len(happening.dedupe_keys))
            sent += _PACE


def _to_many(rng: Random, mail: Mail) -> Mail:
    people = {someone.address.lower(): someone for someone in mail.recipients}
    while len(people) < _MANY:
        for someone in compose(rng, mail.sent).recipients:
            people.setdefault(someone.address.lower(), someone)
    return replace(mail, recipients=tuple(people.values())[:_MANY])


def _enveloped(rng: Random, message: str, topic: str, moment: datetime) -> str:
    """Write it as SNS does to a subscription without raw delivery, key by key."""
    arn = f"{_TOPIC}-{topic}"
    subscription = f"{arn}:{UUID(int=rng.getrandbits(128), version=4)}"
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": str(UUID(int=rng.getrandbits(128), version=4)),
            "TopicArn": arn,
            "Message": message,
            "Timestamp": iso(moment + timedelta(milliseconds=rng.randint(20, 200))),
            "SignatureVersion": "1",
            "Signature": b64encode(rng.randbytes(256)).decode(),
            "SigningCertURL": f"{_SNS}/SimpleNotificationService-{rng.getrandbits(128):032x}.pem",
            "UnsubscribeURL": f"{_SNS}/?Action=Unsubscribe&SubscriptionArn={subscription}",
        },
        ensure_ascii=False,
        indent=2,
    )
