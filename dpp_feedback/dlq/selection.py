"""Which messages of the dead-letter queue are meant: by reason, kind, id, and time of receipt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self

from dpp_feedback.dlq.reasons import REASONS, reason_now
from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.glance import glance
from dpp_feedback.feedback.kinds import DETAIL_TYPES, documented_name
from dpp_feedback.feedback.parser import anything
from dpp_feedback.masking import masked

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from dpp_feedback.feedback.parser import Admit
    from dpp_feedback.queue import Message


class SelectionError(FeedbackError):
    """A filter says something that cannot be."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A filter; what is empty or None filters nothing. `of` checks what people write.

    Attributes:
        reasons: of `REASONS`; a message has exactly one.
        kinds: SES's notification types; a message that names one of them is meant.
        message_ids: SQS's.
        received_after: the queue received the message then or later; aware, in UTC.
        received_before: the queue received it earlier; aware, in UTC.
    """

    reasons: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    message_ids: frozenset[str] = frozenset()
    received_after: datetime | None = None
    received_before: datetime | None = None

    @classmethod
    def of(
        cls,
        *,
        reasons: Iterable[str] = (),
        kinds: Iterable[str] = (),
        message_ids: Iterable[str] = (),
        received_after: str | datetime | None = None,
        received_before: str | datetime | None = None,
    ) -> Self:
        """Read a filter as a person wrote it.

        Args:
            reasons: each must be one of `REASONS`.
            kinds: in any spelling SES uses; one that is not known may be new, and is kept.
            message_ids: SQS's.
            received_after: ISO 8601; without a time zone it is UTC.
            received_before: the same.

        Raises:
            SelectionError: a value is blank, a reason is unknown, a time is none, or no time lies
                between the two. A blank one, as of a variable that is not set, must not mean all.
        """
        after = _time("received_after", received_after)
        before = _time("received_before", received_before)
        if after and before and after >= before:
            raise SelectionError(
                f"received_after ({after.isoformat()}) is not before received_before "
                f"({before.isoformat()}): no message lies between. Correct one of them."
            )
        return cls(
            reasons=frozenset(_reason(name) for name in _written("reasons", reasons)),
            kinds=frozenset(
                documented_name(DETAIL_TYPES.get(name, name)) for name in _written("kinds", kinds)
            ),
            message_ids=frozenset(_written("message_ids", message_ids)),
            received_after=after,
            received_before=before,
        )

    @property
    def everything(self) -> bool:
        """Whether it filters nothing."""
        return self == Selection()

    @property
    def needs_parsing(self) -> bool:
        """Whether `matches` must read bodies."""
        return bool(self.reasons or self.kinds)

    def finished(self, found: int) -> bool:
        """Whether no more messages can match, `found` different ones having matched."""
        return bool(self.message_ids) and found >= len(self.message_ids)

    def matches(self, message: Message, refused: Container[str], admit: Admit = anything) -> bool:
        """Whether a message is meant.

        Args:
            message: as received.
            refused: see `reason_now`.
            admit: see `parser.Admit`.
        """
        if not self.may_match(message):
            return False
        if not self.needs_parsing:
            return True
        seen = glance(message.body, message.sent_at, admit)
        return self.matches_content(reason_now(seen, message.id, refused), seen.kinds)

    def may_match(self, message: Message) -> bool:
        """Whether a message is meant as far as one can tell without reading it."""
        if self.message_ids and message.id not in self.message_ids:
            return False
        if self.received_after and message.sent_at < self.received_after:
            return False
        return not (self.received_before and message.sent_at >= self.received_before)

    def matches_content(self, reason: str, kinds: Iterable[str]) -> bool:
        """Whether a message with this reason and these kinds is meant, whatever its id and time."""
        if self.reasons and reason not in self.reasons:
            return False
        return not self.kinds or not _folded(self.kinds).isdisjoint(_folded(kinds))

    def as_json(self) -> dict[str, Any]:
        """Return what is set, as JSON values without addresses: lists sorted, times in ISO 8601."""
        chosen: dict[str, Any] = {
            "reasons": sorted(self.reasons),
            "kinds": sorted(map(masked, self.kinds)),
            "message_ids": sorted(map(masked, self.message_ids)),
            "received_after": self.received_after and self.received_after.isoformat(),
            "received_before": self.received_before and self.received_before.isoformat(),
        }
        return {name: value for name, value in chosen.items() if value}


def read_time(written: str | datetime) -> datetime:
    """Read a time in ISO 8601, or one without a time zone: then it is UTC.

    Raises:
        ValueError, OverflowError: it is none.
    """
    time = datetime.fromisoformat(written.strip()) if isinstance(written, str) else written
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def _written(setting: str, names: Iterable[str]) -> list[str]:
    written = [name.strip() for name in names]
    if not all(written):
        raise SelectionError(
            f"{setting} has an empty value, which would select everything: write what is meant, or "
            "leave it out."
        )
    return written


def _folded(kinds: Iterable[str]) -> set[str]:
    # Masked, as lists show them: an unknown kind is any text of a body.
    return {masked(kind).casefold() for kind in kinds}


def _reason(written: str) -> str:
    name = written.lower().replace("-", "_")
    if name in REASONS:
        return name
    near = get_close_matches(name, REASONS, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    raise SelectionError(f"{written!r} is no reason.{meant} The reasons are {', '.join(REASONS)}.")


def _time(setting: str, written: str | datetime | None) -> datetime | None:
    if written is None:
        return None
    try:
        return read_time(written)
    except (ValueError, OverflowError):
        raise SelectionError(
            f"{setting} is {written!r}, no time. Write one like 2026-02-17T08:30:00Z."
        ) from None
