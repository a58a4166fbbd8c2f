"""Events counted once: the same event always has the same key, another one never."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from dpp_feedback.feedback.parser import parse
from dpp_feedback_tests.feedback.bodies import (
    FEEDBACK_ID,
    MESSAGE_ID,
    SENT_AT,
    events,
    in_eventbridge,
    in_sns,
    own_payloads,
    payload,
)

ALL = pytest.mark.parametrize("name", own_payloads())


def keys(body: object) -> list[str]:
    return [event.dedupe_key for event in events(body)]


@ALL
def test_an_sqs_redelivery_has_the_same_keys(name: str) -> None:
    later = parse((body := _text(name)), SENT_AT + timedelta(hours=1))
    assert isinstance(later, tuple)
    assert [event.dedupe_key for event in later] == keys(body)


@ALL
def test_an_sns_duplicate_has_the_same_keys(name: str) -> None:
    again = in_sns(payload(name), MessageId="another", Timestamp="2026-02-17T12:05:00.000Z")
    assert keys(again) == keys(in_sns(payload(name)))


@ALL
def test_the_envelope_makes_no_difference(name: str) -> None:
    body = payload(name)
    assert keys(body) == keys(in_sns(body)) == keys(in_eventbridge(body))


@pytest.mark.parametrize("name", ["bounce", "complaint", "delivery"])
def test_an_event_published_to_topic_and_configuration_set_has_the_same_keys(name: str) -> None:
    assert keys(payload(f"notification_{name}")) == keys(in_sns(payload(f"event_{name}")))


@pytest.mark.parametrize("name", ["bounce", "complaint"])
@pytest.mark.parametrize("fmt", ["event", "notification"])
def test_the_key_of_a_bounce_and_a_complaint_begins_with_the_feedback_id(
    name: str, fmt: str
) -> None:
    assert all(key.startswith(f"{FEEDBACK_ID}:") for key in keys(payload(f"{fmt}_{name}")))


@pytest.mark.parametrize(
    "name",
    [name for name in own_payloads() if not name.endswith(("bounce", "complaint"))],
)
def test_the_key_of_everything_else_begins_with_the_mails_id(name: str) -> None:
    assert all(key.startswith(f"{MESSAGE_ID}:") for key in keys(payload(name)))


@ALL
def test_no_key_holds_an_address(name: str) -> None:
    for event in events(payload(name)):
        assert "@" not in event.dedupe_key
        assert "jane" not in event.dedupe_key


@ALL
def test_each_recipient_has_a_key_of_its_own(name: str) -> None:
    found = keys(payload(name))
    assert len(set(found)) == len(found)


def test_no_two_kinds_of_one_mail_share_a_key() -> None:
    found = [key for name in own_payloads() if name[:5] == "event" for key in keys(payload(name))]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("name", "own", "change"),
    [
        ("event_open", "open", {"timestamp": "2026-02-17T10:15:00.002Z"}),
        ("event_click", "click", {"timestamp": "2026-02-17T10:16:31.000Z"}),
        ("event_click", "click", {"link": "https://shop.example/offer?id=8"}),
        ("event_delivery_delay", "deliveryDelay", {"timestamp": "2026-02-17T09:00:00.000Z"}),
        ("event_subscription", "subscription", {"timestamp": "2026-02-17T11:00:01.000Z"}),
    ],
)
def test_what_happens_twice_to_one_mail_has_two_keys(
    name: str, own: str, change: dict[str, Any]
) -> None:
    other = payload(name)
    other[own] |= change
    assert set(keys(payload(name))).isdisjoint(keys(other))


@pytest.mark.parametrize("name", ["event_delivery", "event_send", "event_reject"])
def test_what_happens_once_to_a_mail_has_the_same_key_whatever_its_time(name: str) -> None:
    other = payload(name)
    other["mail"]["timestamp"] = "2026-02-17T08:31:00.000Z"
    if "delivery" in other:
        other["delivery"]["timestamp"] = None
    assert keys(payload(name)) == keys(other)


def test_the_case_of_an_address_and_its_display_name_make_no_difference() -> None:
    other = payload("event_delivery")
    other["delivery"]["recipients"] = ["Jane <JANE@EXAMPLE.NET>"]
    assert keys(payload("event_delivery")) == keys(other)


def test_keys_of_later_mails_sort_later() -> None:
    later = payload("event_delivery")
    later["mail"]["messageId"] = "0100019c6a1f2b41" + MESSAGE_ID[16:]
    assert keys(payload("event_delivery")) < keys(later)


def _text(name: str) -> str:
    return json.dumps(in_sns(payload(name)))
