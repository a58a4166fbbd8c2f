"""Days on which one group bounced, or complained, far more than before: found, joined and named.

Which days stand out is departures.py's business.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from math import log
from typing import TYPE_CHECKING, TypeAlias

from dpp_feedback.feedback.causes import Cause
from dpp_feedback.feedback.counts import OTHERS
from dpp_feedback.feedback.departures import judge
from dpp_feedback.feedback.rates import Rate, Tally
from dpp_feedback.feedback.series import ACCOUNT, SORTS, History, Key, Sort, groups_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dpp_feedback.feedback.counts import Count
    from dpp_feedback.feedback.series import Series

_WINDOW = 28  # days in which incidents are looked for
_DAYS = 2 * _WINDOW  # and those before, from which it is learned what is usual

_Run: TypeAlias = tuple[Key, list[int]]
"""A group, and days of it that belong together."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Days on which one group bounced, or complained, far more than before.

    Attributes:
        kind: "bounce" or "complaint".
        first, last: the days.
        ongoing: `last` is the newest closed day.
        dimension, name: the group that stands out most ("source", "news@example.com"); dimension
            "account" and name "" when all did. The other dimensions are "configuration_set",
            "domain" and "sub_type".
        cause: the combination behind most of the surplus, with its share of all events of the
            group in these days.
        rate: over the incident's days, of the group; of a subtype over all mails.
        usual: the group's rate before, 0 to 1.
        surplus: events beyond the usual.
    """

    kind: str
    first: date
    last: date
    ongoing: bool
    dimension: str
    name: str
    cause: Cause
    rate: Rate
    usual: float
    surplus: int


def incidents(as_of: date, counts: Sequence[Count], min_volume: int) -> tuple[Incident, ...]:
    """Find the incidents of the 28 days up to `as_of`, the newest first.

    Args:
        as_of: the last closed day.
        counts: of the 56 days up to `as_of`; others are left out.
        min_volume: mails of the account in the seven days up to a day, below which it alarms
            nobody.
    """
    first = as_of - timedelta(days=_DAYS - 1)
    history = History(first, _DAYS, (count for count in counts if first <= count.day <= as_of))
    found = [
        incident
        for sort in SORTS
        for incident in _Search(history, sort, first, min_volume).incidents()
        if incident.last > as_of - timedelta(days=_WINDOW)
    ]
    found.sort(key=lambda each: (each.last, each.first, each.surplus), reverse=True)
    return tuple(found)


class _Search:
    """The search for incidents of one sort."""

    def __init__(self, history: History, sort: Sort, first: date, min_volume: int) -> None:
        self._sort = sort
        self._first = first
        self._min_volume = min_volume
        self._events = history.events[sort]
        self._series = history.series(sort)

    def incidents(self) -> Iterator[Incident]:
        """Name the group that stands out most; what it does not explain may stand out again."""
        for key in self._series:
            self._judge(key, range(_DAYS))
        while runs := [
            (key, run) for key, series in self._series.items() for run in _runs(series.departures)
        ]:
            key, run = max(runs, key=self._prominence)
            yield self._incident(*self._with_a_name(key, run, runs))
            self._explain(key, run)

    def _with_a_name(self, key: Key, run: list[int], runs: list[_Run]) -> _Run:
        """A group that has a name: where mail to `OTHERS` bounces, the account does so too."""
        named = [
            (other, its_run)
            for other, its_run in runs
            if (other == ACCOUNT or other[1] not in {"", OTHERS})
            and its_run[0] <= run[-1]
            and its_run[-1] >= run[0]
        ]
        if not named or key == ACCOUNT or key[1] not in {"", OTHERS}:
            return key, run
        return max(named, key=self._prominence)

    def _judge(self, key: Key, days: Iterable[int]) -> None:
        for day in days:
            judge(self._series[key], self._series[ACCOUNT], day, self._sort, self._min_volume)

    def _prominence(self, candidate: _Run) -> float:
        """How much better "this group had more" explains its events than "all was as usual".

        Poisson's logarithm of the likelihood ratio: a group without a part in the surplus dilutes
        it, and one that has only a part of the surplus tells only a part of the story.
        """
        key, run = candidate
        series = self._series[key]
        ratio = 0.0
        for day in run:
            events, expected = series.events[day], max(0.5, self._expected(series, day))
            ratio += events * log(events / expected) - (events - expected)
        return ratio

    def _explain(self, key: Key, run: list[int]) -> None:
        """Take an incident's surplus out of every group that has a part in it."""
        series = self._series[key]
        for day in run:
            parts: Counter[Key] = Counter()
            for combination, number in self._events[day].items():
                if key in (groups := groups_of(combination)):
                    parts.update(dict.fromkeys(groups, number))
            surplus = max(0.0, series.events[day] - self._expected(series, day))
            for group in parts.keys() & self._series.keys():
                events = self._series[group].events
                events[day] = max(0.0, events[day] - surplus * parts[group] / parts[key])
        for group, each in self._series.items():
            self._judge(group, [day for day in run if day in each.departures])

    def _incident(self, key: Key, run: list[int]) -> Incident:
        series = self._series[key]
        expected = sum(self._expected(series, day) for day in run)
        days = range(run[0], run[-1] + 1)
        tally = sum((series.mails[day] for day in days), Tally())
        events = self._by_cause(key, days)
        return Incident(
            kind=self._sort.kind,
            first=self._first + timedelta(days=run[0]),
            last=self._first + timedelta(days=run[-1]),
            ongoing=run[-1] == _DAYS - 1,
            dimension=key[0],
            name=key[1],
            cause=self._cause(key, days, events),
            rate=Rate(events.total(), tally.mails, tally.basis),
            usual=expected / sum(series.sent_by(day) for day in run),
            surplus=round(sum(series.events[day] for day in run) - expected),
        )

    def _expected(self, series: Series, day: int) -> float:
        usual = series.usual[day]
        return usual.rate * series.sent_by(day) if usual else 0.0

    def _cause(self, key: Key, run: range, events: Counter[tuple[str, str, str]]) -> Cause:
        """The combination that most exceeds what it had before; without before, on other days."""
        series = self._series[key]
        quiet = [
            day
            for day in range(_DAYS)
            if series.sent[day] and day not in series.departures and day not in run
        ]
        quiet = [day for day in quiet if day < run[0]] or quiet
        usual = self._by_cause(key, quiet)
        learned = sum(series.sent[day] for day in quiet)
        scale = sum(series.sent[day] for day in run) / learned if learned else 0.0
        largest = max(sorted(events), key=lambda cause: events[cause] - usual[cause] * scale)
        return Cause(*largest, events[largest], events[largest] / events.total())

    def _by_cause(self, key: Key, days: Iterable[int]) -> Counter[tuple[str, str, str]]:
        causes: Counter[tuple[str, str, str]] = Counter()
        for day in days:
            for combination, number in self._events[day].items():
                if key in groups_of(combination):
                    source, _, domain, sub_type = combination
                    causes[domain, sub_type, source] += number
        return causes


def _runs(days: Iterable[int]) -> list[list[int]]:
    """Join days that follow one another, or have one day between them."""
    runs: dict[int, list[int]] = defaultdict(list)
    start = previous = -2
    for day in sorted(days):
        if day - previous > 2:
            start = day
        runs[start].append(day)
        previous = day
    return list(runs.values())
