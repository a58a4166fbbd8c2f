"""The channels: SNS and SES of the stand-in, and a real HTTP server in Slack's place."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests

from dpp_feedback.alerting.alert import Alert, Notice, Occasion, Severity
from dpp_feedback.notify import Channels, NobodyTold
from dpp_feedback_tests.webhook import SECRET, Webhook, webhook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_sqs import SQSClient

AT = datetime(2026, 2, 20, 12, tzinfo=UTC)
REGION = "ap-northeast-2"


def _notice(cause: str = "3 messages in the dead-letter queue.") -> Notice:
    alert = Alert("dlq_has_messages", Severity.CRITICAL, cause, "3 messages", "Look into it.")
    return Notice(Occasion.BEGINS, alert, AT, AT)


@pytest.fixture
def slack() -> Iterator[Webhook]:
    with webhook() as hook:
        yield hook


@pytest.fixture
def topic(environment: dict[str, str], sqs: SQSClient) -> str:
    """A topic whose messages come into the test's queue."""
    sns = boto3.client("sns", region_name=environment["AWS_REGION"])
    name = environment["SQS_QUEUE_URL"].rpartition("/")[2]
    arn = sns.create_topic(Name=f"alerts-{name}")["TopicArn"]
    queue_arn = sqs.get_queue_attributes(
        QueueUrl=environment["SQS_QUEUE_URL"], AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
    return arn


@pytest.fixture
def sender(environment: dict[str, str]) -> str:
    """An address of the test's own from which the stand-in's SES sends."""
    own = environment["SQS_QUEUE_URL"].rpartition("queue-")[2]
    return f"alerts@{own}.example"


def _published(sqs: SQSClient, environment: dict[str, str], topic: str) -> list[dict[str, Any]]:
    """What the topic has sent; SES's own notifications about the test's mails aside."""
    said = sqs.receive_message(
        QueueUrl=environment["SQS_QUEUE_URL"], MaxNumberOfMessages=10, WaitTimeSeconds=1
    )
    bodies = [json.loads(message["Body"]) for message in said.get("Messages", [])]
    return [body for body in bodies if body["TopicArn"] == topic]


def _mails(environment: dict[str, str], to: str) -> list[dict[str, Any]]:
    said = requests.get(f"{environment['AWS_ENDPOINT_URL']}/_ministack/ses/messages", timeout=10)
    mails = [mail for account in said.json()["messages"].values() for mail in account]
    return [mail for mail in mails if to in json.dumps(mail)]


def test_channels_know_whether_there_is_one() -> None:
    assert not Channels(region=REGION).any
    assert not Channels(region=REGION, mail_from="a@example.com").any
    assert Channels(region=REGION, mail_from="a@example.com", mail_to="b@example.com").any
    assert Channels(region=REGION, topic_arn="arn").any
    assert Channels(region=REGION, slack_webhook_url="https://example.com").any


def test_the_representation_of_channels_holds_neither_the_webhook_nor_an_address() -> None:
    channels = Channels(
        region=REGION, slack_webhook_url=SECRET, mail_from="a@example.com", mail_to="b@example.com"
    )
    assert repr(channels) == "Channels(region='ap-northeast-2', topic_arn=None)"


def test_an_alert_goes_through_all_channels(
    environment: dict[str, str], sqs: SQSClient, topic: str, sender: str, slack: Webhook
) -> None:
    to = f"one-{sender}"
    channels = Channels(
        region=REGION,
        topic_arn=topic,
        slack_webhook_url=slack.url,
        mail_from=f"Feedback <{sender}>",
        mail_to=f"{to}, Ops <ops@example.com>",
    )
    sent = channels.send_alert(_notice())
    assert sent.by == ("SNS", "Slack", "mail")
    assert sent.failed == {}
    (message,) = _published(sqs, environment, topic)
    assert message["Subject"] == "Critical: 3 messages in the dead-letter queue."
    assert message["Message"] == _notice().text
    assert slack.texts == [_notice().text]
    assert "docs/runbook.md#dlq_has_messages" in _notice().text
    (mail,) = _mails(environment, to)
    assert mail["Subject"] == "[SES feedback] Critical: 3 messages in the dead-letter queue."
    assert mail["BodyText"].strip().splitlines() == _notice().text.splitlines()


def test_slack_never_takes_a_part_of_the_text_for_markup(slack: Webhook) -> None:
    Channels(region=REGION, slack_webhook_url=slack.url).send_alert(_notice("a < b && <!channel>"))
    assert "a &lt; b &amp;&amp; &lt;!channel&gt;" in slack.texts[0]


def test_a_long_text_is_cut_before_it_is_too_long_for_slack(slack: Webhook) -> None:
    channels = Channels(region=REGION, slack_webhook_url=slack.url)
    channels.send_report("x" * 5_000, EmailMessage(), "")
    assert slack.texts == ["x" * 3_500]


def test_a_subject_of_sns_is_short_ascii_in_one_line(
    environment: dict[str, str], sqs: SQSClient, topic: str
) -> None:
    Channels(region=REGION, topic_arn=topic).send_alert(_notice("Müller\r\n\x07→ " + "x" * 300))
    (message,) = _published(sqs, environment, topic)
    subject = message["Subject"]
    assert subject.startswith("Critical: Muller xxx")
    assert subject.isascii()
    assert subject.isprintable()
    assert len(subject) < 100


def test_a_line_break_begins_no_header_of_a_mail(environment: dict[str, str], sender: str) -> None:
    to = f"breaks-{sender}"
    channels = Channels(region=REGION, mail_from=sender, mail_to=f"{to}\r\n")
    channels.send_alert(_notice("Fine\r\nBcc: y@example.org"))
    (mail,) = _mails(environment, to)
    assert mail["Subject"] == "[SES feedback] Critical: Fine Bcc: y@example.org"
    assert mail["BCC"] == []


@pytest.mark.usefixtures("environment")
def test_a_sender_that_ses_does_not_know_is_a_sentence_without_addresses() -> None:
    channels = Channels(region=REGION, mail_from="a@example.com", mail_to="b@example.com")
    with pytest.raises(NobodyTold) as raised:
        channels.send_alert(_notice())
    assert "SES refused SendRawEmail: MessageRejected" in str(raised.value)
    assert "Check SES_FEEDBACK_MAIL_FROM." in str(raised.value)
    assert "@" not in str(raised.value)


@pytest.mark.usefixtures("environment")
def test_one_dead_channel_does_not_hide_another(slack: Webhook) -> None:
    missing = f"arn:aws:sns:{REGION}:000000000000:nobody"
    channels = Channels(region=REGION, topic_arn=missing, slack_webhook_url=slack.url)
    sent = channels.send_alert(_notice())
    assert sent.by == ("Slack",)
    assert sent.failed["SNS"].startswith("SNS refused Publish on arn:aws:sns:")
    assert "SES_FEEDBACK_ALERT_TOPIC_ARN" in sent.failed["SNS"]
    assert len(slack.texts) == 1


def test_what_may_pass_is_tried_again(slack: Webhook) -> None:
    slack.answers = [(503, "upstream")]
    sent = Channels(region=REGION, slack_webhook_url=slack.url).send_alert(_notice())
    assert sent.by == ("Slack",)
    assert slack.refused == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, "no_service"), "Slack refused (404, no_service)"),
        ((403, f"see http://example.com{SECRET}"), "Slack refused (403, no reason)"),
        ((302, ""), "Slack refused (302, no reason)"),
    ],
)
def test_what_slack_refuses_is_a_sentence_and_is_not_tried_again(
    slack: Webhook, answer: tuple[int, str], said: str
) -> None:
    slack.answers = [answer]
    channels = Channels(region=REGION, slack_webhook_url=slack.url)
    with pytest.raises(NobodyTold) as raised:
        channels.send_alert(_notice())
    assert said in str(raised.value)
    assert SECRET not in str(raised.value)
    assert slack.refused == 1
    assert slack.texts == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://127.0.0.1:1{SECRET}", "Slack does not answer (ConnectionError)"),
        (f"hooks.slack.com{SECRET}", "SES_FEEDBACK_SLACK_WEBHOOK_URL is no address"),
        (f"http://[{SECRET}", "SES_FEEDBACK_SLACK_WEBHOOK_URL is no address"),
    ],
)
def test_an_error_never_holds_the_address_of_the_webhook(url: str, said: str) -> None:
    with pytest.raises(NobodyTold) as raised:
        Channels(region=REGION, slack_webhook_url=url).send_alert(_notice())
    assert said in str(raised.value)
    error: BaseException | None = raised.value
    while error:
        assert "very-secret" not in str(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("arn", ["topic", "arn:aws:sqs:ap-northeast-2:000000000000:queue"])
def test_what_is_no_topic_is_said_so(arn: str) -> None:
    with pytest.raises(NobodyTold, match="SES_FEEDBACK_ALERT_TOPIC_ARN is no ARN of a topic"):
        Channels(region=REGION, topic_arn=arn).send_alert(_notice())


def test_without_a_channel_the_settings_are_named() -> None:
    with pytest.raises(NobodyTold, match="SES_FEEDBACK_ALERT_TOPIC_ARN, SES_FEEDBACK_SLACK"):
        Channels(region=REGION).send_alert(_notice())


def test_when_all_channels_fail_each_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    channels = Channels(
        region=REGION,
        topic_arn=f"arn:aws:sns:{REGION}:000000000000:alerts",
        slack_webhook_url=f"http://127.0.0.1:1{SECRET}",
        mail_from="alerts@example.com",
        mail_to="ops@example.com",
    )
    with pytest.raises(NobodyTold) as raised:
        channels.send_alert(_notice())
    said = str(raised.value)
    assert "SNS: SNS does not answer" in said
    assert "Slack: Slack does not answer" in said
    assert "mail: SES does not answer" in said
    assert "example.com" not in said


def test_a_report_goes_whole_by_mail_and_as_a_link_elsewhere(
    environment: dict[str, str], sqs: SQSClient, topic: str, sender: str, slack: Webhook
) -> None:
    to = f"report-{sender}"
    message = EmailMessage()
    message["Subject"] = "Bounces 1.8 %"
    message.set_content("plain")
    message.add_alternative("<p>rich</p>", subtype="html")
    sent = Channels(
        region=REGION,
        topic_arn=topic,
        slack_webhook_url=slack.url,
        mail_from=sender,
        mail_to=to,
    ).send_report("Bounces 1.8 % of 41,230.", message, "s3://reports/1.html")
    assert sent.by == ("SNS", "Slack", "mail")
    assert slack.texts == ["Bounces 1.8 % of 41,230.\ns3://reports/1.html"]
    (published,) = _published(sqs, environment, topic)
    assert published["Subject"] == "Bounces 1.8 % of 41,230."
    assert published["Message"] == "Bounces 1.8 % of 41,230.\ns3://reports/1.html"
    (mail,) = _mails(environment, to)
    assert mail["Subject"] == "Bounces 1.8 %"
    assert "rich" in mail["BodyHtml"]
    assert message["To"] is None  # the given message is not touched
