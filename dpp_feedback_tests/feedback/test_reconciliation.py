"""Our counts beside SES's: what is a gap, and what is none."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from dpp_feedback.feedback.rates import Tally
from dpp_feedback.feedback.reconciliation import Gap, SentDay, reconcile

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
DAY = date(2026, 11, 12)


def _gaps(ours: Tally, theirs: SentDay) -> list[tuple[str, int, int]]:
    found = reconcile({DAY: ours}, {DAY: theirs}, NOW)
    assert found.days == (DAY,)
    return [(gap.what, gap.ours, gap.theirs) for gap in found.gaps]


def test_equal_numbers_leave_no_gap() -> None:
    ours = Tally(sends=1000, deliveries=970, hard_bounces=20, soft_bounces=10, complaints=8)
    assert _gaps(ours, SentDay(attempts=1000, bounces=30, complaints=8)) == []


def test_what_is_missing_of_ours_is_a_gap_by_kind() -> None:
    ours = Tally(sends=600, deliveries=580, hard_bounces=10, complaints=1)
    assert _gaps(ours, SentDay(attempts=1000, bounces=40, complaints=9)) == [
        ("mails", 600, 1000),
        ("bounces", 10, 40),
        ("complaints", 1, 9),
    ]


def test_an_identity_whose_deliveries_are_not_wired_shows_in_the_mails() -> None:
    assert _gaps(Tally(hard_bounces=30), SentDay(attempts=1000, bounces=30)) == [
        ("mails", 30, 1000)
    ]


def test_more_of_ours_is_no_gap() -> None:
    ours = Tally(deliveries=5000, hard_bounces=300, complaints=50)
    assert _gaps(ours, SentDay(attempts=1000, bounces=3, complaints=1)) == []


@pytest.mark.parametrize(("ours", "gap"), [(950, False), (949, True)])
def test_up_to_five_percent_may_be_missing(ours: int, gap: bool) -> None:
    assert bool(_gaps(Tally(sends=ours), SentDay(attempts=1000))) is gap


@pytest.mark.parametrize(("ours", "gap"), [(80, False), (79, True)])
def test_a_handful_of_mails_is_no_gap(ours: int, gap: bool) -> None:
    assert bool(_gaps(Tally(sends=ours), SentDay(attempts=100))) is gap


@pytest.mark.parametrize(("ours", "gap"), [(1, False), (0, True)])
def test_a_handful_of_bounces_is_no_gap(ours: int, gap: bool) -> None:
    assert bool(_gaps(Tally(sends=99, hard_bounces=ours), SentDay(99, bounces=6))) is gap


def test_suppressed_mails_are_among_those_that_ses_counts() -> None:
    without_sends = Tally(deliveries=700, hard_bounces=100, suppressed_bounces=200)
    assert _gaps(without_sends, SentDay(attempts=1000, bounces=300)) == []
    with_sends = Tally(sends=800, deliveries=700, hard_bounces=100, suppressed_bounces=200)
    assert _gaps(with_sends, SentDay(attempts=1000)) == [("mails", 800, 1000)]


def test_every_bounce_that_arrived_counts_here_automatic_replies_too() -> None:
    ours = Tally(sends=1000, soft_bounces=10, automatic_replies=30, suppressed_complaints=9)
    assert _gaps(ours, SentDay(attempts=1000, bounces=40, complaints=9)) == []


def test_a_day_of_which_we_have_nothing_is_a_gap() -> None:
    found = reconcile({}, {DAY: SentDay(attempts=100)}, NOW)
    assert found.gaps == (Gap(DAY, "mails", 0, 100),)
    assert found.gaps[0].share == 1.0


def test_today_and_the_day_on_which_the_two_weeks_begin_are_left_out() -> None:
    days = {NOW.date() - timedelta(days=n): SentDay(attempts=100) for n in range(15)}
    found = reconcile({}, days, NOW)
    assert found.days == tuple(NOW.date() - timedelta(days=n) for n in range(13, 0, -1))
    assert {gap.day for gap in found.gaps} == set(found.days)


def test_older_days_from_cloudwatch_are_compared() -> None:
    old = NOW.date() - timedelta(days=60)
    assert reconcile({}, {old: SentDay(attempts=100)}, NOW).days == (old,)


def test_days_are_utc_whatever_the_clock_says() -> None:
    seoul = datetime.fromisoformat("2026-11-13T08:00:00+09:00")  # 12 November in UTC
    assert reconcile({}, {DAY: SentDay(attempts=100)}, seoul).days == ()


def test_where_ses_says_nothing_no_day_was_compared() -> None:
    found = reconcile({DAY: Tally(sends=1000)}, {}, NOW)
    assert found.days == ()
    assert found.gaps == ()


def test_a_clock_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        reconcile({}, {}, datetime(2026, 11, 20))  # noqa: DTZ001 - that is the point
