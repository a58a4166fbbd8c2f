"""Where a rate is heading: the slope, its error, and the days to AWS's review line."""

from __future__ import annotations

from math import sqrt
from random import Random

import pytest

from dpp_feedback.feedback.rates import BOUNCE_LINE, Basis, Rate
from dpp_feedback.feedback.trend import trend

NONE = Rate(0, 0, Basis.OUTCOMES)


def _rate(events: int, mails: int = 10_000) -> Rate:
    return Rate(events, mails, Basis.SEND)


def test_a_straight_line_is_found_and_reaches_the_review_line() -> None:
    found = trend([_rate(100 + 20 * day) for day in range(7)], _rate(160), BOUNCE_LINE, 1_000)
    assert found.days == 7
    assert found.per_day == pytest.approx(0.002)
    # The binomial error: p (1 - p) over the mails times the squared distances from the middle.
    assert found.error == pytest.approx(sqrt(0.016 * 0.984 / (10_000 * 28)))
    assert found.significant
    assert found.days_to_review == 17  # (5 % - 1.6 %) / 0.2 %


def test_days_weigh_by_their_mails() -> None:
    steady = [_rate(200), _rate(200), _rate(200), _rate(5, mails=10)]
    found = trend(steady, _rate(200), BOUNCE_LINE, 1_000)
    assert abs(found.per_day) < 0.001
    assert not found.significant


def test_days_without_mail_are_left_out_and_keep_their_place() -> None:
    days = [_rate(100), NONE, NONE, _rate(160), NONE, _rate(200), NONE]
    assert trend(days, _rate(150), BOUNCE_LINE, 1_000).per_day == pytest.approx(0.002)


@pytest.mark.parametrize("days", [[], [NONE] * 7, [_rate(1), _rate(900)], [_rate(1), NONE]])
def test_fewer_than_three_days_with_mail_make_no_trend(days: list[Rate]) -> None:
    found = trend(days, _rate(100), BOUNCE_LINE, 0)
    assert (found.per_day, found.error, found.significant) == (0, 0, False)
    assert found.days_to_review is None


def test_a_falling_rate_is_a_trend_with_no_line_in_sight() -> None:
    found = trend([_rate(400 - 40 * day) for day in range(7)], _rate(280), BOUNCE_LINE, 1_000)
    assert found.significant
    assert found.per_day < 0
    assert found.days_to_review is None


@pytest.mark.parametrize("rate", [0.0, 0.02, 1.0])
def test_a_level_rate_is_no_trend(rate: float) -> None:
    found = trend([_rate(round(10_000 * rate))] * 28, _rate(1), BOUNCE_LINE, 1_000)
    assert not found.significant
    assert found.days_to_review is None


def test_one_bad_day_is_no_trend() -> None:
    found = trend([*[_rate(200)] * 6, _rate(600)], _rate(257), BOUNCE_LINE, 1_000)
    assert not found.significant


def test_a_rise_that_is_over_is_no_trend_and_reaches_no_line() -> None:
    # On the day after the last one the spike was six to four days ago.
    usual, spike = _rate(108, 6_000), _rate(408, 6_000)
    days = [*[usual] * 22, *[spike] * 3, *[usual] * 3]
    found = trend(days, _rate(1_656, 42_000), BOUNCE_LINE, 1_000)
    assert found.per_day > 2 * found.error
    assert not found.significant
    assert found.days_to_review is None
    going_on = trend([*[usual] * 25, *[spike] * 3], _rate(1_656, 42_000), BOUNCE_LINE, 1_000)
    assert going_on.days_to_review == 11


def test_a_slow_rise_stays_in_sight_on_a_weekend_with_a_lower_rate() -> None:
    steady = [1_000 + 50 * day for day in range(28)]
    days = [_rate(n if i % 7 < 4 else n * 4 // 5, 100_000) for i, n in enumerate(steady)]
    week = _rate(sum(one.events for one in days[-7:]), 700_000)
    last = _rate(sum(one.events for one in days[-3:]), 300_000)
    assert (last.high or 1) < (week.value or 0)
    found = trend(days, week, BOUNCE_LINE, 1_000)
    assert found.significant
    assert found.days_to_review is not None


def test_a_reached_line_is_no_days_away_whatever_the_slope() -> None:
    assert trend([_rate(600)] * 7, _rate(600), BOUNCE_LINE, 1_000).days_to_review == 0
    assert trend([_rate(500)] * 7, _rate(500), BOUNCE_LINE, 1_000).days_to_review == 0


def test_below_the_minimum_volume_nothing_is_significant_and_no_line_is_reached() -> None:
    rising = [Rate(10 * day, 100, Basis.SEND) for day in range(7)]
    found = trend(rising, Rate(210, 700, Basis.SEND), BOUNCE_LINE, 1_000)
    assert not found.significant
    assert found.days_to_review is None
    assert trend(rising, Rate(210, 700, Basis.SEND), BOUNCE_LINE, 700).days_to_review == 0


def test_a_line_more_than_a_year_away_is_not_in_sight() -> None:
    slow = [_rate(10_000_000 + 40_000 * day, 1_000_000_000) for day in range(28)]
    assert trend(slow, _rate(100), BOUNCE_LINE, 1_000).days_to_review is None
    near = trend(slow, _rate(355), BOUNCE_LINE, 1_000)
    assert near.days_to_review == 363


def test_chance_alone_is_seldom_significant() -> None:
    rng = Random(4)  # noqa: S311 - a simulation must be repeatable
    found = 0
    for _ in range(300):
        days = [_rate(sum(rng.random() < 0.02 for _ in range(400)), 400) for _ in range(7)]
        found += trend(days, _rate(200), BOUNCE_LINE, 1_000).significant
    assert found < 300 * 0.08  # two errors: 4.6 %
