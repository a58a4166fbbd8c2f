"""The simulated month: exact counts, believable rates, an incident on its days and no others.

Rates are computed here from what the product's parser reads, by the plain rules of
`Month.story`; what the product itself makes of a month is tested elsewhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

import pytest

from dpp_feedback.feedback.events import FeedbackEvent, Rejected
from dpp_feedback.feedback.parser import parse
from dpp_feedback.local.incidents import INCIDENTS, Incident, Month, silence_begins, spike_days
from dpp_feedback.local.month import month

if TYPE_CHECKING:
    from collections.abc import Callable

    from dpp_feedback.local.traffic import Notification

TUESDAY = datetime(2026, 11, 24, 15, 37, tzinfo=UTC)
FRIDAY = datetime(2026, 11, 27, 9, 5, tzinfo=UTC)  # a spike then begins on a Saturday
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)


@cache
def run(
    incident: Incident | None, at: datetime = TUESDAY, days: int = 15, seed: int = 3
) -> tuple[Notification, ...]:
    count = Month(days, at, incident).count
    return tuple(month(count, days=days, seed=seed, at=at, incident=incident))


@cache
def events(
    incident: Incident | None, at: datetime = TUESDAY, days: int = 15, seed: int = 3
) -> tuple[FeedbackEvent, ...]:
    """What the parser reads, each event once and in the order of publication."""
    found: list[FeedbackEvent] = []
    for one in run(incident, at, days, seed):
        outcome = parse(one.body, at)
        assert isinstance(outcome, tuple), one.body
        assert [event.dedupe_key for event in outcome] == list(one.dedupe_keys)
        if one.expected == "stored":
            found += outcome
    return tuple(found)


def is_reply(event: FeedbackEvent) -> bool:
    return event.bounce_sub_type == "General" and "reporting_mta" not in event.type_data


def is_ours(event: FeedbackEvent) -> bool:
    """A bounce that counts against the sender: no reply, and not one that SES never sent."""
    return (
        event.notification_type == "Bounce"
        and event.bounce_sub_type != "OnAccountSuppressionList"
        and not is_reply(event)
    )


def is_complaint(event: FeedbackEvent) -> bool:
    return event.notification_type == "Complaint"


def domain(event: FeedbackEvent) -> str:
    return (event.primary_recipient or "").rpartition("@")[2]


def rate(found: list[FeedbackEvent], counts: Callable[[FeedbackEvent], bool]) -> float:
    """A share of the mails that were delivered or bounced."""
    mails = sum(event.notification_type == "Delivery" or is_ours(event) for event in found)
    return sum(map(counts, found)) / mails if mails else 0.0


def by_day(found: tuple[FeedbackEvent, ...]) -> dict[date, list[FeedbackEvent]]:
    days = defaultdict(list)
    for event in found:
        days[event.event_at.date()].append(event)
    return days


def week_before(at: datetime, found: tuple[FeedbackEvent, ...]) -> list[FeedbackEvent]:
    """The events of the last seven days that are over."""
    first = at.date() - timedelta(days=7)
    return [event for event in found if first <= event.event_at.date() < at.date()]


# Whatever the incident


@pytest.mark.parametrize("incident", [None, *INCIDENTS])
@pytest.mark.parametrize("at", [TUESDAY, MIDNIGHT])
@pytest.mark.parametrize(("count", "repeats", "broken"), [(997, 100, 20), (15, 2, 0), (0, 0, 0)])
def test_counts_are_exact(
    incident: Incident | None, at: datetime, count: int, repeats: int, broken: int
) -> None:
    mix = {"duplicates": 0.1, "poison": 0.02}
    told = list(month(count, days=14, seed=5, at=at, incident=incident, **mix))
    counted = Counter(one.expected for one in told)
    assert (counted["duplicate"], counted["rejected"]) == (repeats, broken)
    assert counted.total() == count
    for one in told:
        if one.expected == "rejected":
            assert isinstance(parse(one.body, at), Rejected)


def test_unless_told_one_in_a_hundred_comes_twice_and_none_is_broken() -> None:
    counted = Counter(one.expected for one in run(None))
    assert counted == {"stored": 7_425, "duplicate": 75}
    assert len(run("silence")) == 2 * len(run(None))


@pytest.mark.parametrize("incident", [None, *INCIDENTS])
def test_the_same_arguments_give_the_same_notifications(incident: Incident | None) -> None:
    seoul = TUESDAY.astimezone(timezone(timedelta(hours=9)))
    first, second, other = (
        list(month(500, days=14, seed=seed, at=at, incident=incident, poison=0.01))
        for seed, at in ((7, TUESDAY), (7, seoul), (8, TUESDAY))
    )
    assert first == second
    keys = [{key for one in told for key in one.dedupe_keys} for told in (first, other)]
    assert not keys[0] & keys[1]


@pytest.mark.parametrize("incident", [None, *INCIDENTS])
def test_the_oldest_come_first_and_the_last_are_minutes_old(incident: Incident | None) -> None:
    times = [event.event_at for event in events(incident)]
    assert times == sorted(times)
    begin = TUESDAY - timedelta(days=15)
    assert begin <= times[0] < begin + timedelta(hours=8)
    assert TUESDAY - timedelta(hours=1) < times[-1] <= TUESDAY


@pytest.mark.parametrize("incident", [None, *INCIDENTS])
def test_every_mail_is_sent_once_to_one_person_and_has_one_fate(incident: Incident | None) -> None:
    fates: dict[str, list[str]] = defaultdict(list)
    for event in events(incident):
        late = is_reply(event) or is_complaint(event)
        fates[event.ses_message_id].append("answer" if late else event.notification_type)
    # The month begins in the midst of things: the last fate of a mail may be all there is of it.
    sound = {("Delivery",), ("Bounce",), ("Delivery", "answer")}
    sound |= {("Send",), *(("Send", *fate) for fate in sound)}
    told = Counter(tuple(fate) for fate in fates.values())
    odd = {fate: number for fate, number in told.items() if fate not in sound}
    assert sum(odd.values()) <= 2, odd
    assert told["Delivery",] + told["Send", "Delivery"] > 0.8 * told.total() * (13 / 15)


def test_only_duplicates_repeat_a_key_and_they_repeat_it_exactly() -> None:
    bodies: dict[str, str] = {}
    for one in run("bounce-spike"):
        (key,) = one.dedupe_keys
        assert (key in bodies) == (one.expected == "duplicate")
        assert bodies.setdefault(key, one.body) == one.body


# A month in good order


def test_a_month_in_good_order_has_the_rates_it_promises() -> None:
    found = list(events(None, days=30))
    assert rate(found, is_ours) == pytest.approx(0.012, abs=0.002)
    assert 4 <= sum(map(is_complaint, found)) <= 5
    assert rate(found, is_reply) == pytest.approx(0.0013, abs=0.0003)
    assert not any(event.notification_type == "Send" for event in found)


def test_bounces_are_of_many_sorts_and_mostly_unknown_users() -> None:
    sorts = Counter(
        (event.bounce_type, event.bounce_sub_type)
        for event in events(None, days=30)
        if event.notification_type == "Bounce"
    )
    assert sorts.most_common(1)[0][0] == ("Permanent", "General")
    assert {sub for _, sub in sorts} >= {
        "General",
        "NoEmail",
        "MailboxFull",
        "OnAccountSuppressionList",
        "Undetermined",
    }


def test_mail_comes_from_several_sources_to_several_domains_with_their_configuration_sets() -> None:
    found = events(None)
    sources = Counter((event.source, event.configuration_set) for event in found)
    assert [source for source, _ in sources.most_common()] == [
        ("news@example.com", "newsletter"),
        ("orders@shop.example", "transactional"),
        ("no-reply@accounts.example.org", "security"),
    ]
    assert len({domain(event) for event in found}) == 7


def test_weekends_are_quieter_than_workdays_and_nights_than_days() -> None:
    mails = [event for event in events(None) if event.notification_type == "Delivery"]
    days = Counter(event.event_at.weekday() for event in mails)
    quietest_workday = min(days[day] for day in range(5))
    assert max(days[5], days[6]) < 0.75 * quietest_workday
    hours = Counter(event.event_at.hour for event in mails)
    assert sum(hours[hour] for hour in range(5)) < 0.3 * sum(hours[hour] for hour in range(9, 14))


def test_no_day_stands_out_in_a_month_in_good_order() -> None:
    for day, found in by_day(events(None, days=30)).items():
        surplus = sum(map(is_ours, found)) - 0.012 * len(found)
        assert surplus < 12, day
        assert sum(map(is_complaint, found)) <= 1, day
    # Nor does the last week: below half of AWS's lines, so that nobody is alarmed.
    week = week_before(TUESDAY, events(None, days=30))
    assert rate(week, is_ours) < 0.025
    assert rate(week, is_complaint) < 0.0005


# Incidents


@pytest.mark.parametrize("at", [TUESDAY, FRIDAY])
def test_a_bounce_spike_is_over_the_review_line_on_its_three_days_and_on_no_other(
    at: datetime,
) -> None:
    first, last = spike_days(at)
    assert (last - first, at.date() - last) == (timedelta(days=2), timedelta(days=4))
    for day, found in by_day(events("bounce-spike", at)).items():
        if first <= day <= last:
            assert 0.05 < rate(found, is_ours) < 0.10, day
        else:
            assert rate(found, is_ours) < 0.05 or sum(map(is_ours, found)) < 20, day
    week = rate(week_before(at, events("bounce-spike", at)), is_ours)
    assert 0.025 < week < 0.10


@pytest.mark.parametrize("at", [TUESDAY, FRIDAY])
def test_a_bounce_spike_is_of_one_source_one_domain_and_one_subtype(at: datetime) -> None:
    first, last = spike_days(at)
    concerned = ("news@example.com", "students.university.example")
    sorts: Counter[tuple[str | None, ...]] = Counter()
    for day, found in by_day(events("bounce-spike", at)).items():
        theirs = [event for event in found if (event.source, domain(event)) == concerned]
        if first <= day <= last:
            assert rate(theirs, is_ours) == pytest.approx(1 / 3, abs=0.06), day
            rest = [event for event in found if (event.source, domain(event)) != concerned]
            assert rate(rest, is_ours) < 0.04, day
            sorts.update(
                (event.source, domain(event), event.bounce_type, event.bounce_sub_type)
                for event in found
                if is_ours(event)
            )
        else:
            assert sum(map(is_ours, theirs)) <= 4, day
    (sort, number), (_, next_number) = sorts.most_common(2)
    assert sort == (*concerned, "Permanent", "General")
    assert number > 0.75 * sorts.total() > 5 * next_number


@pytest.mark.parametrize("at", [TUESDAY, FRIDAY])
def test_a_complaint_spike_is_of_one_source_and_one_provider_on_its_three_days(
    at: datetime,
) -> None:
    first, last = spike_days(at)
    found = events("complaint-spike", at)
    assert rate(week_before(at, found), is_complaint) > 0.001
    for day, of_day in by_day(found).items():
        complaints = Counter((e.source, domain(e)) for e in of_day if is_complaint(e))
        if first <= day <= last:
            assert complaints["news@example.com", "example.org"] >= 5, day
            assert complaints.total() - complaints["news@example.com", "example.org"] <= 2, day
        else:
            assert complaints.total() <= 2, day
    assert rate(list(found), is_ours) == pytest.approx(0.012, abs=0.003)


@pytest.mark.parametrize("at", [TUESDAY, MIDNIGHT])
def test_in_silence_mail_is_sent_and_no_feedback_comes_since_yesterdays_midnight(
    at: datetime,
) -> None:
    begin = silence_begins(at)
    assert begin.date() == at.date() - timedelta(days=1)
    assert (begin.hour, begin.minute) == (0, 0)
    found = events("silence", at, 14)
    late = Counter(e.notification_type for e in found if e.event_at >= begin)
    assert set(late) == {"Send"}
    assert late["Send"] > 250
    before = Counter(e.notification_type for e in found if e.event_at < begin)
    assert before["Delivery"] + before["Bounce"] == pytest.approx(before["Send"], rel=0.02)
    assert rate(list(found), is_ours) == pytest.approx(0.012, abs=0.004)


def test_a_story_names_what_stands_out() -> None:
    told = {incident: Month(30, TUESDAY, incident).story for incident in (None, *INCIDENTS)}
    assert "good order" in told[None]
    for word in ("18 November", "20 November", "news@example.com", "students.university.example"):
        assert word in told["bounce-spike"]
    for word in ("18 November", "20 November", "news@example.com", "example.org"):
        assert word in told["complaint-spike"]
    assert "23 November, 00:00 UTC no feedback" in told["silence"]


def test_a_month_knows_its_first_day_and_its_last_that_is_over() -> None:
    whole, running = Month(30, MIDNIGHT, None), Month(1, TUESDAY, None)
    assert (whole.first, whole.last) == (date(2026, 10, 25), date(2026, 11, 23))
    assert (running.first, running.last) == (date(2026, 11, 23), date(2026, 11, 23))


def test_the_incidents_are_those_of_the_command() -> None:
    assert (
        set(INCIDENTS) == set(get_args(Incident)) == {"bounce-spike", "complaint-spike", "silence"}
    )


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"at": datetime(2026, 11, 24)}, "time zone"),  # noqa: DTZ001
        ({"days": 0}, "days"),
        ({"days": 13, "incident": "silence"}, "14 days"),
        ({"count": -1}, "negative"),
        ({"duplicates": 1.5}, "shares"),
        ({"poison": -0.1}, "shares"),
        ({"duplicates": 0.6, "poison": 0.6}, "no room"),
        ({"duplicates": 1.0}, "no room"),
    ],
)
def test_an_argument_out_of_range_is_refused_at_once(wrong: dict[str, Any], named: str) -> None:
    arguments: dict[str, Any] = {"count": 50, "days": 30, "seed": 1, "at": TUESDAY} | wrong
    with pytest.raises(ValueError, match=named):
        month(**arguments)
