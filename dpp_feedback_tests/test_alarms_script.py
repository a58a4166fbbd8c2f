"""scripts/phase3_alarms.sh, run by bash with the real AWS CLI against the stand-in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "phase3_alarms.sh"
BIN = Path(sys.executable).parent
# What the names of calls that change something begin with.
CHANGES = ("put-", "create-", "delete-", "set-", "tag-", "subscribe")


class Script:
    """The script with the queues of one test, and a note of every call of the AWS CLI."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.log = folder / "calls"
        shim = folder / "bin" / "aws"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\necho "$@" >> "{self.log}"\nexec "{BIN}/aws" "$@"\n')
        shim.chmod(0o755)
        own = environment["SQS_QUEUE_URL"].rpartition("queue-")[2]
        self.prefix = f"alarms-{own}"
        self.environment = {
            "PATH": f"{shim.parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": environment["AWS_REGION"],
            "AWS_ENDPOINT_URL": environment["AWS_ENDPOINT_URL"],
            "AWS_ACCESS_KEY_ID": environment["AWS_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": environment["AWS_SECRET_ACCESS_KEY"],
            "QUEUE_NAME": environment["SQS_QUEUE_URL"].rpartition("/")[2],
            "DLQ_NAME": environment["SQS_DLQ_URL"].rpartition("/")[2],
            "ALARM_PREFIX": self.prefix,
        }
        region = environment["AWS_REGION"]
        self.cloudwatch: Any = boto3.client("cloudwatch", region_name=region)
        self.sns = boto3.client("sns", region_name=region)

    def __call__(
        self,
        *arguments: str,
        answer: str = "",
        settings: Mapping[str, str | None] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        environment = {**self.environment, **(settings or {})}
        return subprocess.run(
            [shutil.which("bash") or "bash", str(SCRIPT), *arguments],
            env={name: value for name, value in environment.items() if value is not None},
            input=answer,
            capture_output=True,
            text=True,
            check=False,
        )

    def changes(self) -> list[str]:
        """Calls of the last run that change something: service and operation."""
        calls = [line.split()[:2] for line in self.log.read_text().splitlines()]
        return [" ".join(call) for call in calls if call[1].startswith(CHANGES)]

    def alarms(self) -> dict[str, dict[str, Any]]:
        said = self.cloudwatch.describe_alarms(AlarmNamePrefix=self.prefix)["MetricAlarms"]
        return {alarm["AlarmName"].removeprefix(f"{self.prefix}-"): alarm for alarm in said}

    def topics(self) -> list[str]:
        # Other tests have made topics too, more than fit on a page.
        pages = self.sns.get_paginator("list_topics").paginate()
        arns = [topic["TopicArn"] for page in pages for topic in page["Topics"]]
        return [arn for arn in arns if self.prefix in arn]


@pytest.fixture
def script(environment: dict[str, str], tmp_path: Path) -> Script:
    return Script(environment, tmp_path)


def test_shellcheck_finds_nothing() -> None:
    ended = subprocess.run(
        [str(BIN / "shellcheck"), str(SCRIPT)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout


def test_the_first_run_makes_everything_the_second_changes_nothing_and_delete_leaves_nothing(
    script: Script,
) -> None:
    first = script()
    assert first.returncode == 0, first.stderr
    assert first.stdout.count(": created") == 4
    assert script.changes() == ["sns create-topic", *["cloudwatch put-metric-alarm"] * 3]
    made = script.alarms()
    (topic,) = script.topics()
    for alarm in made.values():
        assert alarm["Namespace"] == "AWS/SQS"
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
    queue, dlq = script.environment["QUEUE_NAME"], script.environment["DLQ_NAME"]
    assert {name: _rule(alarm) for name, alarm in made.items()} == {
        "queue-age": (
            "ApproximateAgeOfOldestMessage",
            queue,
            "Maximum > 300 for 3 x 60 s",
            "ignore",
        ),
        "dlq-depth": (
            "ApproximateNumberOfMessagesVisible",
            dlq,
            "Maximum >= 1 for 1 x 60 s",
            "ignore",
        ),
        "no-traffic": ("NumberOfMessagesSent", queue, "Sum < 1 for 24 x 3600 s", "breaching"),
    }

    second = script()
    assert second.returncode == 0, second.stderr
    assert [line.rpartition(": ")[2] for line in second.stdout.splitlines()] == ["unchanged"] * 4
    assert script.changes() == []

    deleted = script("--delete", answer="yes\n")
    assert deleted.returncode == 0, deleted.stderr
    assert script.alarms() == {}
    assert script.topics() == []
    again = script("--delete", "--yes")
    assert again.returncode == 0, again.stderr
    assert "Nothing to delete." in again.stdout
    assert script.changes() == []


def _rule(alarm: dict[str, Any]) -> tuple[str, str, str, str]:
    sign = {
        "GreaterThanThreshold": ">",
        "GreaterThanOrEqualToThreshold": ">=",
        "LessThanThreshold": "<",
    }[alarm["ComparisonOperator"]]
    (dimension,) = alarm["Dimensions"]
    assert dimension["Name"] == "QueueName"
    window = f"{alarm['EvaluationPeriods']} x {alarm['Period']} s"
    rule = f"{alarm['Statistic']} {sign} {alarm['Threshold']:g} for {window}"
    return alarm["MetricName"], dimension["Value"], rule, alarm["TreatMissingData"]


def test_a_dry_run_prints_each_call_and_changes_nothing(script: Script) -> None:
    ended = script("--dry-run")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("would run: aws ") for line in lines)
    assert script.changes() == []
    assert script.alarms() == {}
    assert script.topics() == []


def test_what_differs_is_set_right_and_a_silenced_alarm_stays_silenced(script: Script) -> None:
    script()
    script.cloudwatch.disable_alarm_actions(AlarmNames=[f"{script.prefix}-queue-age"])
    script.cloudwatch.delete_alarms(AlarmNames=[f"{script.prefix}-dlq-depth"])
    ended = script(settings={"MAX_AGE_SECONDS": "600"})
    assert ended.returncode == 0, ended.stderr
    said = [line.rpartition(": ")[2] for line in ended.stdout.splitlines()]
    assert said == ["unchanged", "changed", "created", "unchanged"]
    assert script.changes() == ["cloudwatch put-metric-alarm"] * 2
    alarm = script.alarms()["queue-age"]
    assert alarm["Threshold"] == 600
    assert alarm["ActionsEnabled"] is False


def test_without_a_yes_nothing_is_deleted(script: Script) -> None:
    script()
    for answer in ("", "y\n"):
        ended = script("--delete", answer=answer)
        assert ended.returncode == 1
        assert "Nothing deleted." in ended.stderr
    assert script("--delete", "--dry-run").stdout.count("would run: aws ") == 2
    assert script.changes() == []
    assert len(script.alarms()) == 3


def test_a_topic_that_was_there_is_used_and_never_deleted(script: Script) -> None:
    arn = script.sns.create_topic(Name=f"{script.prefix}-alarms")["TopicArn"]
    ended = script()
    assert f"{arn}: unchanged" in ended.stdout
    ended = script("--delete", "--yes")
    assert ended.returncode == 0, ended.stderr
    assert f"{arn}: stays" in ended.stdout
    assert script.topics() == [arn]
    assert script.alarms() == {}

    given = script(settings={"ALARM_TOPIC_ARN": arn})
    assert given.returncode == 0, given.stderr
    assert script.alarms()["dlq-depth"]["AlarmActions"] == [arn]
    script("--delete", "--yes", settings={"ALARM_TOPIC_ARN": arn})
    assert script.topics() == [arn]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"QUEUE_NAME": "nobody"}, "A queue is missing in ap-northeast-2: check QUEUE_NAME"),
        ({"DLQ_NAME": "nobody"}, "A queue is missing in ap-northeast-2: check QUEUE_NAME"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "AWS does not answer in ap-northeast-2"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "No AWS credentials"),
        ({"AWS_PROFILE": "nobody"}, "No AWS credentials"),
        (
            {"ALARM_TOPIC_ARN": "arn:aws:sns:ap-northeast-2:000000000000:nobody"},
            "ALARM_TOPIC_ARN names a topic that does not exist",
        ),
        ({"MAX_AGE_SECONDS": "five"}, "MAX_AGE_SECONDS is five, no whole number"),
        ({"SILENT_HOURS": "169"}, "SILENT_HOURS is 169, no whole number from 1 to 168"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_made(
    script: Script, settings: dict[str, str | None], said: str
) -> None:
    ended = script(settings=settings)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"phase3_alarms.sh: {said}")
    assert ended.stderr.count("\n") == 1
    assert script.changes() == []


def test_a_right_that_is_missing_is_named(script: Script, tmp_path: Path) -> None:
    """The stand-in refuses nobody, so this `aws` answers as AWS does."""
    (tmp_path / "bin" / "aws").write_text(
        "#!/bin/sh\necho 'An error occurred (AccessDenied) when calling the GetQueueUrl operation: "
        "User: arn:aws:iam::1:user/x is not authorized to perform' >&2\nexit 254\n"
    )
    ended = script()
    assert ended.returncode == 1
    assert ended.stderr == (
        "phase3_alarms.sh: This login may not call sqs get-queue-url: ask for the right, then run "
        "this again.\n"
    )


def test_an_unknown_option_is_refused_and_help_names_every_setting(script: Script) -> None:
    assert "--dlete is no option" in script("--dlete").stderr
    said = script("--help").stdout
    for name in ("AWS_REGION", "QUEUE_NAME", "DLQ_NAME", "ALARM_TOPIC_ARN", "SILENT_HOURS"):
        assert name in said


def test_without_the_aws_cli_it_says_so(script: Script, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    ended = script(settings={"PATH": str(empty)})
    assert ended.stderr.startswith("phase3_alarms.sh: The AWS CLI is not installed")
