"""The whole picture: windows, the estimate of AWS's figures, groups, causes, and the edges."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dpp_feedback.feedback.analysis import Analysis, analyse
from dpp_feedback.feedback.counts import OTHERS
from dpp_feedback.feedback.rates import Basis, Level, Tally
from dpp_feedback_tests.feedback.counting import AS_OF, count, hard, soft

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpp_feedback.feedback.counts import Count


def _analyse(
    counts: Sequence[Count],
    of_domains: Sequence[Count] = (),
    verified: frozenset[str] = frozenset(),
    min_volume: int = 1_000,
) -> Analysis:
    return analyse(
        AS_OF,
        totals=counts,
        counts=counts,
        of_domains=of_domains,
        verified_domains=verified,
        min_volume=min_volume,
    )


def test_no_counts_at_all_make_an_empty_picture() -> None:
    found = _analyse([])
    assert [day.day for day in found.days] == [
        AS_OF - timedelta(days=back) for back in reversed(range(28))
    ]
    assert {day.tally for day in found.days} == {Tally()}
    for side in found.bounce, found.complaint:
        assert side.level is Level.TOO_FEW
        assert side.week.value is side.month.value is side.yesterday.value is None
        assert side.estimate.value is None
        assert side.trend_month.days_to_review is None
        assert side.causes == ()
    assert (found.estimate_first, found.estimate_last) == (AS_OF, AS_OF)
    assert (found.sources, found.domains, found.sub_types, found.incidents) == ((), (), (), ())


def test_windows_end_on_the_last_closed_day_and_hold_7_and_28_days() -> None:
    counts = [count("Delivery", 10**n, back) for n, back in enumerate((0, 6, 7, 27, 28))]
    found = _analyse([*counts, hard(3, back=0)])
    assert found.week.mails == 11 + 3
    assert found.month.mails == 1111 + 3
    assert found.bounce.yesterday.mails == 1 + 3
    assert found.bounce.yesterday == found.days[-1].bounce
    assert (found.bounce.trend_week.days, found.bounce.trend_month.days) == (7, 28)


def test_days_after_the_last_closed_one_are_left_out_everywhere() -> None:
    now = [count("Delivery", 100), hard(5, recipient_domain="a.example")]
    future = [
        replace(each, day=each.day + timedelta(days=1))
        for each in (*now, count("Complaint", recipient_domain="a.example"))
    ]
    assert _analyse(now + future, future) == _analyse(now)


def test_one_mail_a_day_reads_sensibly() -> None:
    found = _analyse([hard(1, 3), *(count("Delivery", 1, back) for back in range(28) if back != 3)])
    assert (found.bounce.week.value, found.bounce.level) == (1 / 7, Level.TOO_FEW)
    assert found.bounce.trend_week.days_to_review is None
    assert found.incidents == ()


def test_the_level_is_the_worse_one_of_week_and_estimate() -> None:
    bad_month = [count("Delivery", 9_000, 20), hard(1_500, 20)]
    good_week = [count("Delivery", 5_000, 1)]
    found = _analyse([*bad_month, *good_week])
    assert found.bounce.week.value == 0
    assert found.bounce.level is Level.REVIEW
    assert _analyse(bad_month).bounce.level is Level.PAUSE
    assert _analyse(good_week).bounce.level is Level.FINE


def test_a_send_feed_of_some_configuration_sets_only_is_not_the_denominator() -> None:
    whole = [count("Delivery", 950, configuration_set="a"), hard(50, configuration_set="a")]
    sent = count("Send", 1_000, configuration_set="a")
    other = [count("Delivery", 950, configuration_set="b"), hard(50, configuration_set="b")]
    found = _analyse([*whole, sent, *other])
    assert (found.bounce.week.basis, found.bounce.week.mails) == (Basis.OUTCOMES, 2_000)
    bases = {group.name: group.bounce.basis for group in found.configuration_sets}
    assert bases == {"a": Basis.SEND, "b": Basis.OUTCOMES}


def test_the_estimate_counts_hard_bounces_without_verified_domains_and_simulator() -> None:
    own, simulator = "Example.com", "simulator.amazonses.com"
    special = [
        count("Delivery", 1_000, recipient_domain="example.com"),
        hard(100, recipient_domain="example.com"),
        hard(200, recipient_domain=simulator),
        count("Complaint", 50, recipient_domain=simulator),
    ]
    counts = [
        *special,
        count("Delivery", 900),
        hard(60),
        hard(30, bounce_sub_type="Suppressed"),
        hard(500, bounce_sub_type="OnAccountSuppressionList"),
        soft(10),
    ]
    found = _analyse(counts, special, frozenset({own}))
    assert (found.bounce.estimate.events, found.bounce.estimate.mails) == (90, 1_000)
    assert (found.bounce.week.events, found.bounce.week.mails) == (400, 2_300)
    assert (found.complaint.estimate.events, found.complaint.estimate.mails) == (0, 0)


def test_the_estimate_goes_back_whole_days_until_there_is_volume_enough() -> None:
    days = [count("Delivery", 3_000, back) for back in range(0, 100, 2)]
    found = _analyse(days)
    assert found.bounce.estimate.mails == 12_000
    assert (found.estimate_first, found.estimate_last) == (AS_OF - timedelta(days=6), AS_OF)


def test_the_estimate_covers_a_week_at_least_since_sundays_are_unlike_mondays() -> None:
    days = [count("Delivery", 100_000, back) for back in range(20)]
    found = _analyse([*days, *(hard(1_000, back) for back in range(20))])
    assert found.estimate_first == AS_OF - timedelta(days=6)
    assert found.bounce.estimate.mails == 7 * 101_000


def test_the_estimate_goes_back_a_year_at_most_and_no_further_than_there_is_mail() -> None:
    year = [count("Delivery", 1, back) for back in (0, 300, 364, 365, 400)]
    found = _analyse(year)
    assert found.bounce.estimate.mails == 3
    assert found.estimate_first == AS_OF - timedelta(days=364)
    assert _analyse(year[:1]).estimate_first == AS_OF


def test_complaints_are_held_against_mail_to_providers_that_report_them() -> None:
    of_domains = [
        count("Delivery", 500, recipient_domain="outlook.com"),
        count("Delivery", 300, recipient_domain="small.example"),
        count("Complaint", 2, recipient_domain="small.example"),
        count("Delivery", 200, recipient_domain="once.example"),
        count("Complaint", 1, 200, recipient_domain="once.example"),
        count("Delivery", 900, recipient_domain="ours.example"),
    ]
    everything = [*of_domains, count("Delivery", 20_000)]
    found = _analyse(everything, of_domains, frozenset({"ours.example"}))
    assert (found.complaint.estimate.events, found.complaint.estimate.mails) == (2, 1_000)


def test_a_domain_in_two_spellings_is_one() -> None:
    counts = [
        count("Delivery", 10, recipient_domain="пример.рф"),
        hard(1, recipient_domain="xn--e1afmkfd.xn--p1ai"),
        hard(1, recipient_domain="ПРИМЕР.РФ"),
    ]
    found = _analyse(counts, counts, frozenset({"пример.рф"}))
    (domain,) = found.domains
    assert (domain.name, domain.tally.bounces) == ("xn--e1afmkfd.xn--p1ai", 2)
    assert found.bounce.estimate.mails == 0
    assert found.bounce.causes[0].events == 2


def test_the_twenty_largest_groups_have_a_line_and_the_rest_one_together() -> None:
    counts = [count("Delivery", n, source=f"s{n}@example.com") for n in range(1, 26)]
    found = _analyse([*counts, count("Delivery", 1_000, source=OTHERS)])
    names = [group.name for group in found.sources]
    assert names == [*(f"s{n}@example.com" for n in range(25, 5, -1)), OTHERS]
    assert found.sources[-1].tally.deliveries == 1_000 + 1 + 2 + 3 + 4 + 5
    assert sum((group.tally for group in found.sources), Tally()) == found.month


def test_a_group_without_a_name_is_a_group() -> None:
    (group,) = _analyse([count("Delivery", 5)]).configuration_sets
    assert (group.name, group.bounce.mails) == ("", 5)


def test_subtypes_are_named_with_their_type_and_measured_by_all_mail() -> None:
    found = _analyse(
        [
            count("Delivery", 960),
            hard(10),
            soft(25),
            soft(5, bounce_sub_type="General"),
            soft(7, bounce_sub_type="General", automatic_reply=True),
            hard(9, bounce_sub_type="OnAccountSuppressionList"),
        ]
    )
    shares = [(group.name, group.bounce.events, group.bounce.value) for group in found.sub_types]
    assert shares == [
        ("Transient/MailboxFull", 25, 0.025),
        ("Permanent/General", 10, 0.01),
        ("Transient/General", 5, 0.005),
    ]


def test_causes_are_the_combinations_of_the_week_with_their_shares() -> None:
    names: dict[str, Any] = {"source": "news@example.com", "recipient_domain": "gmail.com"}
    counts = [
        soft(6, 0, **names),
        soft(3, 6, **names),
        soft(90, 7, **names),
        hard(3, recipient_domain="a.example"),
        count("Complaint", 4, **names),
        count("Bounce", 0, bounce_type="Permanent"),
    ]
    found = _analyse(counts)
    first, second = found.bounce.causes
    assert (first.recipient_domain, first.sub_type, first.source, first.events, first.share) == (
        "gmail.com",
        "Transient/MailboxFull",
        "news@example.com",
        9,
        0.75,
    )
    assert (second.sub_type, second.share) == ("Permanent/General", 0.25)
    (complaint,) = found.complaint.causes
    assert (complaint.sub_type, complaint.share) == ("", 1)


def test_at_most_ten_causes_are_told() -> None:
    counts = [hard(n, recipient_domain=f"d{n}.example") for n in range(1, 20)]
    assert [each.events for each in _analyse(counts).bounce.causes] == list(range(19, 9, -1))


def test_unknown_kinds_and_types_are_counted_and_break_nothing() -> None:
    found = _analyse([count("Tomorrow", 4), count("Bounce", 2, bounce_type="Sideways")])
    assert (found.week.unknown, found.week.soft_bounces) == (4, 2)
    assert found.sub_types[0].name == "Sideways"


def test_an_incident_of_ten_million_mails_a_day_is_told() -> None:
    counts = [
        each
        for back in range(56)
        for each in (
            count("Delivery", 9_800_000, back, source="a@example.com"),
            hard(2_000_000 if back == 2 else 200_000, back, source="a@example.com"),
        )
    ]
    found = _analyse(counts)
    (incident,) = found.incidents
    assert incident.first == AS_OF - timedelta(days=2)
    assert incident.surplus == 2_000_000 - round(incident.usual * 11_800_000)
