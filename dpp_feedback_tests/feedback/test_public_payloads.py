"""The 49 public bodies beside the repository: each becomes what AWS's documentation says it is.

They are other people's text and are read where they lie. Our own payloads have tests of their own.
"""

from __future__ import annotations

import pytest

from dpp_feedback.feedback.parser import parse
from dpp_feedback_tests.feedback.bodies import PUBLIC_PAYLOADS, SENT_AT, events

RECIPIENT = ("recipient@example.com",)
USER = ("user@example.com",)
EVENTS = {
    "anymail_event-publishing_click_1": ("Click", RECIPIENT),
    "anymail_event-publishing_open_1": ("Open", RECIPIENT),
    "anymail_event-publishing_reject_1": ("Reject", RECIPIENT),
    "anymail_event-publishing_rendering-failure_1": ("Rendering Failure", RECIPIENT),
    "anymail_event-publishing_send_1": ("Send", RECIPIENT),
    "anymail_legacy_bounce_1": ("Bounce", ("jane@example.com",)),
    "anymail_legacy_bounce_2": ("Bounce", ("jane@example.com", "richard@example.com")),
    "anymail_legacy_complaint_1": ("Complaint", ("richard@example.com",)),
    "anymail_legacy_delivery_1": ("Delivery", ("jane@example.com",)),
    "anymail_sns_rendering-failure_1": ("Rendering Failure", RECIPIENT),
    "anymail_sns_rendering-failure_2": ("Rendering Failure", RECIPIENT),
    "aws-ses-guide_event-publishing_bounce_1": ("Bounce", RECIPIENT),
    "aws-ses-guide_event-publishing_click_1": ("Click", RECIPIENT),
    "aws-ses-guide_event-publishing_complaint_1": ("Complaint", RECIPIENT),
    "aws-ses-guide_event-publishing_delivery_1": ("Delivery", RECIPIENT),
    "aws-ses-guide_event-publishing_deliverydelay_1": ("DeliveryDelay", RECIPIENT),
    "aws-ses-guide_event-publishing_open_1": ("Open", RECIPIENT),
    "aws-ses-guide_event-publishing_reject_1": ("Reject", ("sender@example.com",)),
    "aws-ses-guide_event-publishing_rendering-failure_1": ("Rendering Failure", RECIPIENT),
    "aws-ses-guide_event-publishing_send_1": ("Send", RECIPIENT),
    "aws-ses-guide_event-publishing_subscription_1": ("Subscription", RECIPIENT),
    "aws-ses-guide_legacy_bounce_1": ("Bounce", ("jane@example.com",)),
    "aws-ses-guide_legacy_bounce_2": ("Bounce", ("jane@example.com", "richard@example.com")),
    "aws-ses-guide_legacy_complaint_1": ("Complaint", ("richard@example.com",)),
    "aws-ses-guide_legacy_complaint_2": ("Complaint", ("richard@example.com",)),
    "aws-ses-guide_legacy_delivery_1": ("Delivery", ("jane@example.com",)),
    "eventbridge_eventbridge_bounce_1": ("Bounce", ("invalid@example.com",)),
    "eventbridge_eventbridge_click_1": ("Click", USER),
    "eventbridge_eventbridge_complaint_1": ("Complaint", USER),
    "eventbridge_eventbridge_delivery_1": ("Delivery", USER),
    "eventbridge_eventbridge_deliverydelay_1": ("DeliveryDelay", USER),
    "eventbridge_eventbridge_open_1": ("Open", USER),
    "eventbridge_eventbridge_reject_1": ("Reject", USER),
    "eventbridge_eventbridge_rendering-failure_1": ("Rendering Failure", USER),
    "eventbridge_eventbridge_send_1": ("Send", USER),
    "eventbridge_eventbridge_subscription_1": ("Subscription", USER),
}
NO_EVENTS = {
    "anymail_legacy_received_1": "received_mail",
    "anymail_legacy_received_2": "received_mail",
    "anymail_sns_received_1": "received_mail",
    "anymail_sns_received_2": "received_mail",
    "anymail_sns_subscriptionconfirmation_1": "subscription_confirmation",
    "anymail_sns_topicvalidation-text_1": "topic_validated",
    "anymail_sns_unsubscribeconfirmation_1": "unsubscribe_confirmation",
    "aws-ses-guide_legacy_received_1": "received_mail",
    "aws-sns-guide_sns_non-json_1": "not_json",
    "aws-sns-guide_sns_non-json_2": "not_json",
    "aws-sns-guide_sns_subscriptionconfirmation_1": "subscription_confirmation",
    "aws-sns-guide_sns_subscriptionconfirmation_2": "subscription_confirmation",
    "aws-sns-guide_sns_unsubscribeconfirmation_1": "unsubscribe_confirmation",
}

pytestmark = pytest.mark.skipif(
    not PUBLIC_PAYLOADS.is_dir(), reason="no ../shared/payloads beside the repository"
)


@pytest.mark.parametrize("name", EVENTS)
def test_a_public_body_becomes_the_events_it_documents(name: str) -> None:
    found = events((PUBLIC_PAYLOADS / f"{name}.json").read_bytes())
    kind, recipients = EVENTS[name]
    assert {event.notification_type for event in found} == {kind}
    assert tuple(event.primary_recipient for event in found) == recipients


@pytest.mark.parametrize("name", NO_EVENTS)
def test_a_public_body_without_feedback_says_why(name: str) -> None:
    outcome = parse((PUBLIC_PAYLOADS / f"{name}.json").read_bytes(), SENT_AT)
    assert not isinstance(outcome, tuple)
    assert outcome.reason == NO_EVENTS[name]


def test_no_public_body_is_left_out() -> None:
    assert {path.stem for path in PUBLIC_PAYLOADS.glob("*.json")} == EVENTS.keys() | NO_EVENTS
