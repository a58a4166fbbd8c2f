"""Figures, dates and names as people read them. Whole sentences are sentences.py's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dpp_feedback.feedback.counts import OTHERS
from dpp_feedback.feedback.domains import shown_domain
from dpp_feedback.feedback.rates import BOUNCE_LINE, COMPLAINT_LINE

if TYPE_CHECKING:
    from datetime import date

    from dpp_feedback.feedback.rates import Line

Kind = Literal["bounce", "complaint"]
KINDS: tuple[Kind, Kind] = ("bounce", "complaint")
LINES: dict[Kind, Line] = {"bounce": BOUNCE_LINE, "complaint": COMPLAINT_LINE}

NOT_SAID = "(not said by SES)"
_AMBIGUOUS = ("General", "Undetermined")  # subtypes that mean something only with their type
# Parts of a line that have a name, up to the last of which a rate is named by the nearest.
_PARTS = {
    1 / 10: "a tenth",
    1 / 5: "a fifth",
    1 / 4: "a quarter",
    1 / 3: "a third",
    2 / 5: "two fifths",
    1 / 2: "half",
    2 / 3: "two thirds",
    3 / 4: "three quarters",
    4 / 5: "four fifths",
    9 / 10: "nine tenths",
}


def percent(share: float | None) -> str:
    """Write a share from 0 to 1 with sensible digits: "1.8 %", "0.04 %", "0.003 %".

    A share below one of AWS's lines never reads as if it were on it: 4.97 % stays "4.97 %".
    """
    if share is None:
        return "-"
    value = share * 100
    digits = 1 if value >= 1 else 2
    while 0 < value < 10**-digits and digits < 6:
        digits += 1
    while _reads_as_on_a_line(value, digits) and digits < 6:
        digits += 1
    text = f"{value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.')} %"


def interval(low: float | None, high: float | None) -> str:
    """Write an interval of shares, with so many digits that its ends differ: "1.7 % to 1.9 %"."""
    ends = percent(low), percent(high)
    if low is not None and high is not None and low < high:
        digits = 2
        while ends[0] == ends[1] and digits < 6:
            digits += 1
            ends = f"{100 * low:.{digits}f} %", f"{100 * high:.{digits}f} %"
    return f"{ends[0]} to {ends[1]}"


def _reads_as_on_a_line(value: float, digits: int) -> bool:
    # Rounded as well: 0.001 times 100 is a hair more than 0.1.
    lines = [
        round(100 * share, 9)
        for line in LINES.values()
        for share in (line.review / 2, line.review, line.pause)
    ]
    return any(round(value, 9) < line <= round(value, digits) for line in lines)


def number(value: int) -> str:
    """Write a whole number: "41,230"."""
    return f"{value:,}"


def counted(value: int, noun: str) -> str:
    """Write a number of things: "1 mail", "41,230 mails"."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def day(value: date) -> str:
    """Write a day: "23 November 2026"."""
    return f"{value.day} {value:%B %Y}"


def days(first: date, last: date) -> str:
    """Write a span of days: "12 November 2026", "12 to 14 November 2026"."""
    if first == last:
        return day(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {day(last)}"
    if first.year == last.year:
        return f"{first.day} {first:%B} to {day(last)}"
    return f"{day(first)} to {day(last)}"


def part_of_line(rate: float, line: Line) -> str:
    """Say where a rate stands: "about a third of AWS's review line"."""
    for at, name in (
        (line.pause, "the line at which AWS may pause the account"),
        (line.review, "AWS's review line"),
    ):
        if rate >= at:
            where = "on" if percent(rate) == percent(at) else "above"
            return f"{where} {name} ({percent(at)})"
    part = rate / line.review
    if part < 1 / 20:
        return "far below AWS's review line"
    if part > 19 / 20:
        return f"just below AWS's review line ({percent(line.review)})"
    return f"about {_PARTS[min(_PARTS, key=lambda name: abs(name - part))]} of AWS's review line"


def sub_type(name: str) -> str:
    """Shorten "Transient/MailboxFull" to "MailboxFull", where the type says nothing more."""
    kind, _, sub = name.partition("/")
    if not kind and not sub:
        return "of no named type"
    if not sub or sub == kind:
        return kind
    return name if sub in _AMBIGUOUS else sub


def shown(name: str) -> str:
    """Write a group's name: a domain in its own script, and words where SES says nothing."""
    if name == OTHERS:
        return "all others"
    head, at, domain = name.rpartition("@")
    if "xn--" in domain or not domain.isascii():
        return f"{head}{at}{shown_domain(domain)}"
    return name or NOT_SAID
