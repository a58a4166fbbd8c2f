"""What lies in the dead-letter queue, message by message, as it comes.

Nothing is kept of a message that was passed on but counts, so that a list of 100,000 stays small.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpp_feedback.dlq.reasons import NOT_KNOWN, reason_now
from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.events import Ignored, Rejected
from dpp_feedback.feedback.glance import glance
from dpp_feedback.feedback.parser import anything
from dpp_feedback.masking import masked
from dpp_feedback.messages import encoded

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from datetime import datetime, timedelta

    from dpp_feedback.dlq.selection import Selection
    from dpp_feedback.feedback.parser import Admit
    from dpp_feedback.queue import Message


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the list; no body, no mail address.

    Attributes:
        message_id: SQS's.
        sent_at: when the queue received it; aware, in UTC.
        expires_at: when SQS deletes it; aware, in UTC.
        receive_count: how often it was received, this look included.
        size: of the body, in bytes.
        topic_arn: of the SNS topic that the body names; None if it names none.
        kinds: notification types, sorted, each once.
        reason: of `REASONS`, as the present parser sees it; or `NOT_KNOWN`.
        detail: why it is rejected or ignored, or not known, for a person; None if it is not.
    """

    message_id: str
    sent_at: datetime
    expires_at: datetime
    receive_count: int
    size: int
    topic_arn: str | None
    kinds: tuple[str, ...]
    reason: str
    detail: str | None

    @classmethod
    def of(
        cls,
        message: Message,
        refused: Container[str],
        retention: timedelta,
        admit: Admit = anything,
    ) -> Entry:
        """Look at a message.

        Args:
            message: as received.
            refused: see `reason_now`.
            retention: how long the queue keeps a message.
            admit: see `parser.Admit`.
        """
        detail = None
        try:
            seen = glance(message.body, message.sent_at, admit)
            reason = reason_now(seen, message.id, refused)
            if isinstance(seen.outcome, Ignored | Rejected):
                detail = seen.outcome.detail
        except FeedbackError as error:  # the others are listed all the same
            seen = glance(message.body, message.sent_at)
            reason, detail = NOT_KNOWN, str(error)
        return cls(
            message_id=message.id,
            sent_at=message.sent_at,
            expires_at=message.sent_at + retention,
            receive_count=message.receive_count,
            size=len(encoded(message.body)),
            topic_arn=seen.topic_arn,
            kinds=tuple(masked(kind) for kind in seen.kinds),  # an unknown one is any text
            reason=reason,
            detail=detail,
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; times in ISO 8601."""
        return {
            "message_id": self.message_id,
            "sent_at": self.sent_at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
            "receive_count": self.receive_count,
            "size": self.size,
            "topic_arn": self.topic_arn,
            "kinds": list(self.kinds),
            "reason": self.reason,
            "detail": self.detail,
        }


class Listing:
    """The messages of a look that a filter means; iterate once, then read the counts.

    Ends early where the filter can match no more, or the limit is reached.

    Args:
        messages: each once: `Queue.look`'s.
        selection: the filter.
        refused: see `reason_now`.
        retention: how long the queue keeps a message.
        contains: text that the body must hold, as it stands or escaped in JSON; without case.
        limit: pass on at most so many; 0: all.
        admit: see `parser.Admit`.

    Attributes:
        seen: messages looked at.
        shown: messages passed on.
        reasons: those passed on, by reason.
        all_reasons: all that were looked at, by reason.
        first_expires_at: when SQS deletes the first of all that were looked at; None without one.
        limited: the limit was reached, and there are more messages.
    """

    def __init__(
        self,
        messages: Iterable[Message],
        selection: Selection,
        *,
        refused: Container[str],
        retention: timedelta,
        contains: str | None = None,
        limit: int = 0,
        admit: Admit = anything,
    ) -> None:
        self._messages = messages
        self._selection = selection
        self._refused = refused
        self._retention = retention
        self._spellings = _spellings(contains) if contains else frozenset[str]()
        self._limit = limit
        self._admit = admit
        self.seen = 0
        self.shown = 0
        self.reasons: Counter[str] = Counter()
        self.all_reasons: Counter[str] = Counter()
        self.first_expires_at: datetime | None = None
        self.limited = False

    def __iter__(self) -> Iterator[tuple[Entry, Message]]:
        """Yield each message that is meant, and what is to be said of it."""
        messages = iter(self._messages)
        for message in messages:
            entry = Entry.of(message, self._refused, self._retention, self._admit)
            self._count(entry)
            if not self._means(entry, message):
                continue
            self.shown += 1
            self.reasons[entry.reason] += 1
            yield entry, message
            if self.shown == self._limit:
                self.limited = next(messages, None) is not None
                return
            if self._selection.finished(self.shown):
                return

    def _count(self, entry: Entry) -> None:
        self.seen += 1
        self.all_reasons[entry.reason] += 1
        first = self.first_expires_at
        self.first_expires_at = entry.expires_at if first is None else min(first, entry.expires_at)

    def _means(self, entry: Entry, message: Message) -> bool:
        if not self._selection.may_match(message):
            return False
        if not self._selection.matches_content(entry.reason, entry.kinds):
            return False
        body = message.body.casefold() if self._spellings else ""
        return not self._spellings or any(spelling in body for spelling in self._spellings)


def _spellings(text: str) -> frozenset[str]:
    """How a text may stand in a body: as it is, or in JSON, or in JSON that SNS carries in JSON."""
    spellings = {text}
    for _ in range(2):
        spellings |= {
            json.dumps(spelling, ensure_ascii=ascii_only)[1:-1]
            for spelling in spellings
            for ascii_only in (True, False)
        }
    return frozenset(spelling.casefold() for spelling in spellings)
