"""The messages that are measured with: the mix that is promised, each its own."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from benchmarks.bodies import START, Body, bodies
from dpp_feedback.feedback.parser import parse

NOW = datetime(2026, 2, 18, tzinfo=UTC)
MANY = list(bodies(2_000))


def said(body: Body) -> dict[str, dict[str, str]]:
    message: dict[str, dict[str, str]] = json.loads(json.loads(body.text)["Message"])
    return message


def test_of_each_hundred_ninety_are_deliveries_eight_bounces_and_two_complaints() -> None:
    for start in range(0, len(MANY), 100):
        kinds = Counter(said(body)["notificationType"] for body in MANY[start : start + 100])
        assert kinds == {"Delivery": 90, "Bounce": 8, "Complaint": 2}


def test_the_parser_reads_each_as_its_rows_and_no_event_is_there_twice() -> None:
    keys = set()
    for body in MANY:
        events = parse(body.text, NOW)
        assert isinstance(events, tuple)
        assert len(events) == body.rows
        keys |= {event.dedupe_key for event in events}
    assert len(keys) == sum(body.rows for body in MANY)


def test_they_have_the_sizes_that_are_promised_and_some_have_ten_recipients() -> None:
    sizes = sorted(len(body.text.encode()) for body in MANY)
    assert sizes[0] > 1_500
    assert sizes[-len(MANY) // 50] < 4_096, "but for those with ten recipients"
    assert sizes[-1] < 6_144
    recipients = Counter(len(said(body)["mail"]["destination"]) for body in MANY)
    assert 5 < recipients[10] < 50


def test_ids_begin_with_the_time_of_the_mail_in_order() -> None:
    ids = [said(body)["mail"]["messageId"] for body in MANY]
    times = [datetime.fromtimestamp(int(one[4:16], 16) / 1000, UTC) for one in ids]
    assert times[0] == START
    assert all(later - earlier == timedelta(milliseconds=50) for earlier, later in pairwise(times))


def test_a_seed_makes_the_same_bodies_however_many_and_another_makes_others() -> None:
    assert list(bodies(150)) == MANY[:150]
    assert not set(bodies(150, seed=8)) & set(MANY)
