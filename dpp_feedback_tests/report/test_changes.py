"""What changed since the last report."""

from __future__ import annotations

from datetime import timedelta

from dpp_feedback.report.changes import changes
from dpp_feedback_tests.report import accounts


def test_nothing_new_reads_as_nothing_new() -> None:
    assert changes(accounts.normal(), accounts.normal()) == [
        "Bounces: still fine; 1.8 % as before over 7 days.",
        "Complaints: still fine; 0.01 % as before over 7 days.",
        "36,000 mails in 7 days, 36,000 before.",
    ]


def test_a_new_incident_a_level_and_a_sender_that_rose_are_named() -> None:
    said = changes(accounts.incident(), accounts.normal())
    assert said[0] == "Bounces: from fine to pause; 13.5 %, before 1.8 % over 7 days."
    assert any(one.startswith("New incident. Since 21 November 2026") for one in said)
    assert said[-1] == "Bounces from news@example.com over 28 days rose from 1.3 % to 5.2 %."


def test_an_incident_that_both_reports_know_is_not_new() -> None:
    before = accounts.incident(accounts.AS_OF - timedelta(days=1))
    said = changes(accounts.incident(), before)
    assert not any(one.startswith("New incident") for one in said)


def test_an_incident_that_has_ended_is_said_to_be_over() -> None:
    later = accounts.incident(accounts.AS_OF + timedelta(days=3))
    said = changes(later, accounts.incident())
    assert any(one.startswith("Over. 21 to 23 November 2026") for one in said)


def test_the_first_mail_after_none_reads_sensibly() -> None:
    said = changes(accounts.first_day(), accounts.empty())
    assert said[0] == "Bounces: from too few mails to fine; 2 %, before - over 7 days."
