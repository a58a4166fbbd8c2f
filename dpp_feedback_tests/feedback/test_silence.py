"""Feedback that is wired and mute, told from quiet days and from mail that is still on its way."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from dpp_feedback.feedback.counts import Count
from dpp_feedback.feedback.rates import Tally
from dpp_feedback.feedback.silence import Finding, Window, listen, mails_sent, outcomes

YESTERDAY = date(2026, 2, 16)


def count(kind: str, number: int, days_ago: int = 0, **more: Any) -> Count:
    return Count(
        day=YESTERDAY - timedelta(days=days_ago), notification_type=kind, count=number, **more
    )


def heard(*windows: Window, totals: list[Count] | None = None) -> Finding:
    return listen(windows, totals or [], YESTERDAY)


def test_mail_without_any_outcome_is_silence_and_the_sentence_has_the_figures() -> None:
    finding = heard(Window("yesterday", 1200, 0))
    assert finding.silent
    assert finding.sure
    assert finding.sentence == ("Yesterday 1,200 mails were sent, and the outcome of 0 arrived.")


def test_a_trickle_of_outcomes_is_silence_too() -> None:
    assert heard(Window("yesterday", 1000, 99)).silent
    assert not heard(Window("yesterday", 1000, 100)).silent


def test_each_window_is_judged_by_itself() -> None:
    assert heard(Window("yesterday", 1000, 990), Window("in the last hours", 50, 0)).silent


def test_a_few_mails_prove_nothing() -> None:
    assert not heard(Window("in the last hours", 19, 0)).silent
    assert heard(Window("in the last hours", 20, 0)).silent


def test_no_mail_and_no_feedback_is_a_quiet_day() -> None:
    finding = heard(Window("yesterday", 0, 0))
    assert not finding.silent
    assert finding.sentence == "Yesterday: 0 outcomes."


def test_one_mute_source_among_others_is_named() -> None:
    totals = [
        count("Send", 500, source="shop@example.com"),
        count("Delivery", 490, source="shop@example.com"),
        count("Send", 100, source="news@example.com"),
        count("Send", 99, source="rare@example.com"),
    ]
    finding = heard(Window("yesterday", 699, 490), totals=totals)
    assert finding.silent
    assert "news@example.com" in finding.sentence
    assert "shop@" not in finding.sentence
    assert "rare@" not in finding.sentence


def test_a_source_that_was_mute_the_day_before_is_no_longer_told() -> None:
    totals = [count("Send", 500, 1, source="news@example.com")]
    assert not heard(Window("yesterday", 0, 0), totals=totals).silent


def test_without_send_events_a_day_without_feedback_is_suspicious_but_not_sure() -> None:
    totals = [count("Delivery", 400, ago) for ago in range(1, 8)]
    finding = heard(Window("yesterday", 0, 0), totals=totals)
    assert finding.silent
    assert not finding.sure
    assert "400 events a day" in finding.sentence


def test_an_account_that_sends_now_and_then_may_pause() -> None:
    totals = [count("Delivery", 400, ago) for ago in (1, 3, 6)]
    assert not heard(Window("yesterday", 0, 0), totals=totals).silent


def test_everything_that_became_of_a_mail_is_an_outcome() -> None:
    counts = [
        count("Delivery", 1),
        count("Bounce", 2, bounce_type="Permanent", bounce_sub_type="NoEmail"),
        count("Bounce", 4, bounce_type="Permanent", bounce_sub_type="OnAccountSuppressionList"),
        count("Bounce", 8, bounce_type="Transient", automatic_reply=True),
        count("Complaint", 16),
        count("Complaint", 32, complaint_sub_type="OnAccountSuppressionList"),
        count("Send", 1000),
        count("Open", 1000),
        count("DeliveryDelay", 1000),
    ]
    assert outcomes(Tally.of(counts)) == 63


def test_mails_sent_are_ses_s_count_or_the_send_events_whichever_is_more() -> None:
    tally = Tally.of([count("Send", 10)])
    assert mails_sent(tally, {YESTERDAY: 30}, YESTERDAY) == 30
    assert mails_sent(tally, {YESTERDAY: 3}, YESTERDAY) == 10
    assert mails_sent(tally, {}, YESTERDAY) == 10
