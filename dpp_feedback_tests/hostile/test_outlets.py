"""A body that attacks each outlet, sent the whole way: terminal, Dagster, files, messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import pytest
import requests
from click.testing import CliRunner

from dpp_feedback.alerts import feedback_alerts
from dpp_feedback.cli import main
from dpp_feedback.definitions import build_definitions
from dpp_feedback.resources import AlertChannels, FeedbackQueue
from dpp_feedback_tests.hostile import attack
from dpp_feedback_tests.test_rollups_and_checks import SesOfTheTest
from dpp_feedback_tests.webhook import webhook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg
    from mypy_boto3_sqs import SQSClient

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
DELIVERIES, BOUNCES, COMPLAINTS = 500, 150, 40


class Elements(HTMLParser):
    """The elements of a page, and where it leads to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in {"href", "src", "srcset"}
        ]
        assert not [name for name, _ in attrs if name.startswith("on")]


@pytest.fixture
def folder(
    environment: dict[str, str],
    database: psycopg.Connection[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Settings of an account on which a few hundred mails count."""
    assert environment
    assert not database.closed  # it is migrated
    monkeypatch.setenv("SES_FEEDBACK_MIN_VOLUME", "100")
    monkeypatch.setenv("SES_FEEDBACK_REPORTS", str(tmp_path / "reports"))
    return tmp_path / "reports"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def send(sqs: SQSClient, url: str, bodies: list[str]) -> None:
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body)


def run(instance: dg.DagsterInstance, job: str, *days: object) -> dg.ExecuteInProcessResult:
    tags = {}
    if days:
        tags = dict.fromkeys(
            ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"),
            str(days[0]),
        )
    definitions = build_definitions({"ses": SesOfTheTest()})
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, tags=tags)


def assert_harmless(text: str, *, markup: bool = True) -> None:
    """Nothing steers a terminal, turns or hides text; with `markup`, nothing links or loads."""
    odd = {char for char in text if not char.isprintable() and char != "\n"}
    assert not odd, sorted(map(ascii, odd))
    if markup:
        for code in ("](http", "](//", "<img", "<script", "<!", "[link=", "[red]", "://evil"):
            assert code not in text, code


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.items():
            yield from strings(list(item))
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from strings(item)


def evaluated(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {one.check_name: one for one in result.get_asset_check_evaluations()}


def test_no_page_of_dagster_no_file_and_no_message_takes_a_name_for_code(
    instance: dg.DagsterInstance,
    environment: dict[str, str],
    sqs: SQSClient,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noon = datetime.combine(YESTERDAY, time(12), UTC)
    bodies = attack.records(noon, DELIVERIES, BOUNCES, COMPLAINTS)
    send(sqs, environment["SQS_QUEUE_URL"], [*bodies, *attack.rejected()])
    own = environment["SQS_QUEUE_URL"].rpartition("queue-")[2]
    to = f"ops@{own}.example"
    monkeypatch.setenv("SES_FEEDBACK_MAIL_FROM", f"alerts@{own}.example")
    monkeypatch.setenv("SES_FEEDBACK_MAIL_TO", to)
    with webhook() as slack:
        monkeypatch.setenv("SES_FEEDBACK_SLACK_WEBHOOK_URL", slack.url)
        drained = run(instance, "process_feedback")
        rolled = run(instance, "daily_rollup", YESTERDAY)
        topic = subscribed(sqs, environment)
        monkeypatch.setenv("SES_FEEDBACK_ALERT_TOPIC_ARN", topic)
        reported = run(instance, "bounce_rate_report")
        alert(instance)
        check_messages(slack.texts, published(sqs, environment, topic))

    (drain,) = drained.get_asset_materialization_events()
    numbers = {name: value.value for name, value in drain.materialization.metadata.items()}
    assert numbers["new_rows"] == DELIVERIES + BOUNCES + COMPLAINTS + 1
    assert numbers["rejected"] == len(attack.rejected())
    checks = evaluated(rolled)
    assert not checks["bounce_rate"].passed
    assert not checks["complaint_rate"].passed
    for result in (drained, rolled, reported):
        check_dagster(instance, result)
    check_files(folder)
    check_mails(environment, to)


def subscribed(sqs: SQSClient, environment: dict[str, str]) -> str:
    """Make a topic whose messages come into the test's queue, which is empty by now."""
    sns = boto3.client("sns", region_name=environment["AWS_REGION"])
    topic = sns.create_topic(Name=f"told-{environment['SQS_QUEUE_URL'].rpartition('-')[2]}")
    queue = sqs.get_queue_attributes(
        QueueUrl=environment["SQS_QUEUE_URL"], AttributeNames=["QueueArn"]
    )
    sns.subscribe(
        TopicArn=topic["TopicArn"], Protocol="sqs", Endpoint=queue["Attributes"]["QueueArn"]
    )
    return topic["TopicArn"]


def published(sqs: SQSClient, environment: dict[str, str], topic: str) -> list[dict[str, Any]]:
    """What the topic has sent; rejected messages and SES's own notifications aside."""
    found = []
    while messages := sqs.receive_message(
        QueueUrl=environment["SQS_QUEUE_URL"], MaxNumberOfMessages=10, VisibilityTimeout=60
    ).get("Messages"):
        bodies = [message["Body"] for message in messages if f'"{topic}"' in message["Body"]]
        found += [json.loads(body) for body in bodies]
    return found


def alert(instance: dg.DagsterInstance) -> None:
    """Let the sensor tell of the checks that failed, as Dagster's daemon does."""
    resources = {
        "queue": FeedbackQueue(),
        "dead_letter_queue": FeedbackQueue(setting="SQS_DLQ_URL"),
        "alert_channels": AlertChannels(),
    }
    with dg.build_sensor_context(
        instance=instance,
        definitions=build_definitions({"ses": SesOfTheTest()}),
        resources=resources,
    ) as context:
        feedback_alerts.evaluate_tick(context)


def check_dagster(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> None:
    """All that a run leaves in Dagster's storage: metadata, descriptions, log lines."""
    for entry in instance.all_logs(result.run_id):
        for text in strings(json.loads(dg.serialize_value(entry))):
            if not text.startswith("![") or "data:image/png;base64," not in text:
                assert_harmless(text)


def check_files(folder: Path) -> None:
    (page,) = (path.read_text() for path in folder.glob("*.html"))
    assert "2*cmd" in page
    assert "\\u202egnp" in page
    assert_harmless(page.replace("\N{NO-BREAK SPACE}", " "), markup=False)
    found = Elements(page)
    assert not found.names & {"script", "iframe", "object", "form", "a", "svg", "b"}
    assert all(address.startswith("data:image/png;base64,") for address in found.addresses)
    assert "49" not in page[page.index("1*1{{7") :][:40]  # nobody has worked out 7 * 7
    (table,) = (path.read_text() for path in folder.glob("*.csv"))
    check_csv(table)


def check_csv(table: str) -> None:
    assert "'-2*cmd" in table
    assert "'\uff1d1*1" in table
    assert ";'=1*1" in table
    assert_harmless(table)


def check_messages(slack: list[str], published: list[dict[str, Any]]) -> None:
    told = "\n".join(slack)
    assert "2*cmd" in told  # the attack has arrived
    for text in slack:
        # What Slack itself reads as text: "<!channel>" would wake everybody.
        assert "<" not in text
        assert ">" not in text
        assert_harmless(text)
    assert published
    for message in published:
        subject = message["Subject"]
        assert subject.isascii()
        assert subject.isprintable()
        assert len(subject) < 100
        assert_harmless(message["Message"])


def check_mails(environment: dict[str, str], to: str) -> None:
    said = requests.get(f"{environment['AWS_ENDPOINT_URL']}/_ministack/ses/messages", timeout=10)
    mails = [mail for account in said.json()["messages"].values() for mail in account]
    ours = [mail for mail in mails if to in json.dumps(mail)]
    assert len(ours) > 1  # the report, and an alert
    for mail in ours:
        assert mail["Subject"].isprintable()
        assert "all@evil.example" not in json.dumps([mail["Source"], mail["To"], mail["Subject"]])
        assert_harmless(mail["BodyText"].replace("\r\n", "\n"))


def test_no_command_writes_to_the_terminal_what_a_body_tells_it_to(
    sqs: SQSClient, environment: dict[str, str], folder: Path
) -> None:
    assert not folder.exists()
    bodies = [*attack.records(datetime.now(UTC), 1, 1, 1), *attack.rejected()]
    sent = [
        sqs.send_message(QueueUrl=environment["SQS_DLQ_URL"], MessageBody=body)["MessageId"]
        for body in bodies
    ]
    said = [invoke("explain", "-", stdin=body) for body in bodies]
    said += [invoke("dlq", "list"), *(invoke("dlq", "show", each) for each in sent)]
    said.append(invoke("dlq", "reprocess"))
    assert "2*cmd" in "".join(said)
    assert "owned" in "".join(said)
    for text in said:
        assert_harmless(text, markup=False)
    # rich has taken none of it for markup: what is there to be read stands there.
    assert "[link=https://evil.example]" in "".join("".join(said).split())


def invoke(*words: str, stdin: str | None = None) -> str:
    return CliRunner().invoke(main, words, input=stdin).output
