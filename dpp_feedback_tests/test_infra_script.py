"""scripts/phase3_ses_feedback_infra.sh, with the real AWS CLI, against the stand-in.

What the stand-in lacks, aws_front.py answers. Each run takes dozens of calls, half a second each,
so that a test tells a whole story.
"""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest

from dpp_feedback.feedback.events import FeedbackEvent
from dpp_feedback.feedback.parser import parse
from dpp_feedback_tests.aws_front import Front, front
from dpp_feedback_tests.aws_script import BIN, SCRIPTS, Script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpp_feedback.local.stack import Stack

NAME = "phase3_ses_feedback_infra.sh"
ACCOUNT = "000000000000"
ALL_KINDS = {
    *("SEND", "REJECT", "BOUNCE", "COMPLAINT", "DELIVERY", "OPEN", "CLICK"),
    *("RENDERING_FAILURE", "DELIVERY_DELAY", "SUBSCRIPTION"),
}
SENDS = f"arn:aws:ses:ap-northeast-2:{ACCOUNT}"


class Account:
    """The stand-in's account, and names of the test's own in it."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.own = uuid4().hex
        self.identity = f"{self.own}.example"
        self.kinds = ("bounce", "complaint", "delivery")
        self.names = {
            "QUEUE_NAME": f"queue-{self.own}",
            "DLQ_NAME": f"dlq-{self.own}",
            **{f"{kind.upper()}_TOPIC_NAME": f"{kind}-{self.own}" for kind in self.kinds},
        }
        key_id, secret = settings["AWS_ACCESS_KEY_ID"], settings["AWS_SECRET_ACCESS_KEY"]
        self._session = boto3.Session(key_id, secret, region_name=settings["AWS_REGION"])
        self._endpoint = settings["AWS_ENDPOINT_URL"]
        self.sqs = self.client("sqs")
        self.sns = self.client("sns")
        self.ses = self.client("ses")
        self.sesv2 = self.client("sesv2")
        self.ses.verify_domain_identity(Domain=self.identity)
        self.sesv2.create_configuration_set(ConfigurationSetName=self.own)

    def client(self, service: str) -> Any:
        return self._session.client(service, endpoint_url=self._endpoint)  # type: ignore[call-overload]

    def topic(self, kind: str) -> str:
        return f"arn:aws:sns:ap-northeast-2:{ACCOUNT}:{kind}-{self.own}"

    def arn(self, queue: str) -> str:
        return f"arn:aws:sqs:ap-northeast-2:{ACCOUNT}:{queue}-{self.own}"

    def attributes(self, queue: str) -> dict[str, str]:
        url = self.sqs.get_queue_url(QueueName=f"{queue}-{self.own}")["QueueUrl"]
        said = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return dict(said)

    def signature_version(self, kind: str) -> str:
        said = self.sns.get_topic_attributes(TopicArn=self.topic(kind))["Attributes"]
        return str(said["SignatureVersion"])

    def policy(self, kind: str) -> dict[str, Any]:
        said = self.sns.get_topic_attributes(TopicArn=self.topic(kind))["Attributes"]["Policy"]
        return dict(json.loads(said))

    def subscription(self, kind: str) -> dict[str, str]:
        (found,) = self.sns.list_subscriptions_by_topic(TopicArn=self.topic(kind))["Subscriptions"]
        arn = found["SubscriptionArn"]
        return dict(self.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"])

    def destinations(self) -> dict[str, dict[str, Any]]:
        said = self.sesv2.get_configuration_set_event_destinations(ConfigurationSetName=self.own)
        return {found["Name"]: found for found in said.get("EventDestinations", [])}

    def leftovers(self) -> list[str]:
        """Everything with this test's name."""
        # Other tests have made some too, more than fit on a page.
        topics = [
            topic["TopicArn"]
            for page in self.sns.get_paginator("list_topics").paginate()
            for topic in page["Topics"]
        ]
        subscribed = [
            subscription["TopicArn"]
            for page in self.sns.get_paginator("list_subscriptions").paginate()
            for subscription in page["Subscriptions"]
        ]
        queues = [
            url
            for prefix in ("queue", "dlq")
            for url in self.sqs.list_queues(QueueNamePrefix=f"{prefix}-{self.own}").get(
                "QueueUrls", []
            )
        ]
        found = [name for name in topics + subscribed if self.own in name]
        return found + queues + list(self.destinations())


@pytest.fixture
def stand_in(stack: Stack) -> dict[str, str]:
    return stack.settings()


@pytest.fixture
def account(stand_in: dict[str, str]) -> Account:
    return Account(stand_in)


@pytest.fixture
def aws(stand_in: dict[str, str]) -> Iterator[Front]:
    with front(stand_in["AWS_ENDPOINT_URL"]) as state:
        yield state


@pytest.fixture
def script(stand_in: dict[str, str], account: Account, aws: Front, tmp_path: Path) -> Script:
    login = {name: stand_in[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    region = {"AWS_REGION": "ap-northeast-2", "AWS_ENDPOINT_URL": aws.url, "ENV_FILE": "-"}
    return Script(NAME, login | region | account.names, tmp_path)


def test_shellcheck_finds_nothing() -> None:
    scripts = sorted(map(str, SCRIPTS.glob("*.sh")))
    ended = subprocess.run(
        [str(BIN / "shellcheck"), *scripts], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout


def test_it_wires_what_a_mail_travels_through_twice_changes_nothing_and_delete_leaves_nothing(
    script: Script, account: Account, aws: Front, tmp_path: Path
) -> None:
    env_file = tmp_path / "ses-feedback.env"
    script.settings |= {
        "IDENTITY": account.identity,
        "CONFIGURATION_SET": account.own,
        "ENV_FILE": str(env_file),
        "EXPECTED_ACCOUNT": ACCOUNT,
    }
    rehearsed = script.works("--dry-run")
    assert rehearsed.stdout == ""
    assert script.changes() == account.leftovers() == []
    assert aws.topics == {}
    assert not env_file.exists()
    would = rehearsed.stderr.splitlines()
    assert all(line.startswith("would run: aws ") for line in would)

    first = script.works()
    assert len(script.changes()) == len(would)  # the rehearsal told each of them
    lines = dict(line.split("=", 1) for line in first.stdout.splitlines())
    assert {name: value for name, value in lines.items() if "URL" not in name} == {
        "SNS_BOUNCE_ARN": account.topic("bounce"),
        "SNS_COMPLAINT_ARN": account.topic("complaint"),
        "SNS_DELIVERY_ARN": account.topic("delivery"),
        "AWS_REGION": "ap-northeast-2",
    }
    assert len(first.stdout.splitlines()) == len(lines) == 6
    assert env_file.read_text() == first.stdout
    _assert_wired(account)
    assert aws.topics == {
        (account.identity, kind.capitalize()): account.topic(kind) for kind in account.kinds
    }
    destinations = account.destinations()
    assert {name: found["SnsDestination"]["TopicArn"] for name, found in destinations.items()} == {
        f"{kind}-{account.own}": account.topic(kind) for kind in account.kinds
    }
    kinds = [kind for found in destinations.values() for kind in found["MatchingEventTypes"]]
    assert sorted(kinds) == sorted(ALL_KINDS)
    assert destinations[f"bounce-{account.own}"]["MatchingEventTypes"] == ["BOUNCE"]

    second = script.works()
    assert script.changes() == []
    assert {line.rpartition(": ")[2] for line in second.stderr.splitlines()} == {"unchanged"}
    assert second.stdout == first.stdout

    account.ses.send_email(
        Source=f"news@{account.identity}",
        Destination={"ToAddresses": ["bounce@simulator.amazonses.com"]},
        Message={"Subject": {"Data": "x"}, "Body": {"Text": {"Data": "x"}}},
    )
    (message,) = account.sqs.receive_message(
        QueueUrl=lines["SQS_QUEUE_URL"], MaxNumberOfMessages=10, WaitTimeSeconds=10
    )["Messages"]
    (event,) = parse(message["Body"], datetime.now(UTC))  # type: ignore[misc]
    assert isinstance(event, FeedbackEvent)
    assert event.notification_type == "Bounce"
    assert json.loads(message["Body"])["TopicArn"] == account.topic("bounce")
    account.sns.publish(TopicArn=account.topic("delivery"), Message="still waiting")

    refused = script.complains("--delete", answer="y\n")
    assert refused == "Nothing deleted."
    assert script.changes() == []
    deleted = script.works("--delete", "--yes")
    assert deleted.stdout == ""
    assert account.leftovers() == []
    assert set(aws.topics.values()) == {""}
    again = script.works("--delete", "--yes")
    assert again.stderr.splitlines()[-1] == "Nothing to delete."
    assert script.changes() == []


def _assert_wired(account: Account) -> None:
    assert {account.signature_version(kind) for kind in account.kinds} == {"2"}
    queue, dlq = account.attributes("queue"), account.attributes("dlq")
    for attributes in (queue, dlq):
        assert attributes["MessageRetentionPeriod"] == str(14 * 24 * 60 * 60)
        assert attributes["SqsManagedSseEnabled"] == "true"
    assert queue["VisibilityTimeout"] == "300"
    assert json.loads(queue["RedrivePolicy"]) == {
        "deadLetterTargetArn": account.arn("dlq"),
        "maxReceiveCount": 5,
    }
    assert json.loads(dlq["RedriveAllowPolicy"]) == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [account.arn("queue")],
    }
    sending, tls = json.loads(queue["Policy"])["Statement"]
    assert sending == {
        "Sid": "OnlyTheFeedbackTopicsSend",
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": account.arn("queue"),
        "Condition": {"ArnEquals": {"aws:SourceArn": [account.topic(k) for k in account.kinds]}},
    }
    (dlq_tls,) = json.loads(dlq["Policy"])["Statement"]
    for statement, name in ((tls, "queue"), (dlq_tls, "dlq")):
        assert statement == {
            "Sid": "OverTlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": account.arn(name),
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    for kind in account.kinds:
        (statement,) = account.policy(kind)["Statement"]
        assert statement == {
            "Sid": "SesOfThisAccountPublishes",
            "Effect": "Allow",
            "Principal": {"Service": "ses.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": account.topic(kind),
            "Condition": {
                "StringEquals": {"AWS:SourceAccount": ACCOUNT},
                "ArnLike": {
                    "AWS:SourceArn": [f"{SENDS}:identity/*", f"{SENDS}:configuration-set/*"]
                },
            },
        }
        assert account.subscription(kind)["RawMessageDelivery"] == "false"
        assert account.subscription(kind)["Endpoint"] == account.arn("queue")


def test_after_a_refusal_it_goes_on_from_there_and_mends_what_others_have_changed(
    script: Script, account: Account, aws: Front
) -> None:
    aws.refused["CreateTopic"] = "AuthorizationError"
    aws.sandbox = True
    ended = script()
    assert ended.returncode == 1
    assert "Warning: SES is in the sandbox in ap-northeast-2" in ended.stderr
    assert ended.stderr.splitlines()[-1] == (
        f"{NAME}: This login may not call sns create-topic: ask for the right, then run this again."
    )
    aws.refused.clear()
    aws.sandbox = False
    ended = script.works()
    said = ended.stderr.splitlines()
    assert said[:2] == [f"dlq-{account.own}: unchanged", f"queue-{account.own}: unchanged"]
    assert all(line.endswith(": created") for line in said[2:])
    _assert_wired(account)

    url = account.sqs.get_queue_url(QueueName=f"queue-{account.own}")["QueueUrl"]
    account.sqs.set_queue_attributes(
        QueueUrl=url, Attributes={"VisibilityTimeout": "30", "Policy": ""}
    )
    public = json.dumps({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sns:*"}]})
    for name, value in (("Policy", public), ("SignatureVersion", "1")):
        account.sns.set_topic_attributes(
            TopicArn=account.topic("bounce"), AttributeName=name, AttributeValue=value
        )
    raw = account.subscription("complaint")["SubscriptionArn"]
    for name, value in (("RawMessageDelivery", "true"), ("FilterPolicy", '{"kind": ["x"]}')):
        account.sns.set_subscription_attributes(
            SubscriptionArn=raw, AttributeName=name, AttributeValue=value
        )
    account.sns.subscribe(
        TopicArn=account.topic("bounce"), Protocol="email", Endpoint="a@b.example"
    )
    aws.doubled.add(account.topic("delivery"))
    aws.headers.add((account.identity, "Bounce"))
    ended = script.works(IDENTITY=account.identity)
    said = [line for line in ended.stderr.splitlines() if not line.endswith("unchanged")]
    own = account.own
    assert said == [
        f"queue-{own}: changed",
        f"bounce-{own}: changed",
        f"bounce-{own}: somebody else hears it as well, by email",
        f"complaint-{own} to queue-{own}: raw delivery switched off",
        f"complaint-{own} to queue-{own}: filter policy taken away",
        f"delivery-{own} to queue-{own}: subscribed twice, one taken away",
        "notifications of IDENTITY: changed",
    ]
    assert not aws.doubled
    assert not aws.headers


def test_what_somebody_else_made_is_refused_and_taken_over_only_when_asked(
    script: Script, account: Account, aws: Front
) -> None:
    account.sqs.create_queue(
        QueueName=f"queue-{account.own}", Attributes={"KmsMasterKeyId": "alias/ours"}
    )
    assert script.complains() == (
        f"There is a queue queue-{account.own} that this script did not make: choose another "
        "QUEUE_NAME, or take it over with --adopt."
    )
    ended = script("--adopt")
    assert ended.returncode == 1
    assert f"queue-{account.own} is encrypted with a KMS key" in ended.stderr
    script.works("--delete", "--yes")  # the dead-letter queue, which was made before
    assert len(account.leftovers()) == 1  # that queue
    account.sqs.delete_queue(
        QueueUrl=account.sqs.get_queue_url(QueueName=f"queue-{account.own}")["QueueUrl"]
    )

    account.sns.create_topic(Name=f"bounce-{account.own}")
    assert "choose another BOUNCE_TOPIC_NAME" in script.complains()
    aws.topics[account.identity, "Complaint"] = account.topic("another")
    mine = {"IDENTITY": account.identity, "BOUNCE_TOPIC_NAME": f"new-{account.own}"}
    assert "IDENTITY sends its Complaint notifications to another topic" in script.complains(**mine)
    assert script.changes() == []

    settings = {"IDENTITY": account.identity, "CONFIGURATION_SET": account.own}
    script.works("--adopt", FEEDBACK_FORWARDING="off", TRACKING="off", **settings)
    _assert_wired(account)
    assert aws.topics[account.identity, "Complaint"] == account.topic("complaint")
    assert aws.no_forwarding == {account.identity}
    destinations = account.destinations().values()
    kinds = {kind for found in destinations for kind in found["MatchingEventTypes"]}
    assert kinds == ALL_KINDS - {"OPEN", "CLICK"}
    script.works("--delete", "--yes", **settings)
    assert account.leftovers() == []
    assert aws.no_forwarding == set()  # SES takes the topics away only then


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"EXPECTED_ACCOUNT": "123456789012"}, f"This login is of account {ACCOUNT}, and EXPECTED"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "AWS does not answer in ap-northeast-2"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "No AWS credentials"),
        ({"TRACKING": "some"}, "TRACKING is some, neither on nor off"),
        ({"FEEDBACK_FORWARDING": "off"}, "FEEDBACK_FORWARDING is set, and IDENTITY is not"),
        ({"ENV_FILE": "/nowhere/x.env"}, "ENV_FILE is in a folder that does not exist"),
        ({"CONFIGURATION_SET": "nobody"}, "CONFIGURATION_SET names none of SES's"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_made(
    script: Script, account: Account, settings: dict[str, str | None], said: str
) -> None:
    assert script.complains(**settings).startswith(said)
    assert script.changes() == []
    assert account.leftovers() == []


def test_an_identity_that_is_not_verified_and_an_expired_login_stop_it(
    script: Script, account: Account, aws: Front
) -> None:
    aws.unverified.add(account.identity)
    assert script.complains(IDENTITY=account.identity).startswith(
        "IDENTITY is not verified in SES in ap-northeast-2 (status: Pending): verify it"
    )
    aws.refused["GetCallerIdentity"] = "ExpiredToken"
    assert script.complains() == "AWS does not accept the credentials: log in again."
    aws.refused = {"GetQueueUrl": "AccessDeniedException"}
    assert script.complains().startswith("This login may not call sqs get-queue-url")
    assert account.leftovers() == []


def test_an_unknown_option_is_refused_and_help_names_every_setting(script: Script) -> None:
    assert script.complains("--dlete") == "--dlete is no option; see --help."
    said = script.works("--help").stdout
    text = (SCRIPTS / NAME).read_text() + (SCRIPTS / "lib.sh").read_text()
    for name in (*script.settings, "IDENTITY", "CONFIGURATION_SET", "TRACKING"):
        if f"{{{name}:-" in text:
            assert name in said


def test_without_the_aws_cli_it_says_so(script: Script, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert script.complains(PATH=str(empty)).startswith("The AWS CLI is not installed")
