"""Mail is sent, but no feedback arrives: wired, and mute.

Pure: it is given numbers, and hands on a finding. Nothing else notices this fault: no message
fails, no queue grows, and every rate looks splendid.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from dpp_feedback.feedback.rates import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dpp_feedback.feedback.counts import Count

FEW = 20  # mails; of so many, at least one outcome comes unless all are lost
FEW_OF_A_SOURCE = 100
_HEARD = 0.10  # share of mails with an outcome below which it is silence; usual is 95 % or more
_BEFORE = 7  # days that say what is usual


@dataclass(frozen=True, slots=True)
class Window:
    """Some time in which mail was sent, long enough ago for its outcome to be known.

    Attributes:
        name: for a sentence: "yesterday".
        sent: mails, by SES's statistics or by Send events, whichever are more.
        outcomes: deliveries, bounces and complaints of that time.
    """

    name: str
    sent: int
    outcomes: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What listening brought.

    Attributes:
        silent: feedback is missing.
        sure: mail was certainly sent; otherwise nobody may have sent any.
        sentence: for a person.
    """

    silent: bool
    sure: bool
    sentence: str


def outcomes(tally: Tally) -> int:
    """Count what became of mails, as opposed to their being sent, opened or delayed."""
    return (
        tally.deliveries
        + tally.bounces
        + tally.automatic_replies
        + tally.suppressed_bounces
        + tally.complaints
        + tally.suppressed_complaints
    )


def listen(windows: Sequence[Window], totals: Sequence[Count], yesterday: date) -> Finding:
    """Judge whether feedback arrives.

    Args:
        windows: times to judge.
        totals: counts of `yesterday` and the days before it; without domains.
        yesterday: the last closed day.
    """
    for window in windows:
        if window.sent >= FEW and window.outcomes < _HEARD * window.sent:
            return Finding(
                True,
                True,
                f"{window.name.capitalize()} {window.sent:,} mails were sent, and the outcome of "
                f"{window.outcomes:,} arrived.",
            )
    by_source: defaultdict[str, Tally] = defaultdict(Tally)
    by_day: defaultdict[date, int] = defaultdict(int)
    for count in totals:
        tally = Tally.of([count])
        if count.day == yesterday:
            by_source[count.source] += tally
        by_day[count.day] += outcomes(tally)
    mute = sorted(
        name
        for name, tally in by_source.items()
        if tally.sends >= FEW_OF_A_SOURCE and outcomes(tally) == 0
    )
    if mute:
        return Finding(
            True,
            True,
            f"Yesterday {', '.join(mute[:3])}{' and others' if len(mute) > 3 else ''} sent mail, "
            "and no outcome of any of it arrived.",
        )
    before = [by_day[yesterday - timedelta(days=n)] for n in range(1, _BEFORE + 1)]
    usual = sorted(before)[_BEFORE // 2]
    if usual >= FEW_OF_A_SOURCE and by_day[yesterday] == 0:
        return Finding(
            True,
            False,
            f"Yesterday no feedback arrived at all, where {usual:,} events a day are usual. Nobody "
            "sent mail, or feedback is lost.",
        )
    return Finding(False, True, _heard(windows))


def _heard(windows: Sequence[Window]) -> str:
    told = [
        f"{window.name}: {window.outcomes:,} outcomes of {window.sent:,} mails sent"
        if window.sent
        else f"{window.name}: {window.outcomes:,} outcomes"
        for window in windows
    ]
    return "; ".join(told).capitalize() + "."


def mails_sent(tally: Tally, attempts: Mapping[date, int], day: date) -> int:
    """Take SES's count of a day or the Send events, whichever are more."""
    return max(tally.sends, attempts.get(day, 0))
