"""Single values: whose address it is, and when it happened, in every shape they come in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dpp_feedback.feedback.parser import parse
from dpp_feedback_tests.feedback.bodies import (
    SENT_AT,
    events,
    in_eventbridge,
    in_sns,
    payload,
    rejected,
)


def delivery(recipient: object, **mail: Any) -> dict[str, Any]:
    body = payload("event_delivery")
    body["delivery"]["recipients"] = [recipient]
    body["mail"] |= mail
    return body


def opened(at: object, mail_at: object = None) -> dict[str, Any]:
    body = payload("event_open")
    body["open"]["timestamp"] = at
    body["mail"]["timestamp"] = mail_at
    return body


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("jane@example.com", "jane@example.com"),
        ("  Jane@Example.COM ", "jane@example.com"),
        ("<jane@example.com>", "jane@example.com"),
        ("Jane Doe <jane@example.com>", "jane@example.com"),
        ('"Doe, Jane" <jane@example.com>', "jane@example.com"),
        ('"Jane <the first>" <jane@example.com>', "jane@example.com"),
        ("Jane (of the office) <jane@example.com>", "jane@example.com"),
        ("=?UTF-8?Q?J=C3=A4ne?= <jane@example.com>", "jane@example.com"),
        ('"Jane@work" < jane@example.com >', "jane@example.com"),
        ("jane+news@example.com", "jane+news@example.com"),
        ('"jane doe"@example.com', '"jane doe"@example.com'),
        ('"a@b<c>"@example.com', '"a@b<c>"@example.com'),
        ('Jane <"a>\\"b"@example.com>', '"a>\\"b"@example.com'),
        ("jane@xn--bcher-kva.example", "jane@xn--bcher-kva.example"),
        ("JÄNE@BÜCHER.EXAMPLE", "jäne@bücher.example"),
        ("用户@例子.example", "用户@例子.example"),
        ("jane@[192.0.2.1]", "jane@[192.0.2.1]"),
        ("jane", "jane"),
        ("<>", "<>"),
    ],
)
def test_an_address_is_lower_case_and_without_its_display_name(said: str, kept: str) -> None:
    (event,) = events(delivery(said, source=said))
    assert event.primary_recipient == kept
    assert event.source == kept


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "bad_text"),
        ("   ", "bad_text"),
        ("jane\x00@example.com", "bad_text"),
        ("jane@example.com\r\nBcc: omar@example.com", "bad_text"),
        ("j" * 321, "bad_text"),
        ("J" * 999 + " <jane@example.com>", "bad_text"),
        (None, "wrong_type"),
        (7, "wrong_type"),
        (["jane@example.com"], "wrong_type"),
        ({}, "wrong_type"),
    ],
)
def test_what_is_no_address_is_rejected_without_being_quoted(said: object, reason: str) -> None:
    outcome = rejected(delivery(said))
    assert outcome.reason == reason
    assert "jane" not in outcome.detail.lower()


def test_a_recipient_named_twice_counts_once() -> None:
    body = payload("event_delivery")
    body["delivery"]["recipients"] = ["jane@example.com", "Jane <JANE@example.com>"]
    assert [event.primary_recipient for event in events(body)] == ["jane@example.com"]


def test_a_mail_without_sender_has_no_source() -> None:
    assert events(delivery("jane@example.com", source=None))[0].source is None


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-02-17T08:30:00.128Z", datetime(2026, 2, 17, 8, 30, 0, 128_000, UTC)),
        ("2026-02-17T08:30:00Z", datetime(2026, 2, 17, 8, 30, tzinfo=UTC)),
        ("2026-02-17t08:30:00z", datetime(2026, 2, 17, 8, 30, tzinfo=UTC)),
        ("2026-02-17T08:30:00.123456789Z", datetime(2026, 2, 17, 8, 30, 0, 123_456, UTC)),
        ("2026-02-17T01:30:00.000-07:00", datetime(2026, 2, 17, 8, 30, tzinfo=UTC)),
        ("2026-02-17T14:00:00+0530", datetime(2026, 2, 17, 8, 30, tzinfo=UTC)),
        ("2026-02-17 08:30:00", datetime(2026, 2, 17, 8, 30, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_is_utc_whatever_its_offset_and_precision(said: str, meant: datetime) -> None:
    (event,) = events(opened(said))
    assert event.event_at == meant
    assert event.event_at.tzinfo is UTC
    assert "event_time_from" not in event.type_data


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "yesterday",
        1771317000,
        ["2026-02-17T08:30:00Z"],
        "2026-02-30T08:30:00Z",
        "2026-02-17T08:30:60Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "2" * 100_000,
        "2026-02-17T08:30:00.\x00Z",
    ],
)
def test_where_the_kind_has_no_time_of_its_own_the_mails_time_stands_for_it(said: object) -> None:
    (event,) = events(opened(said, "2026-02-17T08:30:00Z"))
    assert event.event_at == datetime(2026, 2, 17, 8, 30, tzinfo=UTC)
    assert event.type_data["event_time_from"] == "mail"


def test_without_the_mails_time_the_innermost_envelopes_stands() -> None:
    in_both = in_sns(in_eventbridge(opened(None)))
    (event,) = events(in_both)
    assert event.event_at == datetime(2026, 2, 17, 13, 0, tzinfo=UTC)
    assert event.type_data["event_time_from"] == "envelope"
    (event,) = events(in_sns(in_eventbridge(opened(None), time=None)))
    assert event.event_at == datetime(2026, 2, 17, 12, 0, 0, 250_000, UTC)


def test_without_any_other_time_the_queues_stands() -> None:
    (event,) = events(opened(None))
    assert event.event_at == SENT_AT
    assert event.type_data["event_time_from"] == "queue"


def test_the_queues_time_must_have_a_zone() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        parse("{}", SENT_AT.replace(tzinfo=None))
