"""The queue and its dead-letter queue, as SQS has them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from dpp_feedback.doctor import dead_letter_queue, queue
from dpp_feedback.doctor.aws import Aws
from dpp_feedback.doctor.policy import anybody_may_send, topic_may_send
from dpp_feedback_tests.doctor.looking import found, only

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

    from dpp_feedback.doctor.finding import Finding
    from dpp_feedback_tests.doctor.proxy import Proxy

TOPIC = "arn:aws:sns:ap-northeast-2:123456789012:bounce"


def _queue(check: str) -> Finding:
    return only(queue.examinations(Aws()), check)


def _dlq(check: str) -> Finding:
    return only(dead_letter_queue.examinations(Aws()), check)


def _set(sqs: SQSClient, url: str, **attributes: str) -> None:
    sqs.set_queue_attributes(
        QueueUrl=url, Attributes=cast("Mapping[QueueAttributeNameType, str]", attributes)
    )


def test_a_queue_is_reached_and_says_how_much_waits(
    sqs: SQSClient, environment: dict[str, str]
) -> None:
    sqs.send_message(QueueUrl=environment["SQS_QUEUE_URL"], MessageBody="one")
    finding = _queue("SQS_QUEUE_URL")
    assert finding.verdict == "pass"
    assert "1 waiting, 0 in flight" in finding.found


def test_a_queue_that_is_not_there_fails(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = environment["SQS_QUEUE_URL"] + "-gone"
    monkeypatch.setenv("SQS_QUEUE_URL", url)
    finding = _queue("SQS_QUEUE_URL")
    assert (finding.verdict, finding.found) == ("fail", f"There is no such queue: {url}.")


def test_the_right_that_every_run_needs_fails_by_its_name(between: Proxy) -> None:
    between.refuse("GetQueueAttributes")
    finding = _queue("SQS_QUEUE_URL")
    assert finding.verdict == "fail"
    assert "sqs:GetQueueAttributes" in finding.found


@pytest.mark.parametrize(
    ("timeout", "verdict"),
    [("0", "fail"), ("59", "warn"), ("60", "pass"), ("3600", "pass"), ("3601", "warn")],
)
def test_the_visibility_timeout_is_judged(
    sqs: SQSClient, environment: dict[str, str], timeout: str, verdict: str
) -> None:
    _set(sqs, environment["SQS_QUEUE_URL"], VisibilityTimeout=timeout)
    assert _queue("visibility timeout").verdict == verdict


@pytest.mark.parametrize(
    ("attributes", "verdict"),
    [
        ({}, "warn"),
        ({"SqsManagedSseEnabled": "true"}, "pass"),
        ({"KmsMasterKeyId": "alias/ours"}, "pass"),
        ({"KmsMasterKeyId": "alias/aws/sqs"}, "fail"),
    ],
)
def test_encryption_must_be_one_that_sns_may_use(
    sqs: SQSClient, environment: dict[str, str], attributes: dict[str, str], verdict: str
) -> None:
    _set(sqs, environment["SQS_QUEUE_URL"], **attributes)
    assert _queue("encryption").verdict == verdict


def test_a_policy_must_let_every_topic_send_and_nobody_else(
    sqs: SQSClient, environment: dict[str, str]
) -> None:
    url = environment["SQS_QUEUE_URL"]
    topics = [environment[name] for name in queue.TOPICS]
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Condition": {"ArnEquals": {"aws:SourceArn": topics}},
    }
    tls = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }

    def policy(*statements: dict[str, Any]) -> tuple[str, str]:
        _set(sqs, url, Policy=json.dumps({"Statement": statements}) if statements else "")
        checks = found(queue.examinations(Aws()))
        return checks["policy"][0].verdict, checks.get("TLS", checks["policy"])[0].verdict

    assert policy(allow, tls) == ("pass", "pass")
    assert policy(allow) == ("pass", "warn")
    assert policy(tls) == ("fail", "pass")
    assert policy({"Effect": "Allow", "Principal": "*", "Action": "sqs:*"}, tls)[0] == "warn"
    assert policy({**allow, "Condition": {"ArnEquals": {"aws:SourceArn": topics[:2]}}})[0] == "fail"
    assert _queue("policy").found == "It does not let SNS send from SNS_DELIVERY_ARN."
    assert policy() == ("fail", "fail")


@pytest.mark.parametrize(
    ("condition", "may"),
    [
        ({}, True),
        ({"ArnLike": {"AWS:SourceArn": "arn:aws:sns:*:123456789012:*"}}, True),
        ({"StringEquals": {"aws:SourceAccount": "123456789012"}}, True),
        ({"StringEquals": {"aws:SourceAccount": "999999999999"}}, False),
        ({"ArnEquals": {"aws:SourceArn": f"{TOPIC}s"}}, False),
    ],
)
def test_conditions_on_the_source_are_read(condition: dict[str, Any], may: bool) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]},
        "Action": ["SQS:Send*"],
        "Condition": condition,
    }
    written = json.dumps({"Statement": statement})
    assert topic_may_send(written, TOPIC) is may
    # Without a source, the topics of every account come as the service SNS.
    assert anybody_may_send(written) is (condition == {})


@pytest.mark.parametrize("written", ["", "[]", "{", '{"Statement": ["x"]}', '{"Statement": 1}'])
def test_what_is_no_policy_lets_nobody_send(written: str) -> None:
    assert not topic_may_send(written, TOPIC)


def test_the_dead_letter_queue_of_the_stack_is_in_order(environment: dict[str, str]) -> None:
    assert environment
    checks = found(dead_letter_queue.examinations(Aws()))
    verdicts = {name: [each.verdict for each in findings] for name, findings in checks.items()}
    assert verdicts == {
        "SQS_DLQ_URL": ["pass"],
        "retention": ["pass"],
        "encryption": ["warn"],
        "own redrive policy": ["pass"],
        "maxReceiveCount": ["pass"],
        "redrive policy": ["pass"],
        "redrive": ["pass"],
    }


def test_dead_letters_warn(sqs: SQSClient, environment: dict[str, str]) -> None:
    sqs.send_message(QueueUrl=environment["SQS_DLQ_URL"], MessageBody="one")
    finding = _dlq("SQS_DLQ_URL")
    assert (finding.verdict, finding.found) == ("warn", "Messages that could not be stored: 1.")


def test_a_dead_letter_queue_that_is_not_set_warns_and_one_that_is_not_there_fails(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQS_DLQ_URL", environment["SQS_DLQ_URL"] + "-gone")
    assert _dlq("SQS_DLQ_URL").verdict == "fail"
    monkeypatch.delenv("SQS_DLQ_URL")
    assert _dlq("SQS_DLQ_URL").verdict == "warn"
    assert _dlq("redrive policy").verdict == "warn"


def test_a_queue_without_redrive_policy_fails(sqs: SQSClient, environment: dict[str, str]) -> None:
    _set(sqs, environment["SQS_QUEUE_URL"], RedrivePolicy="")
    assert _dlq("redrive policy").verdict == "fail"


@pytest.mark.parametrize(("receives", "verdict"), [(1, "warn"), (5, "pass"), (100, "warn")])
def test_five_receives_are_expected(
    sqs: SQSClient, environment: dict[str, str], receives: int, verdict: str
) -> None:
    _redrive(sqs, environment["SQS_QUEUE_URL"], environment["SQS_DLQ_URL"], receives)
    assert _dlq("maxReceiveCount").verdict == verdict


def test_a_redrive_policy_that_names_another_queue_fails(
    sqs: SQSClient, environment: dict[str, str]
) -> None:
    other = sqs.create_queue(QueueName="another")["QueueUrl"]
    _redrive(sqs, environment["SQS_QUEUE_URL"], other, 5)
    finding = _dlq("redrive policy")
    assert finding.verdict == "fail"
    assert ":another, and SQS_DLQ_URL names arn:" in finding.found


def test_a_dead_letter_queue_with_a_redrive_policy_of_its_own_fails(
    sqs: SQSClient, environment: dict[str, str]
) -> None:
    other = sqs.create_queue(QueueName="another")["QueueUrl"]
    _redrive(sqs, environment["SQS_DLQ_URL"], other, 5)
    assert _dlq("own redrive policy").verdict == "fail"


def test_a_retention_that_is_short_warns_and_one_shorter_than_the_queues_fails(
    sqs: SQSClient, environment: dict[str, str]
) -> None:
    _set(sqs, environment["SQS_DLQ_URL"], MessageRetentionPeriod="345600")
    finding = _dlq("retention")
    assert (finding.verdict, finding.found) == ("warn", "4 days.")
    assert _dlq("retention of both").verdict == "fail"
    _set(sqs, environment["SQS_QUEUE_URL"], MessageRetentionPeriod="345600")
    assert "retention of both" not in found(dead_letter_queue.examinations(Aws()))


def test_a_redrive_that_runs_or_failed_warns(between: Proxy) -> None:
    for status, sentence in {
        "RUNNING": "One is RUNNING; messages moved so far: 7.",
        "FAILED": "The last one FAILED: no right.",
    }.items():
        task = {
            "Status": status,
            "ApproximateNumberOfMessagesMoved": 7,
            "FailureReason": "no right",
        }
        between.say_json("ListMessageMoveTasks", {"Results": [task]})
        finding = _dlq("redrive")
        assert (finding.verdict, finding.found) == ("warn", sentence)
    between.refuse("ListMessageMoveTasks")
    finding = _dlq("redrive")
    assert finding.verdict == "warn"
    assert "sqs:ListMessageMoveTasks" in finding.next_step


def _redrive(sqs: SQSClient, url: str, to: str, receives: int) -> None:
    said = sqs.get_queue_attributes(QueueUrl=to, AttributeNames=["QueueArn"])
    policy = {"deadLetterTargetArn": said["Attributes"]["QueueArn"], "maxReceiveCount": receives}
    _set(sqs, url, RedrivePolicy=json.dumps(policy))
