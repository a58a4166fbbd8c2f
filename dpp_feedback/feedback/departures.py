"""Which days of a group depart from what is usual for it, and from which days that is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpp_feedback.feedback.usual import LEAST_DAYS, Usual, departs, exceeds, usual_rate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dpp_feedback.feedback.series import Series, Sort

_WINDOW = 28  # days before a day from which its usual rate is learned
_HISTORY = 7  # days with mail: fewer are no history
_LEAST_MAILS = 100  # of a group in a day
_LEAST_MAILS_OF_WEEKDAY = 20
_WEEK = 7
_PATTERN = 1.5  # times the usual rate: from here a weekday is a day of its own


def judge(series: Series, account: Series, day: int, sort: Sort, min_volume: int) -> None:
    """Mark a day in `series.departures` if it stands out; the days before it have been judged.

    Days before it that are well above the usual are taken together with it: two days may stand
    out where neither does by itself.

    Args:
        series: of the group.
        account: the series of all mail.
        day: its number.
        sort: of the events.
        min_volume: mails of the account in the seven days up to this one, below which it alarms
            nobody.
    """
    series.departures.discard(day)
    if not series.events[day] or (
        sum(account.sent[max(0, day - _WEEK + 1) : day + 1]) < min_volume
    ):
        return
    if day not in series.usual:
        series.usual[day] = _usual(series, account, day)
    usual = series.usual[day]
    if usual is None:
        return
    events = mails = 0.0
    for first in range(day, max(-1, day - _WEEK), -1):
        today, sent = series.events[first], series.sent_by(first)
        if sent < _LEAST_MAILS or not series.sent[first] or not exceeds(today, sent, usual):
            return
        events, mails = events + today, mails + sent
        if events - usual.rate * mails >= sort.least and departs(events, mails, usual):
            for each in set(range(first, day + 1)) - series.departures:
                series.departures.add(each)
                series.usual[each] = usual  # what it was judged by


def _usual(series: Series, account: Series, day: int) -> Usual | None:
    """The rate of the days before, or that of the same weekday if it is higher."""
    if sum(1 for sent in account.sent[:day] if sent) < _HISTORY:
        # The account has only begun: all its other days say what is usual.
        before, weekdays = _days(series, range(len(series.sent)), day), _every_week(series, day)
        known = len(before) >= LEAST_DAYS
    else:
        before = _days(series, range(max(0, day - _WINDOW), day), day)
        weekdays = [other for other in _every_week(series, day) if other < day]
        known = len(before) >= _HISTORY
    points = [(series.events[other], series.sent[other]) for other in before]
    usual = usual_rate(points) if known else None
    if usual is None and series is not account:
        usual = _of_a_new_group(points, _usual(account, account, day))
    if usual is None or len(weekdays) < LEAST_DAYS:
        return usual
    # A newsletter on Mondays makes each Monday unlike other days. The lower one of the middle two:
    # an incident on half of them is none the less an incident.
    rates = sorted(series.events[other] / series.sent[other] for other in weekdays)
    weekly = rates[(len(rates) - 1) // 2]
    if weekly < _PATTERN * usual.rate:
        return usual
    return Usual(weekly, usual.mails, usual.scatter)


def _days(series: Series, days: Iterable[int], without: int) -> list[int]:
    """Days with mail that do not stand out themselves."""
    return [
        day for day in days if series.sent[day] and day != without and day not in series.departures
    ]


def _every_week(series: Series, day: int) -> list[int]:
    return [
        other
        for other in range(day % _WEEK, len(series.sent), _WEEK)
        if other != day and series.sent[other] >= _LEAST_MAILS_OF_WEEKDAY
    ]


def _of_a_new_group(points: list[tuple[float, int]], account: Usual | None) -> Usual | None:
    """A group without history is measured by the account, and by itself as far as that goes."""
    if account is None:
        return None
    sent = sum(n for _, n in points)
    own = sum(x for x, _ in points) / sent if sent else 0.0
    return Usual(max(account.rate, own), account.mails, account.scatter)
