"""Every kind SES documents, in each format it has: the rows, and where each value comes from.

Envelopes, addresses, times and dedupe keys have files of their own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dpp_feedback.feedback.kinds import KINDS
from dpp_feedback_tests.feedback.bodies import (
    FEEDBACK_ID,
    MESSAGE_ID,
    events,
    ignored,
    own_payloads,
    payload,
    rejected,
)

JANE, OMAR = "jane@example.net", "omar@example.net"
TAGS = {
    "ses:configuration-set": ["newsletter"],
    "ses:from-domain": ["example.com"],
    "ses:caller-identity": ["mailer"],
    "campaignName": ["spring"],
}
BOTH_FORMATS = pytest.mark.parametrize("fmt", ["event", "notification"])


def without_tags(type_data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in type_data.items() if key != "tags"}


def test_we_have_a_payload_of_every_kind() -> None:
    kinds = {payload(name).get("eventType") for name in own_payloads()}
    assert kinds >= KINDS.keys()


@pytest.mark.parametrize("name", own_payloads())
def test_every_row_names_the_mail_its_sender_and_its_kind(name: str) -> None:
    body = payload(name)
    for event in events(body):
        assert event.notification_type == body.get("eventType", body.get("notificationType"))
        assert event.ses_message_id == MESSAGE_ID
        assert event.source == "news@example.com"


@pytest.mark.parametrize("name", own_payloads())
def test_subjects_and_headers_are_never_kept(name: str) -> None:
    assert "Not to be kept" not in repr(events(payload(name)))


@pytest.mark.parametrize("name", [name for name in own_payloads() if name.startswith("event_")])
def test_event_publishing_keeps_the_tags_as_the_sender_wrote_them(name: str) -> None:
    for event in events(payload(name)):
        assert event.type_data["tags"] == TAGS
        assert event.configuration_set == "newsletter"


@BOTH_FORMATS
def test_a_bounce_gives_each_recipient_its_own_diagnostics(fmt: str) -> None:
    jane, omar = events(payload(f"{fmt}_bounce"))
    assert (jane.primary_recipient, omar.primary_recipient) == (JANE, OMAR)
    assert (jane.bounce_type, jane.bounce_sub_type) == ("Permanent", "General")
    assert jane.feedback_id == FEEDBACK_ID
    assert jane.event_at == datetime(2026, 2, 17, 8, 30, 1, 500_000, UTC)
    assert without_tags(jane.type_data) == {
        "bounce_type": "Permanent",
        "bounce_sub_type": "General",
        "reporting_mta": "dns; mx.example.net",
        "remote_mta_ip": "192.0.2.25",
        "action": "failed",
        "status": "5.1.1",
        "diagnostic_code": "smtp; 550 5.1.1 no such user",
    }
    assert omar.type_data["diagnostic_code"] == "smtp; 552 5.2.2 mailbox full"


@BOTH_FORMATS
def test_a_complaint_names_who_complained_and_how(fmt: str) -> None:
    (event,) = events(payload(f"{fmt}_complaint"))
    assert event.primary_recipient == JANE
    assert event.feedback_id == FEEDBACK_ID
    assert without_tags(event.type_data) == {
        "user_agent": "Example Feedback Loop/2.0",
        "complaint_feedback_type": "abuse",
        "arrival_date": "2026-02-17T08:59:58.000Z",
    }


@BOTH_FORMATS
def test_a_delivery_is_of_the_recipients_it_lists_not_of_the_whole_mail(fmt: str) -> None:
    (event,) = events(payload(f"{fmt}_delivery"))
    assert event.primary_recipient == JANE
    assert event.type_data["smtp_response"] == "250 2.0.0 queued as 4F1A"
    assert event.type_data["processing_time_millis"] == 2622


def test_a_delay_keeps_its_type_and_each_recipients_diagnostics() -> None:
    (event,) = events(payload("event_delivery_delay"))
    assert event.primary_recipient == JANE
    assert event.type_data["delay_type"] == "MailboxFull"
    assert event.type_data["diagnostic_code"] == "smtp; 452 4.2.2 mailbox full"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("send", {}),
        ("reject", {"reason": "Bad content"}),
        (
            "rendering_failure",
            {
                "template_name": "Welcome",
                "error_message": "Attribute 'firstName' is not present in the rendering data.",
            },
        ),
    ],
)
def test_what_is_about_the_whole_mail_gives_a_row_for_each_destination(
    name: str, expected: dict[str, Any]
) -> None:
    found = events(payload(f"event_{name}"))
    assert [event.primary_recipient for event in found] == [JANE, OMAR]
    assert [without_tags(event.type_data) for event in found] == [expected, expected]
    assert {event.event_at for event in found} == {datetime(2026, 2, 17, 8, 30, 0, 128_000, UTC)}


@pytest.mark.parametrize("name", ["open", "click"])
def test_who_of_several_opened_or_clicked_is_not_said(name: str) -> None:
    (event,) = events(payload(f"event_{name}"))
    assert event.primary_recipient is None
    assert event.type_data["destination_count"] == 2
    assert event.type_data["ip_address"] == "192.0.2.44"


@pytest.mark.parametrize("name", ["open", "click"])
def test_who_opened_or_clicked_a_mail_to_one_person_is_known(name: str) -> None:
    body = payload(f"event_{name}")
    body["mail"]["destination"] = [JANE]
    (event,) = events(body)
    assert event.primary_recipient == JANE
    assert "destination_count" not in event.type_data


def test_a_click_keeps_its_link_and_the_links_tags() -> None:
    (event,) = events(payload("event_click"))
    assert event.type_data["link"] == "https://shop.example/offer?id=7"
    assert event.type_data["link_tags"] == {"linkPlace": ["footer"]}


def test_a_subscription_keeps_the_preferences_in_snake_case() -> None:
    (event,) = events(payload("event_subscription"))
    assert event.primary_recipient == JANE
    assert event.type_data["contact_list"] == "ReadersOfTheNews"
    assert event.type_data["new_topic_preferences"] == {
        "unsubscribe_all": False,
        "topic_subscription_status": [{"topic_name": "Weekly", "subscription_status": "OptOut"}],
    }


@BOTH_FORMATS
@pytest.mark.parametrize("listed", [None, []])
def test_a_complaint_without_recipients_is_of_everybody_the_mail_went_to(
    fmt: str, listed: list[object] | None
) -> None:
    body = payload(f"{fmt}_complaint")
    body["complaint"]["complainedRecipients"] = listed
    body["complaint"]["complaintSubType"] = "OnAccountSuppressionList"
    found = events(body)
    assert [event.primary_recipient for event in found] == [JANE, OMAR]
    assert {event.type_data["complaint_sub_type"] for event in found} == {
        "OnAccountSuppressionList"
    }


def test_a_bounce_that_names_nobody_of_several_has_one_row_without_recipient() -> None:
    body = payload("event_bounce")
    body["bounce"]["bouncedRecipients"] = []
    (event,) = events(body)
    assert event.primary_recipient is None
    assert event.type_data["destination_count"] == 2


def test_types_and_subtypes_stand_as_ses_sent_them() -> None:
    body = payload("event_bounce")
    body["bounce"] |= {"bounceType": "Tentative", "bounceSubType": "Out Of Ether"}
    assert {(e.bounce_type, e.bounce_sub_type) for e in events(body)} == {
        ("Tentative", "Out Of Ether")
    }


def test_a_kind_that_is_new_is_kept_under_its_own_name() -> None:
    body = {"eventType": "Inbox Placement", "inboxPlacement": {"folderName": "Spam"}}
    (event,) = events(body | {"mail": payload("event_send")["mail"]})
    assert event.notification_type == "Inbox Placement"
    assert event.type_data["folder_name"] == "Spam"


def test_a_payload_without_its_mails_id_is_rejected() -> None:
    body = payload("event_delivery")
    del body["mail"]["messageId"]
    assert rejected(body).reason == "missing_message_id"


@pytest.mark.parametrize("name", ["bounce", "complaint", "delivery", "delivery_delay"])
def test_a_kind_without_the_object_that_names_its_recipients_is_rejected(name: str) -> None:
    body = payload(f"event_{name}")
    del body[KINDS[body["eventType"]].details]
    assert rejected(body).reason == "missing_details"


def test_mail_that_ses_received_is_no_feedback() -> None:
    body = {"notificationType": "Received", "receipt": {}, "mail": {}, "content": "..."}
    assert ignored(body).reason == "received_mail"


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("event_bounce", "bounce"),
        ("event_bounce", "BOUNCE"),
        ("event_delivery_delay", "DELIVERY_DELAY"),
        ("event_rendering_failure", "RenderingFailure"),
    ],
)
def test_another_spelling_of_a_kind_is_that_kind_and_counts_once(name: str, spelled: str) -> None:
    assert events(payload(name) | {"eventType": spelled}) == events(payload(name))
