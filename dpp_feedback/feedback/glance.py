"""What can be said of any message body in a line: its outcome, its kinds, its topic.

For lists of messages that are mostly broken: where the parser gives up, the text itself is
searched, so that a truncated or escaped body still says what it was about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from sys import intern
from typing import TYPE_CHECKING

from dpp_feedback.feedback.events import Rejected
from dpp_feedback.feedback.kinds import DETAIL_TYPES, KINDS, documented_name
from dpp_feedback.feedback.parser import anything, parse

if TYPE_CHECKING:
    from datetime import datetime

    from dpp_feedback.feedback.events import FeedbackEvent, Outcome
    from dpp_feedback.feedback.parser import Admit

_KINDS = 100  # of one body; SES has ten, and a megabyte may name 30,000
# A key of JSON text and the start of its value, at any depth of encoding. Possessive quantifiers
# (*+) keep the search linear in a megabyte of backslashes or blanks.
_COLON = r'\\*+"\s*+:\s*+\\*+"'
_WHOLE = r'(?=[\\"]|\Z)'  # or all that there is of it; what goes on otherwise may be an address
_KIND = re.compile(
    rf"(notificationType|eventType|detail-type){_COLON}([A-Za-z][A-Za-z0-9 _.-]{{0,63}}+){_WHOLE}"
)
_TOPIC = re.compile(
    rf"TopicArn{_COLON}(arn:aws[a-z-]{{0,16}}:sns:[a-z0-9-]{{1,32}}:[0-9]{{12}}:"
    rf"[A-Za-z0-9_-]{{1,256}}+){_WHOLE}"
)


@dataclass(frozen=True, slots=True)
class Glance:
    """A message body at a glance.

    Attributes:
        outcome: what the present parser makes of it.
        kinds: notification types of its events, sorted, each once, at most 100; of a body that is
            ignored or rejected, what its text names too. Empty if it names none.
        topic_arn: what the SNS envelope says; nobody has verified it. None without one.
    """

    outcome: Outcome
    kinds: tuple[str, ...]
    topic_arn: str | None


def glance(body: str, sent_at: datetime, admit: Admit = anything) -> Glance:
    """Look at a body; takes time in proportion to its length.

    Args:
        body: as SQS delivered it. None raises anything.
        sent_at: the queue's `SentTimestamp`, aware.
        admit: see `parser.Admit`.

    Raises:
        ValueError: `sent_at` has no time zone.
    """
    outcome = parse(body, sent_at, admit)
    kinds = {event.notification_type for event in events_of(outcome)}
    if not isinstance(outcome, tuple):
        kinds |= _named(body)
    kept = sorted(kinds, key=lambda kind: (kind not in KINDS, kind))[:_KINDS]
    return Glance(outcome, tuple(sorted(kept)), topic_of(body))


def topic_of(body: str) -> str | None:
    """Return the topic that a body names; nobody has verified it."""
    topic = _TOPIC.search(body)
    return topic and intern(topic[1])  # there are three


def events_of(outcome: Outcome) -> tuple[FeedbackEvent, ...]:
    """Return the events to be stored, those in the good records of a rejected body among them."""
    if isinstance(outcome, Rejected):
        return outcome.events
    return outcome if isinstance(outcome, tuple) else ()


def _named(body: str) -> set[str]:
    return {
        DETAIL_TYPES.get(name, name) if key == "detail-type" else documented_name(name)
        for key, name in _KIND.findall(body)
    }
