"""All that is known about one account on one day: rates, estimate, trend, causes, incidents.

Pure: it is given counts, and hands on values. The report words them, checks and alerts judge them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from dpp_feedback.feedback.causes import BOUNCES, COMPLAINTS, Cause, causes, sub_type
from dpp_feedback.feedback.counts import OTHERS, Count
from dpp_feedback.feedback.domains import ascii_domain
from dpp_feedback.feedback.estimate import by_day, estimate
from dpp_feedback.feedback.incidents import Incident, incidents
from dpp_feedback.feedback.rates import (
    BOUNCE_LINE,
    COMPLAINT_LINE,
    Level,
    Line,
    Rate,
    Tally,
    bounce_rate,
    complaint_rate,
    level,
    place,
    sure_level,
)
from dpp_feedback.feedback.trend import Trend, trend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date

_Key = TypeVar("_Key")

WEEK, MONTH = 7, 28  # days
_SORT = attrgetter(*(each.name for each in fields(Count) if each.name not in {"day", "count"}))
_LARGEST = 20  # groups of a dimension that have a line of their own


@dataclass(frozen=True, slots=True)
class Day:
    """One closed day (UTC)."""

    day: date
    tally: Tally
    bounce: Rate
    complaint: Rate


@dataclass(frozen=True, slots=True)
class Group:
    """One source, configuration set, domain or subtype, over a window.

    Attributes:
        name: "" where SES does not say it.
        tally: its events.
        bounce, complaint: its rates; those of a subtype are over the mails of the account.
    """

    name: str
    tally: Tally
    bounce: Rate
    complaint: Rate


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two rates, bounce or complaint, from every side.

    Attributes:
        week, month: ours over the last 7 and 28 closed days.
        yesterday: ours on the last closed day.
        estimate: AWS's figure, estimated.
        level: the worst of week and estimate; the latter by the lower end of its interval.
        trend_week, trend_month: of the daily rate.
        causes: the combinations behind it over the week, the largest first, at most 10.
    """

    week: Rate
    month: Rate
    yesterday: Rate
    estimate: Rate
    level: Level
    trend_week: Trend
    trend_month: Trend
    causes: tuple[Cause, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """The whole picture at the end of one closed day.

    Attributes:
        as_of: the last closed day it covers.
        days: the last 28 days, the oldest first; days without mail among them, with zeros.
        week, month: all events of the last 7 and 28 days.
        bounce, complaint: the two rates.
        estimate_first, estimate_last: the days that AWS's estimated figure covers.
        sources, configuration_sets, domains, sub_types: over 28 days: the 20 largest, and what is
            left as `OTHERS` at the end; the first three by mails, subtypes by bounces and named
            as `Cause.sub_type`.
        incidents: of the 28 days, the newest first.
        min_volume: mails below which a rate alarms nobody.
    """

    as_of: date
    days: tuple[Day, ...]
    week: Tally
    month: Tally
    bounce: Side
    complaint: Side
    estimate_first: date
    estimate_last: date
    sources: tuple[Group, ...]
    configuration_sets: tuple[Group, ...]
    domains: tuple[Group, ...]
    sub_types: tuple[Group, ...]
    incidents: tuple[Incident, ...]
    min_volume: int


def analyse(
    as_of: date,
    *,
    totals: Sequence[Count],
    counts: Sequence[Count],
    of_domains: Sequence[Count],
    verified_domains: frozenset[str],
    min_volume: int,
) -> Analysis:
    """Make the analysis. Counts of days after `as_of` are left out.

    Args:
        as_of: the last closed day.
        totals: `Store.daily_totals` of the 365 days up to `as_of`: no domains.
        counts: `Store.daily_counts` of the 56 days up to `as_of`: the largest sources,
            configuration sets and domains kept apart, the rest as `OTHERS`.
        of_domains: `Store.daily_counts_of` of the 365 days: verified domains, SES's simulator,
            providers with feedback loops, and every domain that a complaint came from.
        verified_domains: domains whose bounces AWS does not count.
        min_volume: mails below which a rate alarms nobody.
    """
    tallies = by_day(totals)
    days = tuple(
        Day(day, tally, bounce_rate(tally), complaint_rate(tally))
        for day in (as_of - timedelta(days=back) for back in reversed(range(MONTH)))
        for tally in (tallies.get(day, Tally()),)
    )
    week = sum((day.tally for day in days[-WEEK:]), Tally())
    month = sum((day.tally for day in days), Tally())
    estimated = estimate(as_of, tallies, of_domains, verified_domains)
    apart = [_one_spelling(count) for count in counts if count.day <= as_of]
    of_month = [count for count in apart if count.day >= days[0].day]
    of_week = [count for count in of_month if count.day >= days[-WEEK].day]
    added_up = _without_days(of_month)
    return Analysis(
        as_of=as_of,
        days=days,
        week=week,
        month=month,
        bounce=_side(
            [day.bounce for day in days],
            (bounce_rate(week), bounce_rate(month), estimated.bounce),
            BOUNCE_LINE,
            min_volume,
            causes(of_week, BOUNCES),
        ),
        complaint=_side(
            [day.complaint for day in days],
            (complaint_rate(week), complaint_rate(month), estimated.complaint),
            COMPLAINT_LINE,
            min_volume,
            causes(of_week, COMPLAINTS),
        ),
        estimate_first=estimated.first,
        estimate_last=estimated.last,
        sources=_groups(added_up, lambda count: count.source),
        configuration_sets=_groups(added_up, lambda count: count.configuration_set),
        domains=_groups(added_up, lambda count: count.recipient_domain),
        sub_types=_sub_types(added_up, month),
        incidents=incidents(as_of, apart, min_volume),
        min_volume=min_volume,
    )


def _side(
    days: Sequence[Rate],
    rates: tuple[Rate, Rate, Rate],
    line: Line,
    min_volume: int,
    its_causes: tuple[Cause, ...],
) -> Side:
    week, month, estimated = rates
    levels = list(Level)  # ascending
    return Side(
        week=week,
        month=month,
        yesterday=days[-1],
        estimate=estimated,
        level=max(
            level(week, line, min_volume),
            sure_level(estimated, line, min_volume),
            key=levels.index,
        ),
        trend_week=trend(days[-WEEK:], week, line, min_volume),
        trend_month=trend(days, week, line, min_volume),
        causes=its_causes,
    )


def _tallies(counts: Iterable[Count], key: Callable[[Count], _Key]) -> dict[_Key, Tally]:
    groups: dict[_Key, list[Count]] = defaultdict(list)
    for count in counts:
        groups[key(count)].append(count)
    return {name: Tally.of(its_counts) for name, its_counts in groups.items()}


def _groups(counts: Sequence[Count], key: Callable[[Count], str]) -> tuple[Group, ...]:
    tallies = _tallies(counts, key)
    rest = tallies.pop(OTHERS, None)
    ordered = sorted(tallies.items(), key=lambda item: (-item[1].mails, item[0]))
    shown = ordered[:_LARGEST]
    if rest is not None or len(ordered) > _LARGEST:
        small = (tally for _, tally in ordered[_LARGEST:])
        shown.append((OTHERS, sum(small, rest or Tally())))
    return tuple(
        Group(name, tally, bounce_rate(tally), complaint_rate(tally)) for name, tally in shown
    )


def _sub_types(counts: Sequence[Count], month: Tally) -> tuple[Group, ...]:
    """Bounces of ours by subtype, over the mails of the account."""
    tallies = _tallies((count for count in counts if place(count) in BOUNCES), sub_type)
    ordered = sorted(tallies.items(), key=lambda item: (-item[1].bounces, item[0]))
    return tuple(
        Group(name, tally, *(Rate(n, month.mails, month.basis) for n in (tally.bounces, 0)))
        for name, tally in ordered[:_LARGEST]
    )


def _without_days(counts: Sequence[Count]) -> list[Count]:
    """Add up the days: three times over a month, groups are made from so many fewer counts."""
    numbers: Counter[tuple[object, ...]] = Counter()
    some: dict[tuple[object, ...], Count] = {}
    for count in counts:
        sort = _SORT(count)
        numbers[sort] += count.count
        some[sort] = count
    return [replace(count, count=numbers[sort]) for sort, count in some.items()]


def _one_spelling(count: Count) -> Count:
    domain = ascii_domain(count.recipient_domain)
    return count if domain == count.recipient_domain else replace(count, recipient_domain=domain)
