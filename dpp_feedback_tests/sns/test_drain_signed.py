"""The job with signatures verified: a real queue, real Postgres, SNS's host on loopback."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from click.testing import CliRunner

from dpp_feedback import resources
from dpp_feedback.cli import main
from dpp_feedback.definitions import defs
from dpp_feedback_tests.bounces import bounce
from dpp_feedback_tests.failures import failure
from dpp_feedback_tests.sns.authority import (
    HOST,
    PATH,
    URL,
    body,
    confirmation,
    notification,
    rsa_key,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from mypy_boto3_sqs import SQSClient

    from dpp_feedback_tests.sns.conftest import Authority, Served

    Database = psycopg.Connection[tuple[Any, ...]]

FOREIGN = "arn:aws:sns:ap-northeast-2:444455556666:bounces"
REASONS = {
    "bad_signature": 2,
    "bad_certificate": 2,
    "topic_not_allowed": 1,
    "unsigned": 2,
}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


class Job:
    """The queue, the job and its table."""

    def __init__(
        self, environment: dict[str, str], sqs: SQSClient, database: Database, authority: Authority
    ) -> None:
        self.environment, self.sqs, self.database = environment, sqs, database
        self.key = authority.key

    def signed(self, number: int, version: str = "2", url: str = URL, **changes: Any) -> str:
        topic = self.environment["SNS_BOUNCE_ARN"]
        envelope = notification(bounce(number), **({"TopicArn": topic} | changes))
        return body(signed(envelope, self.key, version, url))

    def send(self, *bodies: str) -> None:
        for each in bodies:
            self.sqs.send_message(QueueUrl=self.environment["SQS_QUEUE_URL"], MessageBody=each)

    def run(self, instance: dg.DagsterInstance, name: str = "process_feedback") -> Any:
        return defs.resolve_job_def(name).execute_in_process(
            instance=instance, raise_on_error=False
        )

    def rows(self) -> list[str]:
        found = self.database.execute("SELECT primary_recipient FROM public.ses_feedback_events")
        return sorted(row[0] for row in found)

    def reasons(self) -> dict[str, int]:
        found = self.database.execute("SELECT reason FROM public.ses_feedback_rejects")
        return dict(Counter(row[0] for row in found))

    def received(self) -> list[int]:
        """How often each message that waits was received before now."""
        got = self.sqs.receive_message(
            QueueUrl=self.environment["SQS_QUEUE_URL"],
            MaxNumberOfMessages=10,
            WaitTimeSeconds=10,
            AttributeNames=["ApproximateReceiveCount"],
        )
        counts = [each["Attributes"]["ApproximateReceiveCount"] for each in got["Messages"]]
        return [int(count) - 1 for count in counts]


@pytest.fixture
def job(
    environment: dict[str, str],
    sqs: SQSClient,
    database: Database,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> Job:
    monkeypatch.setenv("SNS_VERIFY", "true")
    resources._certificates.cache_clear()
    return Job(environment, sqs, database, authority)


def forgeries(job: Job) -> list[str]:
    ours = job.environment["SNS_BOUNCE_ARN"]
    good = job.signed(20)
    return [
        good.replace("person20", "victim20"),
        body(signed(notification(bounce(21), TopicArn=ours), rsa_key("somebody else"))),
        job.signed(22, url=URL.replace(HOST, "sns.evil.example")),
        job.signed(23, url=URL.replace(PATH, f"/SimpleNotificationService-{'0' * 32}.pem")),
        job.signed(24, TopicArn=FOREIGN),  # a good signature, of somebody else's topic
        bounce(25),  # raw delivery
        body(notification(bounce(26), TopicArn=ours)),
    ]


def test_signed_bodies_are_stored_and_forged_ones_reach_the_dead_letter_queue(
    job: Job, instance: dg.DagsterInstance, sns_host: Served
) -> None:
    asked = confirmation() | {"TopicArn": job.environment["SNS_BOUNCE_ARN"]}
    forged = forgeries(job)
    job.send(job.signed(1), *forged, job.signed(2, "1"), body(signed(asked, job.key)))
    for _ in range(6):  # five receives; the sixth finds that SQS has moved them
        assert job.run(instance).success
    assert job.rows() == ["person1@example.org", "person2@example.org"]
    assert job.reasons() == REASONS
    listed = CliRunner().invoke(main, ["dlq", "list", "--json"]).stdout
    for reason, number in REASONS.items():
        assert listed.count(f'"reason": "{reason}"') == number
    assert "victim20" not in listed
    dry_run = job.run(instance, "reprocess_dlq")
    assert dry_run.success
    assert job.rows() == ["person1@example.org", "person2@example.org"]
    assert FOREIGN not in " ".join(sns_host.heard)
    fetched = Counter(path for path in sns_host.heard if path != "/")
    assert fetched == {PATH: 1, f"/SimpleNotificationService-{'0' * 32}.pem": 1}


@pytest.mark.usefixtures("nowhere")
def test_while_no_certificate_can_be_had_no_message_is_received(
    job: Job, instance: dg.DagsterInstance
) -> None:
    job.send(job.signed(1))
    for _ in range(6):
        said = failure(job.run(instance))
        assert f"{HOST} gives no certificate" in said
        assert "port 443" in said
    assert job.received() == [0]
    assert job.reasons() == {}


def test_a_forged_url_that_gives_no_answer_stops_no_good_message(
    job: Job, instance: dg.DagsterInstance, authority: Authority, sns_host: Served
) -> None:
    away, strange = (f"/SimpleNotificationService-{number:032x}.pem" for number in (1, 2))
    sns_host.put(b"", away, status=503)
    sns_host.put(authority.leaf.pem, strange)  # without its issuer
    forged = [
        job.signed(20 + n, url=URL.replace(PATH, path)) for n, path in enumerate((away, strange))
    ]
    job.send(*forged, job.signed(1), job.signed(2), *forged)
    assert job.run(instance).success
    assert job.rows() == ["person1@example.org", "person2@example.org"]
    assert job.reasons() == {"bad_certificate": 4}
    assert job.received() == [1, 1, 1, 1]


@pytest.mark.usefixtures("nowhere")
def test_while_no_certificate_can_be_had_the_dead_letters_are_told_of_all_the_same(
    job: Job, instance: dg.DagsterInstance
) -> None:
    for each in (job.signed(1), job.signed(2), bounce(3)):
        job.sqs.send_message(QueueUrl=job.environment["SQS_DLQ_URL"], MessageBody=each)
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=[dg.AssetKey("dlq_health")], instance=instance
    )
    checks = {each.check_name: each for each in result.get_asset_check_evaluations()}
    said = str(checks["dlq_empty"].description)
    assert not checks["dlq_empty"].passed
    assert "2 not_known, 1 unsigned" in said
    assert f"{HOST} gives no certificate" in said
    assert checks["dlq_expiring"].passed
    listed = CliRunner().invoke(main, ["dlq", "list"])
    assert listed.exit_code == 0
    assert "3 shown: 2 not_known, 1 unsigned." in listed.output
    assert "SNS gives no certificate now" in listed.output
    exported = [
        json.loads(line)
        for line in CliRunner().invoke(main, ["dlq", "export", "-"]).stdout.splitlines()
    ]
    assert sorted(each["reason"] for each in exported) == ["not_known", "not_known", "unsigned"]
    assert any(HOST in each["detail"] for each in exported)


def test_a_fault_that_comes_after_receiving_blames_no_message(
    job: Job, instance: dg.DagsterInstance, authority: Authority, sns_host: Served
) -> None:
    sns_host.put(b"", status=503)
    sns_host.put(b"here I am", "/")
    job.send(job.signed(1), job.signed(2))
    assert "HTTP 503" in failure(job.run(instance))
    assert (job.rows(), job.reasons()) == ([], {})
    assert job.received() == [1, 1]
    sns_host.put(authority.chain)
    for _ in range(20):  # until they are visible again
        assert job.run(instance).success
        if len(job.rows()) == 2:
            break
        job.sqs.receive_message(QueueUrl=job.environment["SQS_DLQ_URL"], WaitTimeSeconds=1)
    assert job.rows() == ["person1@example.org", "person2@example.org"]
    assert job.reasons() == {}
