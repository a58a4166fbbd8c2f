"""When the mails of a simulated month are sent: fewer at weekends and at night.

Pure: dates and weights. What is in the mails is month.py's business.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_WEEKDAYS = (105, 120, 115, 115, 100, 70, 65)  # Monday first
_HOURS = (3, 2, 2, 2, 3, 5, 8, 12, 16, 18, 17, 15, 14, 15, 15, 14, 12, 10, 9, 9, 8, 7, 5, 4)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pace:
    """How the mails of some days are spread over their hours.

    Attributes:
        begin: of the first hour; aware, in UTC.
        sums: weight of all hours up to and with each.
    """

    begin: datetime
    sums: tuple[float, ...]

    @classmethod
    def before(cls, at: datetime, days: int, burst: Callable[[datetime], float]) -> Pace:
        """Spread mails over the days before `at`.

        Args:
            at: the end; aware, in UTC.
            days: how many.
            burst: what an hour has beyond its usual, by a time in it: 0.2 is 20 % more.
        """
        begin = at - timedelta(days=days)
        hours = [begin + hour * _HOUR for hour in range(days * 24)]
        weights = (_WEEKDAYS[h.weekday()] * _HOURS[h.hour] * (1 + burst(h)) for h in hours)
        return cls(begin, tuple(accumulate(weights)))

    def moment(self, part: float) -> datetime:
        """Return the time by which a part of all mails is sent.

        Args:
            part: from 0 to 1.
        """
        wanted = part * self.sums[-1]
        hour = min(bisect_right(self.sums, wanted), len(self.sums) - 1)
        before = self.sums[hour - 1] if hour else 0.0
        return self.begin + (hour + (wanted - before) / (self.sums[hour] - before)) * _HOUR

    def share_since(self, moment: datetime) -> float:
        """Return which part of all mails is sent after a time, 0 to 1."""
        hours = (moment - self.begin) / _HOUR
        hour = int(hours)
        before = self.sums[hour - 1] if hour else 0.0
        return 1 - (before + (hours - hour) * (self.sums[hour] - before)) / self.sums[-1]
