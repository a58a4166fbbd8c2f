"""What the doctor says of signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest

from dpp_feedback.doctor import settings, topics
from dpp_feedback.doctor.aws import Aws
from dpp_feedback_tests.doctor.looking import only
from dpp_feedback_tests.sns.authority import TOPIC

if TYPE_CHECKING:
    from dpp_feedback_tests.sns.conftest import Served

CHECK = "signatures"


@pytest.fixture
def _production(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "SNS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SNS_BOUNCE_ARN", TOPIC)


@pytest.mark.usefixtures("_production")
def test_certificates_that_can_be_had_pass(sns_host: Served) -> None:
    assert only(settings.examinations(), CHECK).verdict == "pass"
    assert sns_host.heard == ["/"]


@pytest.mark.usefixtures("_production", "nowhere")
def test_certificates_that_cannot_be_had_fail() -> None:
    finding = only(settings.examinations(), CHECK)
    assert finding.verdict == "fail"
    assert "port 443" in finding.found


@pytest.mark.usefixtures("_production")
def test_signatures_that_nobody_verifies_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNS_VERIFY", "false")
    assert only(settings.examinations(), CHECK).verdict == "warn"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert only(settings.examinations(), CHECK).verdict == "pass"


@pytest.mark.usefixtures("_production")
def test_signatures_without_a_topic_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SNS_BOUNCE_ARN", "SNS_COMPLAINT_ARN", "SNS_DELIVERY_ARN"):
        monkeypatch.delenv(name, raising=False)
    assert only(settings.examinations(), CHECK).verdict == "fail"


def test_raw_delivery_fails_where_signatures_are_verified(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNS_VERIFY", "true")
    sns = boto3.client("sns", region_name=environment["AWS_REGION"])
    arn = environment["SNS_BOUNCE_ARN"]
    (said,) = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    sns.set_subscription_attributes(
        SubscriptionArn=said["SubscriptionArn"],
        AttributeName="RawMessageDelivery",
        AttributeValue="true",
    )
    finding = only(topics.examinations(Aws())[:1], "bounce subscription")
    assert finding.verdict == "fail"
    assert "every message is refused" in finding.found
