"""Figures as people read them."""

from __future__ import annotations

from datetime import date

import pytest

from dpp_feedback.feedback.counts import OTHERS
from dpp_feedback.feedback.rates import BOUNCE_LINE, COMPLAINT_LINE, Line
from dpp_feedback.report import words


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (None, "-"),
        (0.0, "0 %"),
        (0.018, "1.8 %"),
        (0.0179, "1.8 %"),
        (0.0004, "0.04 %"),
        (0.000043, "0.004 %"),
        (0.00000001, "0.000001 %"),
        (0.05, "5 %"),
        (0.123, "12.3 %"),
        (1.0, "100 %"),
    ],
)
def test_a_share_is_written_with_sensible_digits(share: float | None, said: str) -> None:
    assert words.percent(share) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0499, "4.99 %"),
        (0.04996, "4.996 %"),
        (0.0999, "9.99 %"),
        (0.000999, "0.0999 %"),
        (0.02499, "2.499 %"),
    ],
)
def test_a_share_below_a_line_never_reads_as_if_on_it(share: float, said: str) -> None:
    assert words.percent(share) == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.017, 0.019, "1.7 % to 1.9 %"),
        (0.0, 0.793, "0 % to 79.3 %"),
        (0.004184, 0.004216, "0.418 % to 0.422 %"),
        (0.0, 0.0, "0 % to 0 %"),
        (None, None, "- to -"),
    ],
)
def test_the_ends_of_an_interval_read_apart(
    low: float | None, high: float | None, said: str
) -> None:
    assert words.interval(low, high) == said


def test_things_are_counted_in_english() -> None:
    assert [words.counted(n, "mail") for n in (0, 1, 2, 41_230)] == [
        "0 mails",
        "1 mail",
        "2 mails",
        "41,230 mails",
    ]


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (date(2026, 11, 9), date(2026, 11, 9), "9 November 2026"),
        (date(2026, 11, 9), date(2026, 11, 12), "9 to 12 November 2026"),
        (date(2026, 10, 27), date(2026, 11, 23), "27 October to 23 November 2026"),
        (date(2026, 12, 27), date(2027, 1, 3), "27 December 2026 to 3 January 2027"),
    ],
)
def test_a_span_of_days_says_nothing_twice(first: date, last: date, said: str) -> None:
    assert words.days(first, last) == said


@pytest.mark.parametrize(
    ("rate", "line", "said"),
    [
        (0.0, BOUNCE_LINE, "far below AWS's review line"),
        (0.018, BOUNCE_LINE, "about a third of AWS's review line"),
        (0.025, BOUNCE_LINE, "about half of AWS's review line"),
        (0.0495, BOUNCE_LINE, "just below AWS's review line (5 %)"),
        (0.05, BOUNCE_LINE, "on AWS's review line (5 %)"),
        (0.07, BOUNCE_LINE, "above AWS's review line (5 %)"),
        (0.12, BOUNCE_LINE, "above the line at which AWS may pause the account (10 %)"),
        (0.0011, COMPLAINT_LINE, "above AWS's review line (0.1 %)"),
        (0.005, COMPLAINT_LINE, "on the line at which AWS may pause the account (0.5 %)"),
    ],
)
def test_a_rate_is_set_beside_awss_lines(rate: float, line: Line, said: str) -> None:
    assert words.part_of_line(rate, line) == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Transient/MailboxFull", "MailboxFull"),
        ("Transient/General", "Transient/General"),
        ("Undetermined/Undetermined", "Undetermined"),
        ("Permanent", "Permanent"),
        ("", "of no named type"),
        ("/", "of no named type"),
    ],
)
def test_a_subtype_keeps_its_type_only_where_it_needs_it(name: str, said: str) -> None:
    assert words.sub_type(name) == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "(not said by SES)"),
        (OTHERS, "all others"),
        ("News-Set", "News-Set"),
        ("xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai (пример.рф)"),
        ("news@xn--bcher-kva.example", "news@xn--bcher-kva.example (bücher.example)"),
    ],
)
def test_a_domain_is_shown_in_its_own_script_too(name: str, said: str) -> None:
    assert words.shown(name) == said
