"""Bounce and complaint arithmetic: which event counts as what, over which mails, how surely.

The rules stand in docs/rates.md for people, with their sources. Pure: no clock, no database.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, dataclass
from enum import StrEnum
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING

from dpp_feedback.feedback.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dpp_feedback.feedback.counts import Count

MIN_VOLUME = 1_000  # mails below which a rate is shown, and alarms nobody

_SUPPRESSED = "OnAccountSuppressionList"
_Z = 1.959963984540054  # two-sided 95 % of the normal distribution


@dataclass(frozen=True, slots=True)
class Line:
    """Where AWS acts: reviews the account, and may pause it. Shares from 0 to 1."""

    review: float
    pause: float


# AWS, "Amazon SES Sending review process FAQs".
BOUNCE_LINE = Line(review=0.05, pause=0.10)
COMPLAINT_LINE = Line(review=0.001, pause=0.005)


class Place(StrEnum):
    """What one event counts as."""

    SEND = "send"
    DELIVERY = "delivery"
    HARD_BOUNCE = "hard_bounce"
    SOFT_BOUNCE = "soft_bounce"  # Transient, Undetermined, and types that AWS adds tomorrow
    AUTOMATIC_REPLY = "automatic_reply"
    SUPPRESSED_BOUNCE = "suppressed_bounce"  # OnAccountSuppressionList: SES never tried
    COMPLAINT = "complaint"
    SUPPRESSED_COMPLAINT = "suppressed_complaint"
    OTHER = "other"  # opens, clicks, delays, rejects, ...
    UNKNOWN = "unknown"  # a kind that this version does not know


def place(count: Count) -> Place:
    """Say what the events of a count are; the table is in docs/rates.md."""
    return _place(
        count.notification_type,
        count.bounce_type,
        count.bounce_sub_type,
        count.complaint_sub_type,
        count.automatic_reply,
    )


@lru_cache(maxsize=4_096)  # a hundred thousand counts have a few dozen of these
def _place(
    kind: str, bounce_type: str, bounce_sub_type: str, complaint_sub_type: str, reply: bool
) -> Place:
    match kind:
        case "Send":
            return Place.SEND
        case "Delivery":
            return Place.DELIVERY
        case "Bounce" if bounce_sub_type == _SUPPRESSED:
            return Place.SUPPRESSED_BOUNCE
        case "Bounce" if reply:
            return Place.AUTOMATIC_REPLY
        case "Bounce":
            return Place.HARD_BOUNCE if bounce_type == "Permanent" else Place.SOFT_BOUNCE
        case "Complaint" if complaint_sub_type == _SUPPRESSED:
            return Place.SUPPRESSED_COMPLAINT
        case "Complaint":
            return Place.COMPLAINT
        case _:
            return Place.OTHER if kind in KINDS else Place.UNKNOWN


class Basis(StrEnum):
    """What stands below the fraction line."""

    SEND = "Send events"
    OUTCOMES = "Delivery + Bounce events"


@dataclass(frozen=True, slots=True)
class Tally:
    """Events by what they count as; `Tally.of(counts)` makes one, `+` adds two."""

    sends: int = 0
    deliveries: int = 0
    hard_bounces: int = 0
    soft_bounces: int = 0
    automatic_replies: int = 0
    suppressed_bounces: int = 0
    complaints: int = 0
    suppressed_complaints: int = 0
    other: int = 0
    unknown: int = 0

    @classmethod
    def of(cls, counts: Iterable[Count]) -> Tally:
        """Add up counts."""
        events: Counter[Place] = Counter()
        for count in counts:
            events[place(count)] += count.count
        return cls(*(events[each] for each in Place))

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Tally) -> Tally:
        """Leave out events that are in `self`; never below 0."""
        return Tally(*(max(0, a - b) for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def bounces(self) -> int:
        """Ours: hard and soft ones."""
        return self.hard_bounces + self.soft_bounces

    @property
    def basis(self) -> Basis:
        """Send events, when they cover at least 90 % of the mails of which an outcome is known.

        Fewer of them mean that only some of the configuration sets publish them, and the mails of
        the others would be missing below the fraction line.
        """
        outcomes = self.deliveries + self.bounces
        enough = self.sends > 0 and self.sends * 10 >= outcomes * 9  # whole numbers, as in SQL
        return Basis.SEND if enough else Basis.OUTCOMES

    @property
    def mails(self) -> int:
        """Mails sent, by `basis`.

        Automatic replies answer mails that were delivered, and suppressed ones were never tried:
        neither is a mail of its own.
        """
        return self.sends if self.basis is Basis.SEND else self.deliveries + self.bounces


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of mails, with its 95 % Wilson interval.

    Attributes:
        events: bounces or complaints.
        mails: the denominator.
        basis: what the denominator is made of.
    """

    events: int
    mails: int
    basis: Basis

    @property
    def value(self) -> float | None:
        """From 0 to 1; None without mails. At most 1."""
        return min(1.0, self.events / self.mails) if self.mails else None

    @property
    def low(self) -> float | None:
        """Lower end of the interval; None without mails."""
        return self._wilson(-1)

    @property
    def high(self) -> float | None:
        """Upper end of the interval; None without mails."""
        return self._wilson(1)

    def _wilson(self, side: int) -> float | None:
        """E. B. Wilson, 1927: holds for few mails and for rates near 0, unlike the normal one."""
        share, mails = self.value, self.mails
        if share is None:
            return None
        square = _Z * _Z / mails
        middle = share + square / 2
        half = _Z * sqrt(share * (1 - share) / mails + square / (4 * mails))
        end = (middle + side * half) / (1 + square)
        # Rounding must not push an end past the rate itself.
        return min(1.0, max(end, share)) if side > 0 else max(0.0, min(end, share))


class Level(StrEnum):
    """How near a rate is to AWS's lines; the members ascend."""

    TOO_FEW = "too few mails"  # below the minimum volume: shown, alarms nobody
    FINE = "fine"
    WATCH = "watch"  # half the review line, or more
    REVIEW = "review"  # AWS reviews the account
    PAUSE = "pause"  # AWS may pause it


def bounce_rate(tally: Tally) -> Rate:
    """Ours: hard and soft bounces over mails."""
    return Rate(tally.bounces, tally.mails, tally.basis)


def complaint_rate(tally: Tally) -> Rate:
    """Ours: complaints over mails."""
    return Rate(tally.complaints, tally.mails, tally.basis)


def level(rate: Rate, line: Line, min_volume: int = MIN_VOLUME) -> Level:
    """Judge a rate; at a line counts as beyond it."""
    return _level(rate, rate.value, line, min_volume)


def sure_level(rate: Rate, line: Line, min_volume: int = MIN_VOLUME) -> Level:
    """Judge a rate by the lower end of its interval: how near it certainly is.

    For AWS's figure as estimated: a few complaints among the mails to the providers that report
    any are a high rate, and mean little.
    """
    return _level(rate, rate.low, line, min_volume)


def _level(rate: Rate, share: float | None, line: Line, min_volume: int) -> Level:
    if share is None or rate.mails < min_volume:
        return Level.TOO_FEW
    if share >= line.pause:
        return Level.PAUSE
    if share >= line.review:
        return Level.REVIEW
    return Level.WATCH if share >= line.review / 2 else Level.FINE
