"""Where the limits lie: sizes, depths and counts; and which odd values are cleaned, not refused.

Sizes are bounded instead of times. Arbitrary bodies are in test_parser_hostile.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from dpp_feedback.feedback.envelope import MAX_BODY
from dpp_feedback.feedback.parser import MAX_EVENTS, MAX_ROWS, MAX_TYPE_DATA
from dpp_feedback.feedback.values import MAX_VALUES
from dpp_feedback_tests.feedback.bodies import events, payload, rejected

SECRET = "secret@private.example"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param("x" * 10_000_000, "too_large", id="10 MB of text"),
        pytest.param(b'"' + b"x" * MAX_BODY + b'"', "too_large", id="one string over the limit"),
        pytest.param("é" * (MAX_BODY // 2 + 1), "too_large", id="bytes count, not characters"),
        pytest.param("[" * 100_000 + "]" * 100_000, "not_json", id="100,000 lists"),
        pytest.param('{"a":' * 100_000 + "1" + "}" * 100_000, "not_json", id="100,000 objects"),
        pytest.param('["\\ud800",' + "[" * 100_000, "not_json", id="lists after half a surrogate"),
        pytest.param('{"eventType": NaN}', "not_json", id="NaN"),
        pytest.param('{"eventType": -Infinity}', "not_json", id="Infinity"),
        pytest.param('{"a": "\\ud800", "b": NaN}', "not_json", id="NaN after half a surrogate"),
        pytest.param('{"eventType": ' + "9" * 5000 + "}", "not_json", id="5,000 digits"),
        pytest.param('{"eventType": "A\\u0000"}', "bad_text", id="NUL in a name"),
        pytest.param('{"eventType": "A\x00"}', "not_json", id="NUL as it is"),
        pytest.param('{"a": "\ud800"}', "not_text", id="half a surrogate as it is"),
        pytest.param("{}\n" * 300_000, "too_large", id="300,000 Firehose records"),
        pytest.param("[" + "{}," * 300_000 + "{}]", "too_large", id="300,000 records"),
        pytest.param(json.dumps([[{}] * 9_000] * 9), "too_large", id="records in lists in a list"),
    ],
)
def test_what_no_queue_should_deliver_is_rejected(body: str | bytes, reason: str) -> None:
    assert rejected(body).reason == reason


def with_details(**more: object) -> dict[str, Any]:
    body = payload("event_reject")
    body["reject"] |= more
    return body


def nested(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = [value] if level % 2 else {"key": value}
    return value


def test_envelopes_within_envelopes_come_to_an_end() -> None:
    body: object = payload("event_send")
    for _ in range(12):
        body = {"Type": "Notification", "Message": body}
    assert rejected(body).reason == "not_ses"


def test_details_nested_deeply_are_rejected_before_the_stack_is_at_its_end() -> None:
    assert len(events(with_details(deep=nested(30)))) == 2
    assert rejected(with_details(deep=nested(190))).reason == "too_large"


@pytest.mark.parametrize(
    "more", [{"x": "y" * MAX_TYPE_DATA}, {"y" * MAX_TYPE_DATA: 1}, {"x": list(range(20_000))}]
)
def test_large_details_are_rejected(more: dict[str, object]) -> None:
    assert rejected(with_details(**more)).reason == "too_large"


def test_details_of_very_many_values_are_rejected_before_they_are_copied() -> None:
    assert "more than 32768 values" in rejected(with_details(x=[[]] * MAX_VALUES)).detail
    assert "bytes" in rejected(with_details(x=[[]] * (MAX_VALUES - 2))).detail  # as many do not fit


def test_many_recipients_that_share_large_details_are_rejected() -> None:
    body = payload("event_delivery")
    body["delivery"]["recipients"] = [f"r{number}@example.com" for number in range(50)]
    body["delivery"]["smtpResponse"] = "x" * (MAX_ROWS // 50)
    assert rejected(body).reason == "too_large"
    body["delivery"]["smtpResponse"] = "x" * 10_000
    assert len(events(body)) == 50


def test_more_recipients_than_ses_sends_to_are_rejected() -> None:
    body = payload("event_delivery")
    body["delivery"]["recipients"] = [f"r{number}@example.com" for number in range(101)]
    assert rejected(body).reason == "too_large"


def test_a_body_gives_no_more_events_than_the_store_writes_at_once() -> None:
    line = json.dumps(
        {
            "eventType": "Delivery",
            "mail": {"messageId": "1"},
            "delivery": {"recipients": [str(number) for number in range(100)]},
        }
    )
    assert len(events("\n".join([line] * (MAX_EVENTS // 100)))) == MAX_EVENTS
    outcome = rejected("\n".join([line] * (MAX_EVENTS // 100 + 1)))
    assert (outcome.reason, outcome.events) == ("too_large", ())


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ('"a\\u0000b"', "a\ufffdb"),
        ('"a\\ud800b"', "a?b"),
        ('"\\ud83d\\udce7"', "\N{E-MAIL SYMBOL}"),
        ('["a\\u0000"]', ["a\ufffd"]),
        ('{"a\\u0000B": 1}', {"a\ufffdb": 1}),
        ("9007199254740993", 9007199254740993),
        ("9" * 4000, int("9" * 4000)),
    ],
)
def test_where_the_meaning_is_certain_the_value_is_cleaned_and_kept(
    said: str, kept: object
) -> None:
    text = json.dumps(with_details(extra="HERE")).replace('"HERE"', said)
    assert events(text)[0].type_data["extra"] == kept


def test_nul_in_a_tag_is_cleaned_in_its_name_too() -> None:
    body = payload("event_reject")
    body["mail"]["tags"] = {"a\x00b": ["c\x00d"]}
    assert events(body)[0].type_data["tags"] == {"a\ufffdb": ["c\ufffdd"]}


def test_a_number_that_is_too_large_for_json_databases_is_rejected() -> None:
    text = json.dumps(with_details(extra="HERE")).replace('"HERE"', "1e999")
    assert rejected(text).reason == "not_json"


def test_of_duplicate_keys_the_last_counts() -> None:
    text = json.dumps(payload("event_reject")).replace(
        '"reason": "Bad content"', '"reason": "First", "reason": "Last"'
    )
    assert {event.type_data["reason"] for event in events(text)} == {"Last"}


def test_headers_and_subjects_are_dropped_at_any_depth() -> None:
    hidden = {"Subject": SECRET, "headers": [SECRET], "commonHeaders": {"x": SECRET}, "kept": 1}
    found = events(with_details(inner=[{"deeper": hidden}]))
    assert found[0].type_data["inner"] == [{"deeper": {"kept": 1}}]


@pytest.mark.parametrize(
    "body", [{SECRET: 7}, {SECRET: {"feedbackId": 7}}, {SECRET: {"bounceType": "\x00"}}]
)
def test_the_name_of_an_unknown_kind_is_not_quoted(body: dict[str, object]) -> None:
    outcome = rejected({"eventType": SECRET, "mail": {"messageId": "1"}} | body)
    assert SECRET not in outcome.detail
