"""SES's own bookkeeping: over ministack where it has the call, else over a server on loopback.

The suppression list is kept by ses_list.py, which says why.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from dpp_feedback.aws_errors import AwsRefused, AwsUnavailable
from dpp_feedback.feedback.reconciliation import SentDay
from dpp_feedback.ses import AddressRefused, Ses
from dpp_feedback_tests.ses_list import SesList, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "ap-northeast-2"


@pytest.fixture
def ses_list(monkeypatch: pytest.MonkeyPatch) -> Iterator[SesList]:
    for name, value in {"ACCESS_KEY_ID": "local", "SECRET_ACCESS_KEY": "local"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with serving(SesList()) as listed:
        monkeypatch.setenv("AWS_ENDPOINT_URL", listed.url)
        yield listed


def test_the_send_statistics_are_summed_up_by_day(environment: dict[str, str]) -> None:
    before = Ses.connect(REGION).send_statistics()
    client = boto3.client("ses", region_name=environment["AWS_REGION"])
    client.verify_email_identity(EmailAddress="news@example.com")
    for address in ("bounce", "bounce", "complaint", "success"):
        client.send_email(
            Source="news@example.com",
            Destination={"ToAddresses": [f"{address}@simulator.amazonses.com"]},
            Message={"Subject": {"Data": "x"}, "Body": {"Text": {"Data": "x"}}},
        )
    after = Ses.connect(REGION).send_statistics()
    attempts = sum(d.attempts for d in after.values()) - sum(d.attempts for d in before.values())
    assert attempts == 4
    assert max(after) in {datetime.now(UTC).date(), datetime.now(UTC).date() - timedelta(days=1)}
    hour, now = timedelta(hours=1), datetime.now(UTC)
    assert Ses.connect(REGION).attempts(now - hour, now + hour) >= 4
    assert Ses.connect(REGION).attempts(now + hour, now + 2 * hour) == 0


@pytest.mark.usefixtures("environment")
def test_the_send_statistics_are_asked_for_once() -> None:
    calls: list[str] = []
    session = boto3.Session()
    session.events.register("before-send.ses.GetSendStatistics", lambda **_: calls.append("call"))
    ses, now = Ses(session, REGION), datetime.now(UTC)
    ses.send_statistics()
    ses.attempts(now - timedelta(hours=1), now)
    ses.send_statistics()
    assert calls == ["call"]


def test_metrics_are_read_from_cloudwatch_by_day_for_days_that_have_any(
    environment: dict[str, str],
) -> None:
    cloudwatch: Any = boto3.client("cloudwatch", region_name=environment["AWS_REGION"])
    last = datetime.now(UTC).date() - timedelta(days=3)
    first = last - timedelta(days=4)
    day = datetime.combine(last, time(), UTC)
    points = [("Send", 1, 400), ("Send", 13, 600), ("Bounce", 3, 7), ("Complaint", 5, 2)]
    cloudwatch.put_metric_data(
        Namespace="AWS/SES",
        MetricData=[
            {"MetricName": name, "Timestamp": day + timedelta(hours=hour), "Value": value}
            for name, hour, value in points
        ],
    )
    found = Ses.connect(REGION).metrics(first, last)
    assert found == {last: SentDay(attempts=1000, bounces=7, complaints=2)}
    assert Ses.connect(REGION).metrics(first, last - timedelta(days=1)) == {}


@pytest.mark.usefixtures("environment")
def test_the_stand_in_has_an_empty_list() -> None:
    assert Ses.connect(REGION).suppressed() == {}


def test_every_page_of_the_list_is_read_in_lower_case(ses_list: SesList) -> None:
    ses_list.addresses = {f"Person{i}@Example.org": "BOUNCE" for i in range(2500)}
    ses_list.addresses["angry@example.org"] = "COMPLAINT"
    listed = Ses.connect(REGION).suppressed()
    assert len(listed) == 2501
    assert listed["person0@example.org"] == listed["person2499@example.org"] == "BOUNCE"
    assert listed["angry@example.org"] == "COMPLAINT"
    assert len(ses_list.calls) == 3


def test_an_address_is_put_on_the_list(ses_list: SesList) -> None:
    Ses.connect(REGION).suppress("o'neil+a/b?c@example.org", "BOUNCE")
    assert ses_list.addresses == {"o'neil+a/b?c@example.org": "BOUNCE"}


def test_when_ses_asks_to_wait_the_call_is_made_again(ses_list: SesList) -> None:
    ses_list.refusals = [(429, "TooManyRequestsException")]
    ses_list.addresses = {"a@example.org": "BOUNCE"}
    assert Ses.connect(REGION).suppressed() == {"a@example.org": "BOUNCE"}


def test_an_endpoint_that_never_ends_its_list_is_given_up(ses_list: SesList) -> None:
    ses_list.addresses = {"a@example.org": "BOUNCE", "b@example.org": "BOUNCE"}
    ses_list.page = 0
    with pytest.raises(AwsUnavailable, match="the same page again and again"):
        Ses.connect(REGION).suppressed()


def _call(ses: Ses, name: str) -> None:
    match name:
        case "send_statistics":
            ses.send_statistics()
        case "metrics":
            ses.metrics(date(2026, 10, 1), date(2026, 10, 2))
        case "suppressed":
            ses.suppressed()
        case _:
            ses.suppress("secret@example.org", "BOUNCE")


CALLS = {
    "send_statistics": ("SES", "ses:GetSendStatistics"),
    "metrics": ("CloudWatch", "cloudwatch:GetMetricStatistics"),
    "suppressed": ("SES", "ses:ListSuppressedDestinations"),
    "suppress": ("SES", "ses:PutSuppressedDestination"),
}


@pytest.mark.parametrize("name", ["metrics", "suppressed", "suppress"])
def test_a_missing_right_is_named_as_the_policy_wants_it(ses_list: SesList, name: str) -> None:
    ses_list.refuse_all = (403, "AccessDeniedException")
    with pytest.raises(AwsRefused) as caught:
        _call(Ses.connect(REGION), name)
    action = CALLS[name][1]
    assert str(caught.value) == f"The role may not call {action}: add it to the role's policy."


@pytest.mark.parametrize("name", ["metrics", "suppressed"])
def test_an_endpoint_that_does_not_answer_is_a_fault_that_may_pass(
    ses_list: SesList, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert ses_list.url
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(AwsUnavailable) as caught:
        _call(Ses.connect(REGION), name)
    said = f"{CALLS[name][0]} does not answer (EndpointConnectionError): check AWS_REGION"
    assert str(caught.value).startswith(said)
    assert "secret" not in str(caught.value)


def test_an_address_that_ses_does_not_take_is_told_apart_and_not_named(ses_list: SesList) -> None:
    ses_list.refuse_all = (400, "BadRequestException")
    with pytest.raises(AddressRefused) as caught:
        Ses.connect(REGION).suppress("secret@example.org", "BOUNCE")
    assert str(caught.value).startswith("SES does not take an address for its suppression list")
    assert "secret" not in str(caught.value)


def test_what_ses_refuses_for_another_reason_is_said_with_its_code(ses_list: SesList) -> None:
    ses_list.refuse_all = (400, "BadRequestException")
    with pytest.raises(AwsRefused) as caught:
        Ses.connect(REGION).suppressed()
    assert str(caught.value) == (
        "SES refused ListSuppressedDestinations: BadRequestException. Check AWS_REGION."
    )


def test_a_setting_of_boto3_that_is_wrong_is_named(
    ses_list: SesList, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ses_list.url
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(AwsRefused, match=r"boto3 cannot call SES \(ProfileNotFound"):
        Ses.connect(REGION)
