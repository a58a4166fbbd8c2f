"""What stands behind bounces and complaints: combinations of domain, subtype and source."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpp_feedback.feedback.rates import Place, place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dpp_feedback.feedback.counts import Count

BOUNCES = frozenset({Place.HARD_BOUNCE, Place.SOFT_BOUNCE})
COMPLAINTS = frozenset({Place.COMPLAINT})


@dataclass(frozen=True, slots=True)
class Cause:
    """One combination, and its part in all bounces (or complaints) of a window.

    Attributes:
        recipient_domain, sub_type, source: "" where SES does not say it. `sub_type` is "Type/Sub"
            for a bounce ("Transient/MailboxFull") and "" for a complaint.
        events: of this combination.
        share: of all such events, 0 to 1.
    """

    recipient_domain: str
    sub_type: str
    source: str
    events: int
    share: float


def sub_type(count: Count) -> str:
    """Name a bounce's subtype with its type: "Transient/General" is not "Permanent/General"."""
    if not count.bounce_sub_type:
        return count.bounce_type
    return f"{count.bounce_type}/{count.bounce_sub_type}"


def causes(counts: Iterable[Count], places: frozenset[Place], limit: int = 10) -> tuple[Cause, ...]:
    """Find the combinations with the most events.

    Args:
        counts: of the window.
        places: which events: `BOUNCES` or `COMPLAINTS`.
        limit: at most so many.
    """
    events: Counter[tuple[str, str, str]] = Counter()
    for count in counts:
        if place(count) in places:
            events[count.recipient_domain, sub_type(count), count.source] += count.count
    total = events.total()
    largest = sorted(events.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return tuple(Cause(*names, number, number / total) for names, number in largest if number > 0)
