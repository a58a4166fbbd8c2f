"""Incidents: quiet months have none, and a month with one is told as it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest

from dpp_feedback.feedback.counts import OTHERS, Count
from dpp_feedback.feedback.incidents import Incident, incidents
from dpp_feedback_tests.feedback.counting import AS_OF

if TYPE_CHECKING:
    from collections.abc import Callable

WEEK = (1.0, 1.0, 1.1, 1.0, 0.9, 0.3, 0.25)  # mails by weekday
SOURCES = {"news@example.com": 0.5, "shop@example.com": 0.4, "login@example.com": 0.1}
DOMAINS = {  # share of the mails, usual bounces, usual complaints
    "gmail.com": (0.5, 0.010, 0.0),
    "outlook.com": (0.2, 0.020, 0.0008),
    "yahoo.com": (0.15, 0.030, 0.0006),
    "example.org": (0.1, 0.040, 0.0),
    OTHERS: (0.05, 0.050, 0.0002),
}
SUB_TYPES = {("Permanent", "General"): 0.7, ("Transient", "MailboxFull"): 0.3}


def _nothing(_back: int, _source: str, _domain: str) -> float:
    return 0.0


def _month(
    seed: int,
    volume: float = 10_000,
    days: int = 56,
    *,
    growth: float = 1.0,
    bounces: Callable[[int, str, str], float] = _nothing,
    complaints: Callable[[int, str, str], float] = _nothing,
    sub_type: tuple[str, str] | None = None,
    sends: bool = False,
) -> list[Count]:
    """Traffic by chance, with rates of each domain's own, a weekly pattern, and what is added.

    Args:
        seed: of the chance.
        volume: mails of a Monday, at the end.
        days: that the account has.
        growth: of the volume, by day.
        bounces: what the bounce rate is higher by, for a day (so many days before `AS_OF`), a
            source and a domain.
        complaints: the same for complaints.
        sub_type: of all bounces of cells where `bounces` adds some.
        sends: whether there are Send events.
    """
    rng = Random(seed)  # noqa: S311 - a simulation must be repeatable
    counts = []
    for back in range(days):
        day = AS_OF - timedelta(days=back)
        for source, part in SOURCES.items():
            for domain, (share, usual, complaining) in DOMAINS.items():
                mails = _chance(rng, volume * growth**-back * WEEK[day.weekday()] * part * share)
                more = bounces(back, source, domain)
                bounced = min(mails, _chance(rng, mails * (usual + more)))
                complained = _chance(rng, mails * (complaining + complaints(back, source, domain)))
                cell = Count(
                    day=day,
                    notification_type="Delivery",
                    source=source,
                    configuration_set="bulk" if source.startswith("news") else "",
                    recipient_domain=domain,
                    count=mails - bounced,
                )
                counts += [cell, replace(cell, notification_type="Complaint", count=complained)]
                if sends:
                    counts.append(replace(cell, notification_type="Send", count=mails))
                for (kind, sub), part_of in SUB_TYPES.items():
                    number = round(bounced * part_of)
                    if more and sub_type:
                        number = bounced if (kind, sub) == sub_type else 0
                    counts.append(
                        replace(
                            cell,
                            notification_type="Bounce",
                            bounce_type=kind,
                            bounce_sub_type=sub,
                            count=number,
                        )
                    )
    return counts


def _chance(rng: Random, expected: float) -> int:
    """A number as chance brings it: Poisson's distribution, nearly."""
    if expected > 30:
        return max(0, round(rng.gauss(expected, expected**0.5)))
    number, left = 0, rng.expovariate(1)
    while left < expected:
        number, left = number + 1, left + rng.expovariate(1)
    return number


def _find(counts: list[Count], min_volume: int = 1_000) -> tuple[Incident, ...]:
    return incidents(AS_OF, counts, min_volume)


def _only(counts: list[Count]) -> Incident:
    (incident,) = _find(counts)
    return incident


def test_quiet_months_have_no_incident() -> None:
    # A larger measurement, with more shapes of accounts, is reported in docs/rates.md.
    loud = Counter(
        (volume, days, bool(_find(_month(seed, volume, days, growth=growth, sends=sends))))
        for seed, (volume, days, growth, sends) in enumerate(
            [
                (1_000, 56, 1.0, False),
                (10_000, 56, 1.03, True),
                (100_000, 56, 1.05, False),
                (10_000, 20, 1.0, True),
                (10_000, 9, 1.2, False),
            ]
            * 5
        )
    )
    assert not [key for key in loud if key[2]]


@pytest.mark.parametrize("back", [1, 8, 15, 22])
@pytest.mark.parametrize("days", [56, 28])
def test_a_small_source_that_goes_wrong_for_two_days_is_found(back: int, days: int) -> None:
    def spike(day: int, source: str, _domain: str) -> float:
        return 0.05 if source == "login@example.com" and day in {back, back - 1} else 0.0

    found = _only(_month(back, days=days, bounces=spike))
    assert (found.kind, found.dimension, found.name) == ("bounce", "source", "login@example.com")
    assert found.first == AS_OF - timedelta(days=back)
    assert found.last == AS_OF - timedelta(days=back - 1)
    assert found.ongoing == (back == 1)
    assert found.cause.source == "login@example.com"
    assert found.usual == pytest.approx(0.018, abs=0.005)
    assert found.rate.value == pytest.approx(0.068, abs=0.02)
    assert found.surplus == pytest.approx(0.05 * found.rate.mails, rel=0.4)


def test_the_cause_names_domain_subtype_and_source() -> None:
    def full(day: int, source: str, domain: str) -> float:
        wrong = source == "news@example.com" and domain == "gmail.com"
        return 0.12 if wrong and 3 <= day <= 5 else 0.0

    found = _only(_month(1, bounces=full, sub_type=("Transient", "MailboxFull")))
    cause = found.cause
    assert (cause.recipient_domain, cause.sub_type, cause.source) == (
        "gmail.com",
        "Transient/MailboxFull",
        "news@example.com",
    )
    assert cause.share > 0.5
    assert (found.last - found.first).days == 2


def test_a_provider_that_refuses_all_sources_is_named_as_the_domain() -> None:
    def refuse(day: int, _source: str, domain: str) -> float:
        return 0.3 if domain == "yahoo.com" and day == 6 else 0.0

    found = _only(_month(2, bounces=refuse))
    assert (found.dimension, found.name) == ("domain", "yahoo.com")
    assert found.first == found.last == AS_OF - timedelta(days=6)


def test_when_everything_bounces_it_is_the_account() -> None:
    found = _only(_month(3, bounces=lambda day, _s, _d: 0.1 if day == 4 else 0.0))
    assert (found.dimension, found.name) == ("account", "")
    assert found.rate.value == pytest.approx(0.12, abs=0.02)


def test_a_subtype_that_rises_everywhere_is_named_as_such() -> None:
    def rises(day: int, _source: str, _domain: str) -> float:
        return 0.015 if day == 4 else 0.0

    found = _only(_month(4, bounces=rises, sub_type=("Transient", "MailboxFull")))
    assert (found.dimension, found.name) == ("sub_type", "Transient/MailboxFull")
    assert found.rate.mails > 8_000  # over all mail


def test_complaints_of_one_mailing_are_an_incident_of_their_own() -> None:
    def angry(day: int, source: str, domain: str) -> float:
        wrong = source == "shop@example.com" and domain == "yahoo.com"
        return 0.04 if wrong and day == 5 else 0.0

    found = _only(_month(5, complaints=angry))
    assert (found.kind, found.cause.sub_type) == ("complaint", "")
    assert (found.cause.recipient_domain, found.cause.source) == ("yahoo.com", "shop@example.com")


def test_two_stories_at_once_are_two_incidents() -> None:
    def two(day: int, source: str, domain: str) -> float:
        if day not in {5, 6}:
            return 0.0
        return 0.3 if source == "login@example.com" or domain == "yahoo.com" else 0.0

    found = _find(_month(6, bounces=two))
    assert {each.name for each in found} == {"login@example.com", "yahoo.com"}


def test_incidents_come_newest_first_and_an_earlier_one_hides_none() -> None:
    def twice(day: int, source: str, _domain: str) -> float:
        return 0.15 if source == "shop@example.com" and day in {3, 16, 17, 18, 19} else 0.0

    newest, older = _find(_month(7, bounces=twice))
    assert newest.first == newest.last == AS_OF - timedelta(days=3)
    assert (older.first, older.last) == (AS_OF - timedelta(days=19), AS_OF - timedelta(days=16))


def test_a_day_between_two_bad_ones_does_not_part_them() -> None:
    def gap(day: int, source: str, _domain: str) -> float:
        return 0.15 if source == "shop@example.com" and day in {3, 5} else 0.0

    found = _only(_month(8, bounces=gap))
    assert (found.first, found.last) == (AS_OF - timedelta(days=5), AS_OF - timedelta(days=3))


def test_an_incident_before_the_window_is_past_and_one_that_reaches_into_it_is_whole() -> None:
    past = _month(9, bounces=lambda day, _s, _d: 0.1 if 30 <= day <= 33 else 0.0)
    assert not _find(past)
    reaching = _only(_month(9, bounces=lambda day, _s, _d: 0.1 if 26 <= day <= 30 else 0.0))
    assert reaching.first == AS_OF - timedelta(days=30)


def test_a_long_incident_does_not_become_the_usual() -> None:
    found = _only(_month(10, bounces=lambda day, _s, _d: 0.08 if day < 20 else 0.0))
    assert (found.first, found.ongoing) == (AS_OF - timedelta(days=19), True)


def test_a_newsletter_that_bounces_more_each_monday_is_no_incident() -> None:
    monday = AS_OF - timedelta(days=1)
    assert monday.weekday() == 0

    def weekly(day: int, source: str, _domain: str) -> float:
        return 0.06 if source == "news@example.com" and day % 7 == 1 else 0.0

    assert not _find(_month(11, bounces=weekly))


def test_mail_of_the_evening_that_bounces_the_day_after_is_no_incident() -> None:
    quiet = _month(12, volume=1_000)
    mail = Count(day=AS_OF, notification_type="Delivery", source="news@example.com", count=0)
    bounce = replace(mail, notification_type="Bounce")
    hard = replace(bounce, bounce_type="Permanent", bounce_sub_type="General")
    soft = replace(bounce, bounce_type="Transient", bounce_sub_type="MailboxFull")
    evening, day_after = AS_OF - timedelta(days=9), AS_OF - timedelta(days=8)
    campaign = [
        replace(mail, day=evening, count=98_600),
        replace(hard, day=evening, count=1_400),
        replace(mail, day=day_after, count=1_000),
        replace(soft, day=day_after, count=600),
    ]
    assert not _find(quiet + campaign)
    assert _find([*quiet, *campaign[:3], replace(soft, day=day_after, count=6_000)])


def test_a_new_source_is_measured_by_the_account() -> None:
    new = Count(day=AS_OF, notification_type="Delivery", source="new@example.com", count=700)
    bounced = replace(
        new,
        notification_type="Bounce",
        bounce_type="Permanent",
        bounce_sub_type="General",
        count=300,
    )
    found = _only([*_month(13), new, bounced])
    assert found.name == "new@example.com"
    assert found.usual < 0.03


def test_what_has_no_name_names_an_incident_only_when_nothing_else_does() -> None:
    def rest(day: int, _source: str, domain: str) -> float:
        return 0.4 if domain == OTHERS and day == 4 else 0.0

    found = _only(_month(14, bounces=rest))
    assert (found.dimension, found.cause.recipient_domain) == ("account", OTHERS)

    def little(day: int, _source: str, domain: str) -> float:
        return 0.15 if domain == OTHERS and day == 4 else 0.0

    found = _only(_month(14, bounces=little))
    assert (found.dimension, found.name) == ("domain", OTHERS)


def test_below_the_minimum_volume_nothing_alarms() -> None:
    def all_of_them(day: int, _source: str, _domain: str) -> float:
        return 0.9 if day == 4 else 0.0

    small = _month(15, volume=150, bounces=all_of_them)
    assert not _find(small)
    assert _find(small, min_volume=100)


@pytest.mark.parametrize("days", [0, 1, 2, 3])
def test_the_first_days_of_an_account_are_no_incident(days: int) -> None:
    assert not _find(_month(16, days=days, bounces=lambda day, _s, _d: 0.2 if day == 0 else 0.0))


def test_days_after_the_last_closed_one_are_left_out() -> None:
    future = [replace(count, day=count.day + timedelta(days=60)) for count in _month(17)]
    assert not _find(future)
