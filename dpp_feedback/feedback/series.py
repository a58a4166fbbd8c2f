"""Mails and events of each group by day: what incidents are looked for in.

Groups are the account, its sources, configuration sets and recipient domains, and the subtypes of
bounces.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from dpp_feedback.feedback.causes import BOUNCES, COMPLAINTS, sub_type
from dpp_feedback.feedback.rates import Place, Tally, place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from dpp_feedback.feedback.counts import Count
    from dpp_feedback.feedback.usual import Usual

Key: TypeAlias = tuple[str, str]
"""Dimension and name of a group."""
Combination: TypeAlias = tuple[str, str, str, str]
"""Source, configuration set, domain and subtype of events."""

ACCOUNT: Key = ("account", "")
_SUB_TYPE = "sub_type"
_LATE, _LATE_OF_SUB_TYPE = 0.5, 1.0  # hard bounces come at once, and full mailboxes after hours
_DIMENSIONS = ("source", "configuration_set", "domain", _SUB_TYPE)


@dataclass(frozen=True, slots=True)
class Sort:
    """A sort of events of which there may be too many.

    Attributes:
        kind: its name.
        places: the events.
        least: events beyond the usual in a day that are worth a word.
        lag: days that an event may come after its mail.
    """

    kind: str
    places: frozenset[Place]
    least: int
    lag: int


# SES tries a mail again for up to 14 hours; people read theirs within a few days.
SORTS = (Sort("bounce", BOUNCES, 20, lag=1), Sort("complaint", COMPLAINTS, 5, lag=3))


@dataclass(slots=True)
class Series:
    """One group by day, for one sort of events.

    Attributes:
        mails: the tally of each day; that of the account for a subtype, since a mail has none.
        sent: its mails.
        events: of the sort, without those that an incident of another group explains.
        lag: of the sort.
        late: share of a day's events that may come later than their mail.
        usual: what is usual for a day, once it was asked for; None where that cannot be told.
        departures: the days that stand out.
    """

    mails: Sequence[Tally]
    sent: Sequence[int]
    events: list[float]
    lag: int
    late: float
    usual: dict[int, Usual | None] = field(default_factory=dict)
    departures: set[int] = field(default_factory=set)

    def sent_by(self, day: int) -> float:
        """Mails that a day's events may belong to.

        Mail of the evening bounces the day after, when there may be little other mail.
        """
        earlier = self.sent[max(0, day - self.lag) : day]
        return max(float(self.sent[day]), self.late * max(earlier, default=0))


class History:
    """Counts of some days, by day and group.

    Args:
        first: the first day, which has number 0.
        days: how many.
        counts: their counts.
    """

    def __init__(self, first: date, days: int, counts: Iterable[Count]) -> None:
        self.events: dict[Sort, list[Counter[Combination]]] = {
            sort: [Counter() for _ in range(days)] for sort in SORTS
        }
        self._days = days
        cells: dict[tuple[int, str, str, str], Counter[Place]] = defaultdict(Counter)
        numbers: dict[date, int] = {}
        for count in counts:
            day = numbers.get(count.day)
            if day is None:
                day = numbers[count.day] = (count.day - first).days
            what = place(count)
            cell = (day, count.source, count.configuration_set, count.recipient_domain)
            cells[cell][what] += count.count
            for sort, by_day in self.events.items():
                if what in sort.places:
                    by_day[day][*cell[1:], sub_type(count)] += count.count
        # Most groups are small, and are never looked at: they are added up, and no more.
        self._mails: dict[Key, dict[int, Counter[Place]]] = defaultdict(
            lambda: defaultdict(Counter)
        )
        for (day, *names), places in cells.items():
            for key in (ACCOUNT, *zip(_DIMENSIONS, names, strict=False)):
                total = self._mails[key][day]
                for what, number in places.items():
                    total[what] += number

    def series(self, sort: Sort) -> dict[Key, Series]:
        """Make a series for each group that has events enough for an incident."""
        events: dict[Key, list[float]] = defaultdict(lambda: [0.0] * self._days)
        for day, combinations in enumerate(self.events[sort]):
            for combination, number in combinations.items():
                for key in groups_of(combination):
                    events[key][day] += number
        account = self._tallies(ACCOUNT)
        found = {}
        for key, by_day in events.items():
            if sum(by_day) >= sort.least:
                of_account = key[0] in {ACCOUNT[0], _SUB_TYPE}
                mails = account if of_account else self._tallies(key)
                late = _LATE_OF_SUB_TYPE if key[0] == _SUB_TYPE else _LATE
                found[key] = Series(mails, [t.mails for t in mails], by_day, sort.lag, late)
        return found

    def _tallies(self, key: Key) -> list[Tally]:
        mails = self._mails[key]
        return [
            Tally(*(mails[day][each] for each in Place)) if day in mails else Tally()
            for day in range(self._days)
        ]


def groups_of(combination: Combination) -> tuple[Key, ...]:
    """All groups that events of a combination belong to."""
    return (ACCOUNT, *zip(_DIMENSIONS, combination, strict=True))
