"""Topics and their subscriptions, and what SES publishes to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest

from dpp_feedback.doctor import ses, topics
from dpp_feedback.doctor.aws import Aws
from dpp_feedback_tests.doctor.looking import found, only

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

    from dpp_feedback.doctor.finding import Finding
    from dpp_feedback_tests.doctor.proxy import Proxy


def _topic(check: str) -> Finding:
    return only(topics.examinations(Aws()), check)


def _ses(check: str) -> Finding:
    return only(ses.examinations(Aws()), check)


def _subscription(sns: SNSClient, arn: str) -> str:
    (said,) = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    return said["SubscriptionArn"]


def test_the_topics_of_the_stack_are_in_order(environment: dict[str, str]) -> None:
    assert environment
    checks = found(topics.examinations(Aws()))
    assert len(checks) == 6
    assert {each.verdict for findings in checks.values() for each in findings} == {"pass"}


def test_a_topic_that_is_not_set_warns(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment
    monkeypatch.delenv("SNS_BOUNCE_ARN")
    assert _topic("SNS_BOUNCE_ARN").verdict == "warn"


def test_a_topic_that_is_gone_fails(environment: dict[str, str], sns: SNSClient) -> None:
    sns.delete_topic(TopicArn=environment["SNS_BOUNCE_ARN"])
    assert _topic("SNS_BOUNCE_ARN").verdict == "fail"


def test_a_topic_encrypted_with_awss_own_key_fails(
    environment: dict[str, str], sns: SNSClient
) -> None:
    arn = environment["SNS_BOUNCE_ARN"]
    for key, verdict in {"alias/aws/sns": "fail", "alias/ours": "pass"}.items():
        sns.set_topic_attributes(TopicArn=arn, AttributeName="KmsMasterKeyId", AttributeValue=key)
        assert _topic("SNS_BOUNCE_ARN").verdict == verdict


def test_a_queue_that_does_not_subscribe_fails(environment: dict[str, str], sns: SNSClient) -> None:
    sns.unsubscribe(SubscriptionArn=_subscription(sns, environment["SNS_DELIVERY_ARN"]))
    assert _topic("delivery subscription").verdict == "fail"


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("RawMessageDelivery", "true", "RawMessageDelivery is on"),
        ("FilterPolicy", '{"kind": ["a"]}', "filter policy"),
    ],
)
def test_raw_delivery_and_filters_warn(
    environment: dict[str, str], sns: SNSClient, name: str, value: str, word: str
) -> None:
    arn = _subscription(sns, environment["SNS_BOUNCE_ARN"])
    sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName=name, AttributeValue=value)
    finding = _topic("bounce subscription")
    assert finding.verdict == "warn"
    assert word in finding.found


def test_a_queue_that_subscribes_twice_warns(
    environment: dict[str, str], sns: SNSClient, between: Proxy
) -> None:
    arn = environment["SNS_BOUNCE_ARN"]
    (said,) = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    between.say("ListSubscriptionsByTopic", _members(said["SubscriptionArn"], said["Endpoint"], 2))
    findings = found(topics.examinations(Aws())[:1])["bounce subscription"]
    assert [each.verdict for each in findings] == ["warn", "pass", "pass"]
    assert "subscribes 2 times" in findings[0].found


def test_a_subscription_that_waits_for_confirmation_fails(
    environment: dict[str, str], sns: SNSClient, between: Proxy
) -> None:
    arn = environment["SNS_BOUNCE_ARN"]
    (said,) = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    between.say("ListSubscriptionsByTopic", _members("PendingConfirmation", said["Endpoint"], 1))
    assert only(topics.examinations(Aws())[:1], "bounce subscription").verdict == "fail"


def _members(arn: str, endpoint: str, times: int) -> str:
    member = (
        f"<member><SubscriptionArn>{arn}</SubscriptionArn><Protocol>sqs</Protocol>"
        f"<Endpoint>{endpoint}</Endpoint></member>"
    )
    return f"<Subscriptions>{member * times}</Subscriptions>"


@pytest.mark.parametrize(
    "operation", ["GetTopicAttributes", "ListSubscriptionsByTopic", "GetSubscriptionAttributes"]
)
def test_rights_that_no_run_needs_warn_by_their_name(between: Proxy, operation: str) -> None:
    between.refuse(operation, "AuthorizationError")
    checks = found(topics.examinations(Aws())[:1])
    (warning,) = [e for each in checks.values() for e in each if e.verdict != "pass"]
    assert warning.verdict == "warn"
    assert warning.found.startswith(f"The role may not call sns:{operation}: add it")


def _wired(identity: str, **wired: str) -> str:
    value = "".join(f"<{kind}Topic>{arn}</{kind}Topic>" for kind, arn in wired.items())
    return (
        f"<NotificationAttributes><entry><key>{identity}</key><value>{value}"
        "<ForwardingEnabled>true</ForwardingEnabled></value></entry></NotificationAttributes>"
    )


def test_identities_that_publish_to_our_topics_pass(
    environment: dict[str, str], between: Proxy
) -> None:
    wired = {
        kind: environment[f"SNS_{kind.upper()}_ARN"] for kind in ("Bounce", "Complaint", "Delivery")
    }
    between.say("GetIdentityNotificationAttributes", _wired("example.com", **wired))
    finding = _ses("notifications")
    assert finding.verdict == "pass"
    assert finding.found == "By identities: Bounce, Complaint, Delivery."


def test_kinds_that_go_to_no_topic_of_ours_warn(
    environment: dict[str, str], between: Proxy
) -> None:
    between.say(
        "GetIdentityNotificationAttributes",
        _wired("example.com", Bounce=environment["SNS_BOUNCE_ARN"], Complaint="arn:another"),
    )
    passing, warning = found(ses.examinations(Aws()))["notifications"]
    assert (passing.verdict, warning.verdict) == ("pass", "warn")
    assert "publishes Complaint, Delivery to our topics" in warning.found


def test_a_configuration_set_may_publish_too_while_it_is_enabled(
    environment: dict[str, str], between: Proxy
) -> None:
    between.say("GetIdentityNotificationAttributes", _wired("example.com"))
    client = boto3.client("sesv2", region_name=environment["AWS_REGION"])
    name = environment["SQS_QUEUE_URL"].rpartition("/")[2]
    client.create_configuration_set(ConfigurationSetName=name)
    destination = {
        "MatchingEventTypes": ["BOUNCE", "COMPLAINT", "DELIVERY", "DELIVERY_DELAY"],
        "SnsDestination": {"TopicArn": environment["SNS_BOUNCE_ARN"]},
    }
    between.say_json("ListConfigurationSets", {"ConfigurationSets": [name]})
    for enabled, verdict in ((True, "pass"), (False, "warn")):
        between.say_json(
            "GetConfigurationSetEventDestinations",
            {"EventDestinations": [{"Name": "sns", "Enabled": enabled, **destination}]},
        )
        assert _ses("notifications").verdict == verdict


def test_rights_of_ses_warn_by_their_name(between: Proxy) -> None:
    for operation, check in {
        "GetAccount": "account",
        "GetIdentityNotificationAttributes": "notifications",
        "ListIdentities": "identities",
    }.items():
        between.answers.clear()
        between.refuse(operation, "AccessDeniedException")
        findings = found(ses.examinations(Aws()))[check]
        assert [each.verdict for each in findings] == ["warn"]
        assert f"ses:{operation}" in findings[0].found


@pytest.mark.parametrize(
    ("said", "check", "verdict"),
    [
        ({"ProductionAccessEnabled": False, "SendingEnabled": True}, "sandbox", "warn"),
        ({"ProductionAccessEnabled": True, "SendingEnabled": True}, "sandbox", "pass"),
        ({"ProductionAccessEnabled": True, "SendingEnabled": True}, "sending", "pass"),
        ({"ProductionAccessEnabled": True, "SendingEnabled": False}, "sending", "warn"),
        ({"SendingEnabled": True, "EnforcementStatus": "PROBATION"}, "sending", "warn"),
    ],
)
def test_the_account_is_judged(
    between: Proxy, said: dict[str, object], check: str, verdict: str
) -> None:
    between.say_json("GetAccount", said)
    assert _ses(check).verdict == verdict


def test_an_identity_that_is_a_mail_address_is_masked_and_one_not_verified_warns(
    between: Proxy,
) -> None:
    between.say(
        "ListIdentities",
        "<Identities><member>jane.doe@example.com</member><member>example.org</member>"
        "</Identities>",
    )
    between.say(
        "GetIdentityVerificationAttributes",
        "<VerificationAttributes><entry><key>jane.doe@example.com</key><value>"
        "<VerificationStatus>Pending</VerificationStatus></value></entry><entry><key>example.org"
        "</key><value><VerificationStatus>Success</VerificationStatus></value></entry>"
        "</VerificationAttributes>",
    )
    warning, passing = found(ses.examinations(Aws()))["identities"]
    assert (warning.verdict, warning.found) == ("warn", "Not verified: j***@example.com.")
    assert (passing.verdict, passing.found) == ("pass", "Verified: example.org.")
    between.say("ListIdentities", "<Identities></Identities>")
    assert _ses("identities").verdict == "warn"
