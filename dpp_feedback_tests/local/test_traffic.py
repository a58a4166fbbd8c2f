"""The simulated traffic: exact counts, the same bodies from the same seed, and nobody real in it.

What each body must become is checked against the product's parser, wrapped as SNS wraps it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from dpp_feedback.feedback.events import FeedbackEvent, Ignored, Outcome, Rejected
from dpp_feedback.feedback.kinds import KINDS
from dpp_feedback.feedback.parser import parse
from dpp_feedback.local.traffic import FormatChoice, Notification, traffic

AT = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
FORMATS: tuple[FormatChoice, ...] = ("notification", "event-publishing", "mixed")
RESERVED = re.compile(r"(^|\.)(example|example\.(com|net|org))$", re.IGNORECASE)


def wrapped(body: str) -> str:
    """The body as a queue delivers it that is subscribed to a topic."""
    envelope = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:bounces",
        "Message": body,
        "Timestamp": "2026-11-24T15:00:00.000Z",
        "SignatureVersion": "1",
    }
    return json.dumps(envelope)


def events(notifications: list[Notification]) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in notifications if one.expected == "stored"]


def kind_of(event: dict[str, Any]) -> str:
    return str(event.get("notificationType") or event.get("eventType"))


def rows_of(outcome: Outcome) -> tuple[FeedbackEvent, ...]:
    assert isinstance(outcome, tuple), outcome
    return outcome


def test_the_same_arguments_give_the_same_notifications() -> None:
    first, second = (list(traffic(500, seed=7, at=AT, kinds=tuple(KINDS))) for _ in range(2))
    assert first == second


def test_another_process_with_other_hashes_gives_the_same_notifications() -> None:
    program = (
        "from datetime import UTC, datetime; from dpp_feedback.local.traffic import traffic; "
        f"at = datetime.fromisoformat('{AT.isoformat()}'); "
        "print([one.body for one in traffic(50, seed=7, at=at)])"
    )
    bodies = [one.body for one in traffic(50, seed=7, at=AT)]
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "17", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        check=True,
    )
    assert told.stdout.decode().strip() == str(bodies)


def test_the_time_zone_of_at_changes_nothing() -> None:
    seoul = AT.astimezone(timezone(timedelta(hours=9)))
    kinds = tuple(KINDS)
    assert list(traffic(200, seed=1, at=seoul, kinds=kinds)) == list(
        traffic(200, seed=1, at=AT, kinds=kinds)
    )


def test_another_seed_gives_other_notifications_with_other_keys() -> None:
    first, second = (list(traffic(200, seed=seed, at=AT)) for seed in (1, 2))
    keys = [{key for one in run for key in one.dedupe_keys} for run in (first, second)]
    assert not keys[0] & keys[1]


@pytest.mark.parametrize(
    ("count", "duplicates", "poison", "controls"),
    [(10_000, 0.05, 0.01, 20), (1_000, 0.0, 0.0, 2), (100, 0.3, 0.2, 1), (99, 0.05, 0.01, 0)],
)
def test_counts_are_exact(count: int, duplicates: float, poison: float, controls: int) -> None:
    run = traffic(count, seed=3, at=AT, duplicates=duplicates, poison=poison)
    counted = Counter(one.expected for one in run)
    assert counted["duplicate"] == round(count * duplicates)
    assert counted["rejected"] == round(count * poison)
    assert counted["ignored"] == controls
    assert counted.total() == count


def test_no_notification_is_no_traffic() -> None:
    assert list(traffic(0, seed=1, at=AT)) == []


@pytest.mark.parametrize("form", FORMATS)
def test_every_body_becomes_what_is_expected_of_it(form: FormatChoice) -> None:
    for one in traffic(800, seed=5, at=AT, poison=0.05, kinds=tuple(KINDS), format=form):
        for body in (one.body, wrapped(one.body)):
            outcome = parse(body, AT)
            if one.expected == "rejected":
                assert isinstance(outcome, Rejected), body
            elif one.expected == "ignored":
                assert isinstance(outcome, Ignored), body
            else:
                keys = [event.dedupe_key for event in rows_of(outcome)]
                assert sorted(keys) == sorted(one.dedupe_keys), body


def test_only_duplicates_repeat_a_key_and_all_their_keys_came_before() -> None:
    seen: set[str] = set()
    for one in traffic(1_000, seed=9, at=AT, duplicates=0.2):
        if one.expected == "stored":
            assert one.dedupe_keys
            assert not seen & set(one.dedupe_keys)
        elif one.expected == "duplicate":
            assert set(one.dedupe_keys) <= seen
        else:
            assert one.dedupe_keys == ()
        seen |= set(one.dedupe_keys)


def test_some_duplicates_are_exact_and_some_come_in_the_other_format() -> None:
    run = list(traffic(1_000, seed=4, at=AT, duplicates=0.2))
    bodies = {one.body for one in run if one.expected == "stored"}
    exact = [one.body in bodies for one in run if one.expected == "duplicate"]
    assert 0 < sum(exact) < len(exact)


def test_a_duplicate_in_a_run_of_one_format_is_exact() -> None:
    run = list(traffic(500, seed=4, at=AT, duplicates=0.2, format="notification"))
    bodies = {one.body for one in run if one.expected == "stored"}
    assert all(one.body in bodies for one in run if one.expected == "duplicate")


def test_ids_begin_with_the_time_and_ascend_within_the_hour_before_at() -> None:
    run = events(list(traffic(2_000, seed=6, at=AT)))
    shape = re.compile(r"0100([0-9a-f]{12})-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-000000")
    times = []
    for event in run:
        found = shape.fullmatch(event["mail"]["messageId"])
        assert found
        times.append(datetime.fromtimestamp(int(found[1], 16) / 1000, UTC))
        assert datetime.fromisoformat(event["mail"]["timestamp"]) == times[-1]
    assert times == sorted(times)
    assert AT - timedelta(hours=1) <= times[0]
    assert times[-1] < AT


def test_nothing_happens_before_the_mail_was_sent_or_after_at() -> None:
    for one in traffic(1_000, seed=6, at=AT, poison=0, kinds=tuple(KINDS)):
        if one.expected == "stored":
            sent = datetime.fromisoformat(json.loads(one.body)["mail"]["timestamp"])
            for event in rows_of(parse(one.body, AT)):
                assert sent <= event.event_at <= AT


def test_all_ten_kinds_can_be_chosen_and_events_go_to_the_topic_of_their_kind() -> None:
    run = list(traffic(2_000, seed=8, at=AT, kinds=tuple(KINDS)))
    topics = {"Bounce": "bounce", "Complaint": "complaint"}
    counted: Counter[str] = Counter()
    for one in run:
        if one.expected == "stored":
            kind = kind_of(json.loads(one.body))
            counted[kind] += 1
            assert one.topic == topics.get(kind, "delivery")
    assert set(counted) == set(KINDS)


def test_only_the_chosen_kinds_come() -> None:
    run = events(list(traffic(300, seed=8, at=AT, kinds=("Click", "Bounce"))))
    assert {kind_of(event) for event in run} == {"Click", "Bounce"}


def test_the_default_mix_is_mostly_deliveries_with_some_bounces_and_few_complaints() -> None:
    run = events(list(traffic(3_000, seed=2, at=AT)))
    share = {kind: n / len(run) for kind, n in Counter(kind_of(e) for e in run).items()}
    assert share == pytest.approx({"Delivery": 0.9, "Bounce": 0.08, "Complaint": 0.02}, abs=0.02)


def test_kinds_without_a_notification_are_published_as_events() -> None:
    run = events(
        list(traffic(400, seed=2, at=AT, format="notification", kinds=("Delivery", "Open")))
    )
    assert {(kind_of(e), "eventType" in e) for e in run} == {("Delivery", False), ("Open", True)}


def test_bounces_are_of_every_type_and_subtype_of_the_table_of_aws() -> None:
    run = events(list(traffic(1_500, seed=2, at=AT, kinds=("Bounce",))))
    assert {(e["bounce"]["bounceType"], e["bounce"]["bounceSubType"]) for e in run} == {
        ("Undetermined", "Undetermined"),
        ("Permanent", "General"),
        ("Permanent", "NoEmail"),
        ("Permanent", "Suppressed"),
        ("Permanent", "OnAccountSuppressionList"),
        ("Transient", "General"),
        ("Transient", "MailboxFull"),
        ("Transient", "MessageTooLarge"),
        ("Transient", "ContentRejected"),
        ("Transient", "AttachmentRejected"),
    }


def test_some_complaints_name_nobody_and_still_concern_all_recipients_of_the_mail() -> None:
    run = list(traffic(1_000, seed=2, at=AT, kinds=("Complaint",)))
    anonymous = [
        (one, event)
        for one in run
        if one.expected == "stored"
        and not (event := json.loads(one.body))["complaint"]["complainedRecipients"]
    ]
    assert anonymous
    for one, event in anonymous:
        assert event["complaint"]["complaintSubType"] == "OnAccountSuppressionList"
        assert len(one.dedupe_keys) == len(event["mail"]["destination"])


def test_recipients_are_of_every_shape() -> None:
    run = events(list(traffic(1_500, seed=2, at=AT, kinds=("Bounce",))))
    destinations = [address for e in run for address in e["mail"]["destination"]]
    named = [r["emailAddress"] for e in run for r in e["bounce"]["bouncedRecipients"]]
    assert any("@xn--" in address for address in destinations)
    assert any(address != address.lower() for address in destinations)
    assert any(address.endswith(">") for address in named)
    assert any(len(event["mail"]["destination"]) > 1 for event in run)
    assert len({event["mail"]["source"] for event in run}) > 2


def test_bodies_are_as_large_as_those_of_ses() -> None:
    run = list(traffic(1_500, seed=2, at=AT, format="notification"))
    sizes = [len(one.body.encode()) for one in run if one.expected == "stored"]
    assert min(sizes) >= 1_600
    assert max(sizes) <= 4_096


def test_no_address_and_no_host_is_real() -> None:
    for one in traffic(1_000, seed=2, at=AT, kinds=tuple(KINDS)):
        for domain in re.findall(r"(?:@|https?://|from )([\w-]+(?:\.[\w-]+)+)", one.body):
            assert RESERVED.search(domain), domain


def test_poison_is_of_many_sorts() -> None:
    run = [one for one in traffic(400, seed=2, at=AT, poison=0.5) if one.expected == "rejected"]
    outcomes = [parse(wrapped(one.body), AT) for one in run]
    assert len({o.reason for o in outcomes if isinstance(o, Rejected)}) >= 5
    assert {one.topic for one in run} == {"bounce", "complaint", "delivery"}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"kinds": ("Bounced",)}, "Bounced"),
        ({"kinds": ()}, "kinds"),
        ({"at": datetime(2026, 11, 24)}, "time zone"),  # noqa: DTZ001
        ({"duplicates": 1.5}, "shares"),
        ({"poison": -0.1}, "shares"),
        ({"count": -1}, "negative"),
        ({"duplicates": 1.0, "poison": 0.0}, "no room"),
        ({"duplicates": 0.6, "poison": 0.6}, "no room"),
    ],
)
def test_an_argument_out_of_range_is_refused_at_once(wrong: dict[str, Any], named: str) -> None:
    arguments: dict[str, Any] = {"count": 50, "seed": 1, "at": AT} | wrong
    with pytest.raises(ValueError, match=named):
        traffic(**arguments)
