"""What a payload may travel in: SNS, raw delivery, EventBridge, Lambda, Firehose, and combined.

What the payload says is not looked at here, only that it is found, and what is no payload.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from dpp_feedback.feedback.envelope import Record, open_body
from dpp_feedback.feedback.kinds import DETAIL_TYPES
from dpp_feedback_tests.feedback.bodies import (
    SNS_ID,
    events,
    ignored,
    in_eventbridge,
    in_sns,
    own_payloads,
    payload,
    rejected,
)

BOUNCE = payload("event_bounce")
TEXT = json.dumps(BOUNCE)
SEND = payload("event_send")
BY_KIND = {
    whole["eventType"]: whole for whole in map(payload, own_payloads()) if "eventType" in whole
}


def envelopes(body: object) -> tuple[str, ...]:
    (record,) = open_body(json.dumps(body))
    assert isinstance(record, Record)
    return record.envelopes


@pytest.mark.parametrize(
    ("body", "around"),
    [
        pytest.param(BOUNCE, (), id="raw delivery"),
        pytest.param(TEXT, (), id="raw, encoded twice"),
        pytest.param(in_sns(BOUNCE), ("SNS notification",), id="SNS"),
        pytest.param(in_sns(json.dumps(TEXT)), ("SNS notification",), id="SNS, encoded twice"),
        pytest.param({"Message": BOUNCE}, ("SNS notification",), id="a Message that is an object"),
        pytest.param({"Message": TEXT}, ("SNS notification",), id="a Message and nothing else"),
        pytest.param(in_eventbridge(BOUNCE), ("EventBridge",), id="EventBridge"),
        pytest.param(
            in_sns(in_eventbridge(BOUNCE)),
            ("SNS notification", "EventBridge"),
            id="EventBridge through SNS",
        ),
        pytest.param(
            {"Records": [{"EventSource": "aws:sns", "Sns": in_sns(BOUNCE)}]},
            ("Lambda", "SNS notification"),
            id="a topic's Lambda event",
        ),
        pytest.param(
            {"Records": [{"Sns": {"Message": TEXT, "MessageId": SNS_ID}}]},
            ("Lambda", "SNS notification"),
            id="a topic's Lambda event, shortened",
        ),
        pytest.param(
            {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(in_sns(BOUNCE))}]},
            ("Lambda", "SNS notification"),
            id="a queue's Lambda event",
        ),
        pytest.param([{"messageId": "1", "body": TEXT}], (), id="a queue's records through a pipe"),
    ],
)
def test_the_payload_is_found_in(body: object, around: tuple[str, ...]) -> None:
    assert envelopes(body) == around
    assert [event.notification_type for event in events(body)] == ["Bounce", "Bounce"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"\ufeff{TEXT}", id="a byte-order mark"),
        pytest.param(f"\ufeff{TEXT}".encode(), id="a byte-order mark in bytes"),
        pytest.param(f" \r\n\t{TEXT}\n", id="white space"),
        pytest.param(in_sns(f"\ufeff {TEXT}\n"), id="both inside SNS"),
    ],
)
def test_what_stands_around_a_body_does_not_matter(body: object) -> None:
    assert len(events(body)) == 2


def test_the_sns_message_id_is_kept() -> None:
    assert {event.sns_message_id for event in events(in_sns(BOUNCE))} == {SNS_ID}
    assert {event.sns_message_id for event in events(BOUNCE)} == {None}


def test_firehose_records_are_separated_by_line_ends() -> None:
    lines = f"{TEXT}\r\n\n{json.dumps(SEND)}\n"
    assert [e.notification_type for e in events(lines)] == ["Bounce", "Bounce", "Send", "Send"]


def test_a_line_separator_within_json_text_separates_no_firehose_records() -> None:
    body = payload("event_reject")
    body["reject"]["reason"] = "Bad\u2028content\x85"
    lines = "\n".join([json.dumps(body, ensure_ascii=False)] * 2)
    assert {event.type_data["reason"] for event in events(lines)} == {"Bad\u2028content\x85"}


def test_a_bad_record_among_good_ones_keeps_the_message_and_gives_the_good_ones_events() -> None:
    outcome = rejected({"Records": [{"Sns": in_sns(SEND)}, {"Sns": in_sns("{")}]})
    assert outcome.reason == "not_json"
    assert outcome.detail.startswith("record 2 of 2: ")
    assert len(outcome.events) == 2


def test_a_control_message_among_events_does_not_matter() -> None:
    assert len(events([BOUNCE, {"notificationType": "Received"}])) == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            {"Type": "SubscriptionConfirmation", "Message": "You have chosen to subscribe"},
            "subscription_confirmation",
        ),
        (
            {"Type": "UnsubscribeConfirmation", "Message": "You have chosen to deactivate"},
            "unsubscribe_confirmation",
        ),
        (
            in_sns({"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have"}),
            "subscription_succeeded",
        ),
        (
            in_sns("Successfully validated SNS topic for Amazon SES event publishing."),
            "topic_validated",
        ),
        ("Successfully validated SNS topic for Amazon SES event publishing.", "topic_validated"),
        ({"Records": [{"eventSource": "aws:ses", "ses": {"mail": {}}}]}, "received_mail"),
        (in_sns({"notificationType": "Received", "receipt": {}}), "received_mail"),
    ],
)
def test_a_control_message_is_ignored_with_its_reason(body: object, reason: str) -> None:
    assert ignored(body).reason == reason


@pytest.mark.parametrize(
    "name",
    [
        "Advisor Recommendation Status Open",
        "Advisor Recommendation Status Resolved",
        "Sending Status Enabled",
        "Sending Status Disabled",
        "AWS API Call via CloudTrail",
    ],
)
def test_what_eventbridge_says_of_the_account_is_no_feedback(name: str) -> None:
    detail = {"version": "1.0.0", "data": {"status": "DISABLED"}}
    assert ignored(in_eventbridge(detail, **{"detail-type": name})).reason == "account_event"


@pytest.mark.parametrize(("detail_type", "kind"), DETAIL_TYPES.items())
def test_eventbridge_says_the_kind_where_its_detail_does_not(detail_type: str, kind: str) -> None:
    whole = BY_KIND[kind]
    detail = {key: value for key, value in whole.items() if key != "eventType"}
    assert events(in_eventbridge(detail, **{"detail-type": detail_type})) == events(
        in_eventbridge(whole)
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (" \n\ufeff", "empty"),
        ("[]", "empty"),
        ({"Records": []}, "empty"),
        ({"Records": {}}, "wrong_type"),
        ("null", "wrong_type"),
        ("7", "wrong_type"),
        ("not JSON", "not_json"),
        (in_sns("mail from a person"), "not_json"),
        (b"\xff\xfe", "not_text"),
        (BOUNCE | {"eventType": None}, "not_ses"),
        ({"hello": "world"}, "not_ses"),
        ({"Type": "Greeting", "Message": "{}"}, "not_ses"),
        ({"Type": "Notification"}, "not_ses"),
        ({"Type": "Notification", "Message": None}, "not_ses"),
        (in_eventbridge(None), "not_ses"),
        (in_eventbridge(BOUNCE, **{"detail-type": 7}), "wrong_type"),
        (in_eventbridge({}, **{"detail-type": "EC2 Instance State-change"}), "not_ses"),
        ({"Records": [{"s3": {"object": {"key": "mail"}}}]}, "not_ses"),
        (in_sns(BOUNCE, MessageId=7), "wrong_type"),
    ],
)
def test_what_is_no_feedback_and_no_control_message_is_rejected(
    body: dict[str, Any] | str, reason: str
) -> None:
    assert rejected(body).reason == reason
