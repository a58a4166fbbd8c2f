"""What an analysis says in words, its edges above all."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from dpp_feedback.feedback.analysis import Analysis, Side
from dpp_feedback.feedback.causes import Cause
from dpp_feedback.feedback.incidents import Incident
from dpp_feedback.feedback.rates import Basis, Level, Rate, Tally
from dpp_feedback.feedback.trend import Trend
from dpp_feedback.report import sentences
from dpp_feedback.report.advice import COMPLAINTS, advice
from dpp_feedback_tests.report import accounts

FULL = Cause("gmail.com", "Transient/MailboxFull", "news@example.com", 420, 0.42)
LEVEL = Trend(days=28, per_day=0.0, error=0.1, significant=False, days_to_review=None)


def _rate(events: int, mails: int) -> Rate:
    return Rate(events, mails, Basis.SEND)


def _side(level: Level, week: Rate, estimate: Rate | None = None, trend: Trend = LEVEL) -> Side:
    return Side(
        week=week,
        month=week,
        yesterday=week,
        estimate=estimate or week,
        level=level,
        trend_week=trend,
        trend_month=trend,
        causes=(),
    )


def _analysis(bounce: Side, complaint: Side) -> Analysis:
    tally = Tally(
        sends=bounce.week.mails, hard_bounces=bounce.week.events, complaints=complaint.week.events
    )
    return replace(accounts.normal(), week=tally, bounce=bounce, complaint=complaint)


def test_the_headline_of_a_good_month_says_how_good_and_for_how_long() -> None:
    assert sentences.headline(accounts.normal()) == (
        "Bounces 1.8 % of 36,000 mails in 7 days, about a third of AWS's review line; "
        "complaints fine at 0.01 %; at this trend no line is reached in 90 days"
    )


def test_the_headline_begins_with_the_worse_of_the_two() -> None:
    said = sentences.headline(accounts.complaining())
    assert said.startswith("Complaints 0.1 % of 36,000 mails in 7 days, on AWS's review line")
    assert "; bounces fine at 1.8 %" in said
    assert "no line is reached" not in said


def test_the_headline_says_since_when_an_incident_goes_on() -> None:
    said = sentences.headline(accounts.incident())
    assert "above the line at which AWS may pause the account" in said
    assert said.endswith("far above the usual since 21 November")


def test_ours_and_awss_figure_are_told_apart_when_they_differ_in_level() -> None:
    assert "while AWS's own figure may be 1 %;" in sentences.headline(accounts.incident())
    side = _side(Level.REVIEW, _rate(20, 2_000), _rate(600, 10_000))
    assert sentences.side_sentence("bounce", side, 1_000) == (
        "bounces 1 % of 2,000 mails in 7 days, about a fifth of AWS's review line, while AWS's "
        "own figure may be 6 %, above AWS's review line (5 %)"
    )


@pytest.mark.parametrize(
    ("analysis", "said"),
    [
        (
            accounts.empty(),
            "No mail in the 28 days to 23 November 2026: nothing to judge",
        ),
        (
            accounts.analysed(accounts.a_day(accounts.AS_OF - timedelta(days=9), 400, 4, 4, 0)),
            "No mail in the 7 days to 23 November 2026, 400 in the last 28: nothing to judge",
        ),
        (
            accounts.one_mail_a_day(),
            "1 bounce and 0 complaints in 7 mails in 7 days: too few to judge, which takes 1,000",
        ),
        (
            accounts.analysed([accounts.counted(accounts.AS_OF, "Send", 1)]),
            "0 bounces and 0 complaints in 1 mail in 7 days: too few to judge, which takes 1,000",
        ),
        (
            accounts.first_day(),
            (
                "Bounces 2 % of 2,000 mails in 7 days, about two fifths of AWS's review line; "
                "no complaints"
            ),
        ),
        (
            accounts.analysed([accounts.counted(accounts.AS_OF, "Send", 5_000)]),
            "No bounces in 5,000 mails in 7 days; no complaints",
        ),
        (
            accounts.ten_million_a_day(),
            (
                "Bounces 0.42 % of 60,000,000 mails in 7 days, about a tenth of AWS's review line; "
                "complaints fine at 0.005 %; at this trend no line is reached in 90 days"
            ),
        ),
    ],
)
def test_the_headline_of_an_edge_reads_sensibly(analysis: Analysis, said: str) -> None:
    assert sentences.headline(analysis) == said


def test_complaints_without_a_mail_to_set_them_against_are_said() -> None:
    said = sentences.headline(accounts.analysed([accounts.counted(accounts.AS_OF, "Complaint", 1)]))
    assert said.startswith("0 bounces and 1 complaint in 0 mails in 7 days: too few to judge")
    side = _side(Level.TOO_FEW, _rate(3, 0))
    assert sentences.side_sentence("complaint", side, 1_000) == (
        "3 complaints in 7 days, and no mail to set against"
    )


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (None, "at this trend no line is reached in 90 days"),
        (91, "at this trend no line is reached in 90 days"),
        (90, "at this trend AWS's review line is reached in 90 days"),
        (1, "at this trend AWS's review line is reached in 1 day"),
        (0, "the last days are on AWS's review line already"),
    ],
)
def test_the_days_to_the_line_are_said_as_far_as_we_look(left: int | None, said: str) -> None:
    trend = replace(LEVEL, significant=True, per_day=0.001, days_to_review=left)
    assert sentences.days_sentence(trend) == said


def test_the_headline_names_the_line_that_is_reached_first() -> None:
    soon = replace(LEVEL, significant=True, per_day=0.00001, days_to_review=12)
    later = replace(LEVEL, significant=True, per_day=0.001, days_to_review=40)
    analysis = _analysis(
        _side(Level.FINE, _rate(20, 2_000), trend=later),
        _side(Level.FINE, _rate(1, 4_000), trend=soon),
    )
    said = sentences.headline(analysis)
    assert said.endswith("at this trend complaints reach AWS's review line in 12 days")


def test_the_week_s_trend_counts_only_when_it_is_more_than_chance() -> None:
    week = Trend(days=7, per_day=0.002, error=0.1, significant=False, days_to_review=None)
    side = replace(_side(Level.FINE, _rate(1, 100)), trend_week=week)
    assert sentences.present_trend(side) is side.trend_month
    rising = replace(week, significant=True)
    assert sentences.present_trend(replace(side, trend_week=rising)) is rising


def test_an_incident_that_is_over_foretells_nothing() -> None:
    # A month as on the day after: the spike six to four days ago, the last three days as ever.
    spike = [
        accounts.counted(
            accounts.AS_OF - timedelta(days=back), "Bounce", 300, sub_type="Permanent/NoEmail"
        )
        for back in (5, 4, 3)
    ]
    side = accounts.analysed(accounts.month_of(6_000, 60, 48, 1) + spike).bounce
    assert side.level is Level.WATCH
    assert sentences.days_sentence(sentences.present_trend(side)) == (
        "at this trend no line is reached in 90 days"
    )


@pytest.mark.parametrize(
    ("per_day", "significant", "said"),
    [
        (0.0005, True, "Over 28 days rising by 0.05 percentage points a day"),
        (-0.012, True, "Over 28 days falling by 1.2 percentage points a day"),
        (0.0005, False, "No sure trend over 28 days"),
    ],
)
def test_a_trend_is_said_with_its_direction(per_day: float, significant: bool, said: str) -> None:
    trend = replace(LEVEL, per_day=per_day, significant=significant)
    assert sentences.trend_sentence(trend) == said


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (FULL, "gmail.com, MailboxFull, from news@example.com: 42 % of all bounces"),
        (
            Cause("gmail.com", "", "news@example.com", 3, 1.0),
            "gmail.com, from news@example.com: 100 % of all complaints",
        ),
        (
            Cause("", "Permanent/General", "", 3, 0.005),
            "unnamed domains, Permanent/General, from unnamed senders: 0.5 % of all bounces",
        ),
        (
            Cause("(others)", "Permanent/NoEmail", "(others)", 3, 0.5),
            "other domains, NoEmail, from other senders: 50 % of all bounces",
        ),
    ],
)
def test_a_cause_is_named_by_domain_subtype_and_sender(cause: Cause, said: str) -> None:
    assert sentences.cause_sentence(cause) == said


def _incident(**other: object) -> Incident:
    usual: dict[str, object] = {
        "kind": "bounce",
        "first": date(2026, 11, 12),
        "last": date(2026, 11, 14),
        "ongoing": False,
        "dimension": "source",
        "name": "news@example.com",
        "cause": FULL,
        "rate": _rate(1_800, 10_000),
        "usual": 0.019,
        "surplus": 1_610,
    }
    return Incident(**usual | other)  # type: ignore[arg-type]


def test_an_incident_is_told_with_days_group_figures_and_cause() -> None:
    assert sentences.incident_sentence(_incident()) == (
        "12 to 14 November 2026: bounces from news@example.com at 18 %, usually 1.9 %; "
        "1,610 more than usual, 42 % of them gmail.com, MailboxFull, from news@example.com."
    )
    most = replace(FULL, share=0.8)
    assert "most of them gmail.com" in sentences.incident_sentence(_incident(cause=most))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"ongoing": True}, "Since 12 November 2026, still going on: bounces from "),
        ({"dimension": "account", "name": ""}, ": bounces of the whole account at 18 %"),
        ({"dimension": "domain", "name": "gmail.com"}, ": bounces to gmail.com at 18 %"),
        ({"dimension": "configuration_set", "name": "news"}, "with the configuration set news at"),
        ({"dimension": "sub_type", "name": "Permanent/NoEmail"}, "of the type Permanent/NoEmail"),
        ({"kind": "complaint"}, ": complaints from news@example.com at 18 %"),
    ],
)
def test_an_incident_names_the_group_that_stands_out(other: dict[str, object], said: str) -> None:
    assert said in sentences.incident_sentence(_incident(**other))


def test_each_subtype_that_aws_lists_has_advice_of_its_own() -> None:
    listed = [
        *("Undetermined/Undetermined", "Permanent/General", "Permanent/NoEmail"),
        *("Permanent/Suppressed", "Permanent/OnAccountSuppressionList", "Transient/General"),
        *("Transient/MailboxFull", "Transient/MessageTooLarge", "Transient/ContentRejected"),
        *("Transient/AttachmentRejected", "Transient/CustomTimeoutExceeded"),
    ]
    said = {advice(name) for name in listed}
    assert len(said) == len(listed)
    assert advice(replace(FULL, sub_type="")) == COMPLAINTS
    assert advice(FULL) == advice("Transient/MailboxFull")


def test_an_unknown_subtype_gets_the_advice_of_its_type() -> None:
    assert advice("Permanent/Brand-New") == advice("Permanent")
    assert "diagnostic_code" in advice("Novel/Brand-New")
    assert advice("Novel/Brand-New") != advice("Transient")


def test_the_chart_s_text_says_what_the_chart_shows() -> None:
    said = sentences.chart_sentence(accounts.incident(), "bounce")
    assert "27 October to 23 November 2026" in said
    assert "Over the last 7 days 13.5 %" in said
    assert "review line is 5 %, its pause line 10 %" in said
    assert "Incident: 21 to 23 November 2026." in said
    assert "No day with mail" in sentences.chart_sentence(accounts.empty(), "complaint")
