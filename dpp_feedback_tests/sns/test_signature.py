"""Only what SNS has signed comes in, and what was verified is what is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dpp_feedback.feedback.events import Ignored, Rejected, RejectedReason
from dpp_feedback.feedback.parser import parse
from dpp_feedback.sns import certificates
from dpp_feedback.sns.signature import string_to_sign
from dpp_feedback_tests.bounces import bounce
from dpp_feedback_tests.sns.authority import (
    CONFIRMATION,
    NOTIFICATION,
    NOW,
    TOPIC,
    URL,
    body,
    confirmation,
    notification,
    rsa_key,
    signed,
)

if TYPE_CHECKING:
    from dpp_feedback.feedback.events import Outcome
    from dpp_feedback.sns.check import SnsCheck
    from dpp_feedback_tests.sns.conftest import Authority, Served

KINDS = ["SubscriptionConfirmation", "UnsubscribeConfirmation"]
OTHER = {
    "Message": bounce(7),
    "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf325",
    "Subject": "Another",
    "SubscribeURL": "https://sns.ap-northeast-2.amazonaws.com/?Action=Other",
    "Timestamp": "2026-02-17T12:00:00.250Z",
    "Token": "other",
    "TopicArn": "arn:aws:sns:ap-northeast-2:111122223333:complaints",
}

pytestmark = pytest.mark.usefixtures("sns_host")


def read(envelope: object, check: SnsCheck) -> Outcome:
    text = envelope if isinstance(envelope, str) else json.dumps(envelope)
    return parse(text, NOW, check)


def reason(envelope: object, check: SnsCheck) -> RejectedReason | None:
    outcome = read(envelope, check)
    return outcome.reason if isinstance(outcome, Rejected) else None


def test_what_sns_signs_is_what_its_developer_guide_lists() -> None:
    envelope = {
        "Type": "Notification",
        "MessageId": "id",
        "TopicArn": "topic",
        "Subject": "My subject",
        "Message": "two\nlines",
        "Timestamp": "then",
        "UnsubscribeURL": "not signed",
    }
    assert string_to_sign(envelope) == (
        b"Message\ntwo\nlines\nMessageId\nid\nSubject\nMy subject\nTimestamp\nthen\n"
        b"TopicArn\ntopic\nType\nNotification\n"
    )
    without = b"Message\ntwo\nlines\nMessageId\nid\nTimestamp\nthen\nTopicArn\ntopic\nType\n"
    del envelope["Subject"]
    assert string_to_sign(envelope) == without + b"Notification\n"
    assert string_to_sign(envelope | {"Subject": None}) == without + b"Notification\n"
    for kind in KINDS:
        asked = {**envelope, "Type": kind, "SubscribeURL": "url", "Token": "token"}
        assert string_to_sign(asked) == (
            b"Message\ntwo\nlines\nMessageId\nid\nSubscribeURL\nurl\nTimestamp\nthen\n"
            b"Token\ntoken\nTopicArn\ntopic\nType\n" + kind.encode() + b"\n"
        )


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_signed_notification_comes_in(
    version: str, authority: Authority, check: SnsCheck
) -> None:
    for envelope in (notification(), {k: v for k, v in notification().items() if k != "Subject"}):
        outcome = read(signed(envelope, authority.key, version), check)
        assert isinstance(outcome, tuple)
        assert [event.sns_message_id for event in outcome] == [envelope["MessageId"]]


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_signed_confirmation_is_ignored_as_ever(
    kind: str, version: str, authority: Authority, check: SnsCheck
) -> None:
    assert isinstance(read(signed(confirmation(kind), authority.key, version), check), Ignored)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("field", [name for name in NOTIFICATION if name != "Type"])
def test_a_notification_with_any_field_tampered_with_is_rejected(
    field: str, version: str, authority: Authority, check: SnsCheck
) -> None:
    envelope = signed(notification(), authority.key, version)
    expected = "topic_not_allowed" if field == "TopicArn" else "bad_signature"
    assert reason(envelope | {field: OTHER[field]}, check) == expected
    assert reason(envelope | {field: envelope[field] + "\n"}, check) == expected


def test_a_tampered_topic_among_ours_is_rejected_by_the_signature(
    authority: Authority, check: SnsCheck
) -> None:
    both = type(check)(frozenset({TOPIC, OTHER["TopicArn"]}), check.certificates)
    envelope = signed(notification(), authority.key)
    assert reason(envelope, both) is None
    assert reason(envelope | {"TopicArn": OTHER["TopicArn"]}, both) == "bad_signature"


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("field", [name for name in CONFIRMATION if name != "TopicArn"])
def test_a_confirmation_with_any_field_tampered_with_is_rejected(
    field: str, version: str, authority: Authority, check: SnsCheck
) -> None:
    envelope = signed(confirmation(), authority.key, version)
    changed = OTHER | {"Type": KINDS[1]}
    assert reason(envelope | {field: changed[field]}, check) == "bad_signature"


@pytest.mark.parametrize("field", NOTIFICATION)
def test_a_notification_without_a_signed_field_is_rejected(
    field: str, authority: Authority, check: SnsCheck
) -> None:
    envelope = signed(notification(), authority.key)
    for broken in (
        {name: value for name, value in envelope.items() if name != field},
        envelope | {field: None},
        envelope | {field: [envelope[field]]},
        envelope | {field: {}},
        envelope | {field: 1},
    ):
        assert reason(broken, check) in {"bad_signature", "topic_not_allowed", "unsigned"}


def test_a_subject_that_was_not_signed_is_rejected(authority: Authority, check: SnsCheck) -> None:
    envelope = notification()
    del envelope["Subject"]
    sealed = signed(envelope, authority.key)
    assert reason(sealed | {"Subject": None}, check) is None  # SNS signs none then
    assert reason(sealed | {"Subject": "Hello"}, check) == "bad_signature"
    assert reason(sealed | {"Subject": ""}, check) == "bad_signature"


def test_another_type_with_the_fields_of_a_notification_is_rejected(
    authority: Authority, check: SnsCheck
) -> None:
    envelope = signed(notification(), authority.key)
    for kind in (*KINDS, "notification", "Notification ", "", None, ["Notification"]):
        assert reason(envelope | {"Type": kind}, check) in {"bad_signature", "unsigned"}


def test_the_signature_of_another_key_is_rejected(check: SnsCheck) -> None:
    for version in ("1", "2"):
        envelope = signed(notification(), rsa_key("somebody else"), version)
        assert reason(envelope, check) == "bad_signature"


@pytest.mark.parametrize(
    "changes",
    [
        {"SignatureVersion": "1"},  # it was signed as version 2
        {"SignatureVersion": "3"},
        {"SignatureVersion": 2},
        {"SignatureVersion": ["2"]},
        {"SignatureVersion": None},
        {"Signature": ""},
        {"Signature": None},
        {"Signature": ["x"]},
        {"Signature": "=" * 5},
        {"Signature": "not base64!"},
        {"Signature": "QUJD"},
        {"Signature": "A" * 1_000_000},
        {"Signature": "é"},
    ],
    ids=lambda changes: ascii(changes)[:40],
)
def test_a_signature_that_is_none_is_rejected(
    changes: dict[str, Any], authority: Authority, check: SnsCheck
) -> None:
    assert reason(signed(notification(), authority.key) | changes, check) == "bad_signature"


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda envelope: [envelope],
        lambda envelope: json.dumps(json.dumps(envelope)),
        lambda envelope: {"Records": [{"Sns": envelope}]},
        lambda envelope: {"Records": [{"body": json.dumps(envelope)}]},
        lambda envelope: {"detail-type": "Email Bounced", "detail": envelope},
        lambda envelope: envelope["Message"],
        lambda envelope: json.loads(envelope["Message"]) | envelope,
        lambda envelope: envelope | {"eventType": "Bounce"},
        lambda envelope: f"{json.dumps(envelope)}\n{json.dumps(envelope)}",
        lambda envelope: {name.lower(): value for name, value in envelope.items()},
        lambda envelope: {k: v for k, v in envelope.items() if "Sign" not in k},
        lambda _: "Successfully validated SNS topic for Amazon SES event publishing.",
        lambda _: 7,
        lambda _: None,
    ],
)
def test_what_has_no_signature_on_its_outside_is_unsigned(
    wrapped: Any, authority: Authority, check: SnsCheck, sns_host: Served
) -> None:
    """A lower-case copy of the envelope is a body without SNS's envelope as well."""
    outcome = read(wrapped(signed(notification(), authority.key)), check)
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "unsigned"
    assert "SNS_VERIFY=false" in outcome.detail
    assert not sns_host.heard


def test_of_two_keys_with_one_name_the_one_that_is_read_is_verified(
    authority: Authority, check: SnsCheck
) -> None:
    good = signed(notification(), authority.key)
    forged = json.dumps(OTHER["Message"])
    text = body(good)
    first = '{"Message": ' + forged + "," + text[1:]
    outcome = read(first, check)
    assert isinstance(outcome, tuple)
    assert {event.primary_recipient for event in outcome} == {
        event.primary_recipient
        for event in parse(notification()["Message"], NOW)  # type: ignore[union-attr]
    }
    assert reason(text[:-1] + ', "Message": ' + forged + "}", check) == "bad_signature"


def test_blanks_order_and_escapes_of_the_envelope_do_not_matter(
    authority: Authority, check: SnsCheck
) -> None:
    good = signed(notification(bounce(0, "jané@example.org") + " \n\t"), authority.key)
    for text in (
        "\ufeff \n" + json.dumps(dict(reversed(good.items())), indent=3) + "\r\n",
        json.dumps(good, ensure_ascii=False),
    ):
        assert isinstance(read(text, check), tuple)


def test_nothing_of_a_forged_body_is_in_what_is_said(authority: Authority, check: SnsCheck) -> None:
    canary = "canary@example.com"
    envelope = signed(notification(), authority.key)
    for broken in (
        envelope | {"Message": canary},
        envelope | {"TopicArn": canary},
        envelope | {"SigningCertURL": f"https://{canary}/x.pem"},
        envelope | {"Signature": canary},
        envelope | {"SignatureVersion": canary},
        envelope | {"Type": canary},
    ):
        outcome = read(broken, check)
        assert isinstance(outcome, Rejected)
        assert canary not in outcome.detail


def test_a_fault_of_the_check_itself_is_told_of_its_message_alone(
    authority: Authority, check: SnsCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would raise is not known; so it is made to."""

    def failing(*_: object) -> None:
        raise RuntimeError("person0@example.org")

    monkeypatch.setattr(certificates, "trusted", failing)
    monkeypatch.setattr(certificates, "get", lambda _: b"")
    outcome = read(signed(notification(), authority.key), check)
    assert isinstance(outcome, Rejected)
    assert outcome.reason == RejectedReason.PARSER_ERROR
    assert outcome.detail == "the check of its signature failed: RuntimeError"


def test_the_certificate_is_fetched_once_for_many_messages(
    authority: Authority, check: SnsCheck, sns_host: Served
) -> None:
    for number in range(50):
        envelope = notification(bounce(number), MessageId=f"id-{number}")
        assert reason(signed(envelope, authority.key), check) is None
    assert sns_host.heard == [URL.partition("amazonaws.com")[2]]
