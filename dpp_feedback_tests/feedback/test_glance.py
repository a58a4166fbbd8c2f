"""A body at a glance: what it is about, even where the parser gives up."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpp_feedback.feedback.events import Ignored, Rejected
from dpp_feedback.feedback.glance import Glance, glance
from dpp_feedback.feedback.parser import parse
from dpp_feedback_tests.feedback.bodies import (
    PUBLIC_PAYLOADS,
    SENT_AT,
    in_eventbridge,
    in_sns,
    own_payloads,
    payload,
)

TOPIC = "arn:aws:sns:eu-west-1:111122223333:feedback"


def at_a_glance(body: object) -> Glance:
    return glance(body if isinstance(body, str) else json.dumps(body), SENT_AT)


def test_a_good_body_tells_its_kind_and_its_topic() -> None:
    seen = at_a_glance(in_sns(payload("event_bounce")))
    assert isinstance(seen.outcome, tuple)
    assert (seen.kinds, seen.topic_arn) == (("Bounce",), TOPIC)


def test_kinds_of_several_records_stand_sorted_and_each_once() -> None:
    records = [payload(name) for name in ("event_open", "event_bounce", "event_bounce")]
    assert at_a_glance(records).kinds == ("Bounce", "Open")


def test_raw_delivery_names_no_topic() -> None:
    assert at_a_glance(payload("event_bounce")).topic_arn is None


def test_a_truncated_body_still_names_kind_and_topic() -> None:
    body = json.dumps(in_sns(payload("event_bounce")))
    seen = at_a_glance(body[: len(body) * 2 // 3])
    assert isinstance(seen.outcome, Rejected)
    assert (seen.kinds, seen.topic_arn) == (("Bounce",), TOPIC)


def test_kinds_are_found_at_any_depth_of_encoding() -> None:
    text = '{"eventType": "RenderingFailure", oops'
    for _ in range(5):
        assert at_a_glance(text).kinds == ("Rendering Failure",)
        text = json.dumps({"Message": text})


def test_eventbridge_names_its_kind_in_its_own_words() -> None:
    assert at_a_glance(in_eventbridge({"mail": 7})).kinds == ("Bounce",)
    assert at_a_glance(in_eventbridge(7, **{"detail-type": "Email New"})).kinds == ("Email New",)


def test_a_rejected_body_names_the_kinds_of_its_good_records_too() -> None:
    seen = at_a_glance([payload("event_bounce"), {"notificationType": "Complaint"}])
    assert isinstance(seen.outcome, Rejected)
    assert seen.kinds == ("Bounce", "Complaint")


def test_a_control_message_names_what_it_says() -> None:
    seen = at_a_glance({"notificationType": "AmazonSnsSubscriptionSucceeded"})
    assert isinstance(seen.outcome, Ignored)
    assert seen.kinds == ("AmazonSnsSubscriptionSucceeded",)


@pytest.mark.parametrize("body", ["", "42", "{}", '{"eventType": 7}', '{"eventType": "<b>"}'])
def test_a_body_that_names_nothing_has_no_kinds(body: str) -> None:
    seen = at_a_glance(body)
    assert (seen.kinds, seen.topic_arn) == ((), None)


def test_the_beginning_of_an_address_is_neither_a_kind_nor_a_topic() -> None:
    for text in ('{"eventType": "jane@example.com", oops', f'{{"TopicArn": "{TOPIC}@example.com"'):
        seen = at_a_glance(text)
        assert (seen.kinds, seen.topic_arn) == ((), None)


def test_what_is_no_arn_of_a_topic_is_no_topic() -> None:
    assert at_a_glance(in_sns("x", TopicArn="arn:aws:sns:eu-west-1:1:a\x1b[31m")).topic_arn is None


@pytest.mark.parametrize("path", sorted(PUBLIC_PAYLOADS.glob("*.json")), ids=lambda path: path.stem)
def test_the_outcome_is_the_parsers(path: object) -> None:
    body = path.read_text()  # type: ignore[attr-defined]
    seen = glance(body, SENT_AT)
    assert seen.outcome == parse(body, SENT_AT)
    if isinstance(seen.outcome, tuple):
        assert seen.kinds


def test_a_time_without_zone_is_the_callers_fault() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        glance("{}", datetime(2026, 2, 17))  # noqa: DTZ001


@settings(deadline=None, max_examples=300)
@given(st.text() | st.sampled_from(own_payloads()).map(lambda name: json.dumps(payload(name))))
def test_no_body_raises_and_every_prefix_has_a_glance(body: str) -> None:
    for text in (body, body[: len(body) // 2], body * 2, json.dumps(in_sns(body))):
        assert at_a_glance(text).kinds == tuple(sorted(set(at_a_glance(text).kinds)))


@pytest.mark.parametrize("part", ['notificationType"', 'eventType"  ', "\\", 'TopicArn\\"', " : "])
def test_a_megabyte_of_what_nearly_names_a_kind_has_a_glance(part: str) -> None:
    assert at_a_glance(part * (1024 * 1024 // len(part))).kinds == ()
