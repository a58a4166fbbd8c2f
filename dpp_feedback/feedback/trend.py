"""Where a rate is heading, and when it reaches AWS's review line."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING

from dpp_feedback.feedback.rates import Line, Rate

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEAST_DAYS = 3  # with mail: two always lie on a line
_LAST_DAYS = 3  # with mail: what they say together is where the rate is heading now
_SURE = 2  # standard errors that a slope must exceed: about 95 %
_HORIZON = 365  # days; nobody's mail keeps its course for longer


@dataclass(frozen=True, slots=True)
class Trend:
    """Where a rate is heading: a line through its days, weighted by their mails.

    Attributes:
        days: length of the window.
        per_day: change of the rate a day (0.001 = 0.1 percentage points).
        error: its standard error.
        significant: it is more than chance, and the last days do not contradict it.
        days_to_review: until AWS's review line at this trend; 0: reached; None: not in sight
            (falling, level, not significant, or more than a year away).
    """

    days: int
    per_day: float
    error: float
    significant: bool
    days_to_review: int | None


def trend(days: Sequence[Rate], current: Rate, line: Line, min_volume: int) -> Trend:
    """Lay a line through daily rates.

    Args:
        days: one rate for each day of the window, the oldest first.
        current: where the rate is now: that of the last seven days.
        line: AWS's lines.
        min_volume: mails in the window below which no trend is significant, and in `current`
            below which no line is reached.
    """
    per_day, error = _slope(days)
    enough = sum(rate.mails for rate in days) >= min_volume
    significant = enough and abs(per_day) > _SURE * error and not _over(days, current, per_day)
    return Trend(
        days=len(days),
        per_day=per_day,
        error=error,
        significant=significant,
        days_to_review=_days_to_review(current, line, min_volume, per_day if significant else 0.0),
    )


def _slope(days: Sequence[Rate]) -> tuple[float, float]:
    """Least squares, weighted by mails, with the standard error of the slope.

    A day's rate scatters as a binomial share does: by p (1 - p) / mails. Where days scatter more
    than that, as days of unlike mail do, the error grows with them, so that one bad day makes no
    trend.
    """
    points = [
        (float(x), rate.value, rate.mails) for x, rate in enumerate(days) if rate.value is not None
    ]
    if len(points) < _LEAST_DAYS:
        return 0.0, 0.0
    mails = sum(n for _, _, n in points)
    middle = sum(x * n for x, _, n in points) / mails
    mean = sum(y * n for _, y, n in points) / mails
    width = sum(n * (x - middle) ** 2 for x, _, n in points)
    slope = sum(n * (x - middle) * (y - mean) for x, y, n in points) / width
    rest = sum(n * (y - mean - slope * (x - middle)) ** 2 for x, y, n in points)
    variance = max(mean * (1 - mean), rest / (len(points) - 2))
    return slope, sqrt(variance / width)


def _over(days: Sequence[Rate], current: Rate, per_day: float) -> bool:
    """Whether a rise has come to its end: an incident that is over raises a line for weeks.

    The last days must surely lie below the rate of the last seven, and be no higher than the
    window as a whole. The second keeps a slow rise in sight on each weekend with a lower rate.
    """
    if per_day <= 0 or current.value is None:
        return False
    last = _together([rate for rate in days if rate.mails][-_LAST_DAYS:])
    whole = _together(days)
    return (last.high or 0.0) < current.value and (last.value or 0.0) <= (whole.value or 0.0)


def _together(days: Sequence[Rate]) -> Rate:
    return Rate(sum(one.events for one in days), sum(one.mails for one in days), days[-1].basis)


def _days_to_review(current: Rate, line: Line, min_volume: int, per_day: float) -> int | None:
    if current.value is None:
        return None
    missing = line.review - current.value
    if missing <= 0:
        return 0 if current.mails >= min_volume else None
    # Compared first: a slope of almost nothing would make a number without end.
    return ceil(missing / per_day) if per_day > 0 and missing <= per_day * _HORIZON else None
