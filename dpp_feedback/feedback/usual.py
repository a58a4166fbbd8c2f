"""The usual rate of a group of mail, and whether a day departs from it beyond chance.

Numbers only: what a group is, and from which days its usual rate is learned, is departures.py's
business.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, lgamma, log, log1p, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_DAYS = 3  # with mail: a usual rate cannot be told from fewer

_FACTOR = 1.75  # times the usual rate: less is an ordinary day, or a matter for the trend
# Of a day without cause. A month of an account has some thousands of days of groups, which are
# far from independent of one another; measured in test_incidents.py.
_CHANCE = log(1e-6)
_WELL_ABOVE = 2  # standard deviations
_LEAST_SCATTER = 0.15**2  # no two days of real mail are quite alike
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual, and how surely that is known.

    Attributes:
        rate: events for each mail.
        mails: that it was learned from.
        scatter: by how much days differ beyond chance: the variance of a day's own rate, as a
            multiple of the square of the usual one.
    """

    rate: float
    mails: float
    scatter: float


def usual_rate(days: Sequence[tuple[float, float]]) -> Usual | None:
    """Learn the usual rate from days, of which fewer than half may be anything but usual.

    It starts with the half of the days that has the lowest rates, and takes in all days that go
    with those, until none is left that does. A mean of all would be poisoned by an earlier
    incident, and a median is 0 where events are rare.

    Args:
        days: events and mails of each.

    Returns:
        None when there are fewer than `LEAST_DAYS` days with mail.
    """
    with_mail = sorted((day for day in days if day[1] > 0), key=lambda day: day[0] / day[1])
    if len(with_mail) < LEAST_DAYS:
        return None
    kept = with_mail[: (len(with_mail) + 1) // 2]
    for _ in range(_ROUNDS):
        rate = _rate(kept)
        wider = [
            (x, n)
            for x, n in with_mail
            if x <= 2 * rate * n or x <= rate * n + 3 * sqrt(rate * n + 1)
        ]
        if wider == kept:
            break
        kept = wider
    rate = _rate(kept)
    beyond_chance = sum([(x - rate * n) ** 2 - rate * n for x, n in kept])
    squares = sum([(rate * n) ** 2 for _, n in kept])
    scatter = max(_LEAST_SCATTER, beyond_chance / squares if squares else 0.0)
    return Usual(rate, sum([n for _, n in kept]), scatter)


def exceeds(events: float, mails: float, usual: Usual) -> bool:
    """Whether a day is well above the usual, be it chance or not."""
    expected = usual.rate * mails
    return events >= max(_FACTOR * expected, expected + _WELL_ABOVE * sqrt(expected + 1))


def departs(events: float, mails: float, usual: Usual) -> bool:
    """Whether a day, or several, depart from what is usual by more than chance can explain.

    The chance of so many events or more follows the negative binomial distribution, which is what
    Poisson's becomes when its rate was itself learned from a limited number of mails. Where days
    scatter, several events are worth one that is independent.
    """
    expected = usual.rate * mails
    if not events or events < _FACTOR * expected:
        return False
    worth = 1 + usual.scatter * expected
    number = floor(events / worth)
    learned = (usual.rate * usual.mails + 0.5) / worth
    part = mails / (mails + usual.mails)
    falling = part * (number + learned) / (number + 1)  # from one term to the next, at most
    if falling >= 1:
        return False
    term = (
        lgamma(number + learned)
        - lgamma(learned)
        - lgamma(number + 1)
        + learned * log1p(-part)
        + number * log(part)
    )
    return term - log1p(-falling) < _CHANCE  # the sum of a geometric series: never too small


def _rate(days: Sequence[tuple[float, float]]) -> float:
    events = mails = 0.0
    for x, n in days:
        events += x
        mails += n
    return events / mails
