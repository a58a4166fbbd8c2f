"""Which event counts as what, over which mails, and how surely."""

from __future__ import annotations

from statistics import NormalDist

import pytest

from dpp_feedback.feedback.domains import (
    FEEDBACK_LOOP_DOMAINS,
    SIMULATOR_DOMAIN,
    ascii_domain,
    shown_domain,
)
from dpp_feedback.feedback.kinds import KINDS
from dpp_feedback.feedback.rates import (
    BOUNCE_LINE,
    COMPLAINT_LINE,
    Basis,
    Level,
    Place,
    Rate,
    Tally,
    bounce_rate,
    complaint_rate,
    level,
    place,
)
from dpp_feedback_tests.feedback.counting import count, hard, soft

ON_LIST = "OnAccountSuppressionList"


@pytest.mark.parametrize(
    "sub_type", ["General", "NoEmail", "Suppressed", "UnsubscribedRecipient", "Tomorrow", ""]
)
def test_every_permanent_bounce_is_hard(sub_type: str) -> None:
    assert place(hard(bounce_sub_type=sub_type)) is Place.HARD_BOUNCE


@pytest.mark.parametrize("kind", ["Transient", "Undetermined", "Tomorrow", ""])
def test_every_other_bounce_is_soft(kind: str) -> None:
    assert place(count("Bounce", bounce_type=kind)) is Place.SOFT_BOUNCE


@pytest.mark.parametrize("kind", ["Permanent", "Transient", "Undetermined", ""])
def test_a_bounce_of_the_accounts_own_list_is_none_whatever_its_type(kind: str) -> None:
    bounce = count("Bounce", bounce_type=kind, bounce_sub_type=ON_LIST)
    assert place(bounce) is Place.SUPPRESSED_BOUNCE


def test_an_automatic_reply_is_no_bounce() -> None:
    reply = soft(bounce_sub_type="General", automatic_reply=True)
    assert place(reply) is Place.AUTOMATIC_REPLY
    assert Tally.of([count("Delivery", 9), reply]) == Tally(deliveries=9, automatic_replies=1)


def test_a_complaint_counts_unless_ses_did_not_send() -> None:
    assert place(count("Complaint")) is Place.COMPLAINT
    assert place(count("Complaint", complaint_sub_type="Tomorrow")) is Place.COMPLAINT
    assert place(count("Complaint", complaint_sub_type=ON_LIST)) is Place.SUPPRESSED_COMPLAINT


def test_every_kind_has_a_place_and_an_unknown_one_is_called_so() -> None:
    own = {"Send", "Delivery", "Bounce", "Complaint"}
    assert {place(count(kind)) for kind in KINDS.keys() - own} == {Place.OTHER}
    assert place(count("Tomorrow")) is Place.UNKNOWN
    assert place(count("bounce")) is Place.UNKNOWN  # the parser knows the spellings of AWS


def test_a_tally_has_a_field_for_each_place_and_adds_up() -> None:
    kinds = [
        count("Send", 1),
        count("Delivery", 2),
        hard(3),
        soft(4),
        soft(5, bounce_sub_type="General", automatic_reply=True),
        hard(6, bounce_sub_type=ON_LIST),
        count("Complaint", 7),
        count("Complaint", 8, complaint_sub_type=ON_LIST),
        count("Open", 9),
        count("Tomorrow", 10),
    ]
    assert Tally.of(kinds) == Tally(*range(1, 11))
    assert Tally.of(kinds) + Tally.of(kinds[:1]) == Tally(2, *range(2, 11))
    assert Tally.of(kinds) - Tally.of(kinds[1:]) == Tally(sends=1)
    assert Tally() - Tally.of(kinds) == Tally()
    assert Tally.of(kinds).bounces == 7


def test_without_send_events_mails_are_what_was_delivered_or_bounced() -> None:
    tally = Tally(
        deliveries=90,
        hard_bounces=6,
        soft_bounces=4,
        automatic_replies=50,
        suppressed_bounces=50,
        suppressed_complaints=50,
    )
    assert (tally.mails, tally.basis) == (100, Basis.OUTCOMES)
    assert bounce_rate(tally).value == 0.1


@pytest.mark.parametrize(
    ("sends", "mails", "basis"),
    [
        (89, 100, Basis.OUTCOMES),
        (90, 90, Basis.SEND),
        (100, 100, Basis.SEND),
        (130, 130, Basis.SEND),
    ],
)
def test_send_events_are_believed_when_they_cover_nine_tenths_of_the_outcomes(
    sends: int, mails: int, basis: Basis
) -> None:
    tally = Tally(sends=sends, deliveries=95, hard_bounces=5)
    assert (tally.mails, tally.basis) == (mails, basis)


def test_sends_alone_are_mails() -> None:
    rate = bounce_rate(Tally(sends=5))
    assert (rate.value, rate.mails, rate.basis) == (0, 5, Basis.SEND)


def test_a_day_with_nothing_but_complaints_has_no_rate() -> None:
    rate = complaint_rate(Tally(complaints=3))
    assert (rate.value, rate.low, rate.high) == (None, None, None)
    assert level(rate, COMPLAINT_LINE, min_volume=0) is Level.TOO_FEW


def test_a_rate_is_never_above_one() -> None:
    rate = complaint_rate(Tally(deliveries=2, complaints=3))
    assert (rate.value, rate.high) == (1, 1)


@pytest.mark.parametrize(
    ("events", "mails"), [(0, 1_000), (50, 1_000), (1, 1), (5, 10), (200_000, 10_000_000)]
)
def test_the_interval_is_wilsons(events: int, mails: int) -> None:
    rate = Rate(events, mails, Basis.SEND)
    assert rate.value is not None
    assert rate.low is not None
    assert rate.high is not None
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    for end in rate.low, rate.high:  # what defines it: from here, the share is 1.96 errors away
        away = NormalDist().inv_cdf(0.975) ** 2 * end * (1 - end) / mails
        assert (rate.value - end) ** 2 == pytest.approx(away, abs=1e-15)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (24, Level.FINE),
        (25, Level.WATCH),
        (49, Level.WATCH),
        (50, Level.REVIEW),
        (99, Level.REVIEW),
        (100, Level.PAUSE),
        (1_000, Level.PAUSE),
    ],
)
def test_a_rate_at_a_line_is_beyond_it(events: int, expected: Level) -> None:
    assert level(Rate(events, 1_000, Basis.SEND), BOUNCE_LINE) is expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [(4, Level.FINE), (5, Level.WATCH), (10, Level.REVIEW), (50, Level.PAUSE)],
)
def test_complaints_have_lines_of_their_own(events: int, expected: Level) -> None:
    assert level(Rate(events, 10_000, Basis.SEND), COMPLAINT_LINE) is expected


def test_below_the_minimum_volume_nothing_alarms() -> None:
    assert level(Rate(999, 999, Basis.SEND), BOUNCE_LINE) is Level.TOO_FEW
    assert level(Rate(1, 1, Basis.SEND), BOUNCE_LINE, min_volume=1) is Level.PAUSE


@pytest.mark.parametrize(
    ("domain", "one_form", "shown"),
    [
        ("Example.COM", "example.com", "example.com"),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai (пример.рф)"),
        ("XN--E1AFMKFD.xn--p1ai", "xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai (пример.рф)"),
        ("xn--zzzzzzzzzzz.com", "xn--zzzzzzzzzzz.com", "xn--zzzzzzzzzzz.com"),
        ("ä..de", "ä..de", "ä..de"),  # no domain: as it is
        ("ä" * 64 + ".de", "ä" * 64 + ".de", "ä" * 64 + ".de"),
        ("", "", ""),
    ],
)
def test_a_domain_has_one_form_and_is_shown_in_both(domain: str, one_form: str, shown: str) -> None:
    assert ascii_domain(domain) == one_form
    assert shown_domain(domain) == shown


def test_the_known_domains_are_in_their_one_form() -> None:
    known = {SIMULATOR_DOMAIN, *FEEDBACK_LOOP_DOMAINS}
    assert known == {ascii_domain(domain) for domain in known}
    assert {"outlook.com", "yahoo.co.uk", "aol.com", "comcast.net"} <= known
    assert "gmail.com" not in known
