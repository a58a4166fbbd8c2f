"""`dpp-feedback dlq reprocess`, with the real job, queue and database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import pytest
from click.testing import CliRunner, Result
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

from dpp_feedback.cli import main
from dpp_feedback.resources import FeedbackQueue

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg
    from mypy_boto3_sqs import SQSClient

DELIVERY = json.dumps(
    {
        "notificationType": "Delivery",
        "delivery": {"recipients": ["jane@example.org"], "timestamp": "2026-02-17T08:30:00Z"},
        "mail": {"messageId": "0100019c00000001-mail", "source": "news@example.com"},
    }
)


@pytest.fixture
def ids(environment: dict[str, str], sqs: SQSClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A delivery and a broken message in the dead-letter queue, and no Dagster to remember runs."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return [
        sqs.send_message(QueueUrl=environment["SQS_DLQ_URL"], MessageBody=body)["MessageId"]
        for body in (DELIVERY, "{}")
    ]


def _reprocess(*options: str) -> Result:
    return CliRunner().invoke(main, ["dlq", "reprocess", *options])


def _stored(database: psycopg.Connection[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return database.execute("SELECT primary_recipient FROM public.ses_feedback_events").fetchall()


def test_it_begins_with_a_dry_run_and_ends_with_the_messages_stored(
    ids: list[str], database: psycopg.Connection[tuple[Any, ...]]
) -> None:
    dry = _reprocess()
    assert dry.exit_code == 0, dry.output
    assert "Dry run over 2 messages: 1 would be stored, 1 would still be rejected." in dry.stdout
    assert dry.stdout.endswith("Again with --no-dry-run to do it.\n")
    assert "not_ses" in dry.stdout
    assert _stored(database) == []
    real = _reprocess("--no-dry-run", "--id", ids[0], "--kind", "Delivery", "--reason", "readable")
    assert real.exit_code == 0, real.output
    assert "1 stored" in real.stdout
    assert "Again" not in real.stdout
    assert _stored(database) == [("jane@example.org",)]
    assert "jane" not in dry.output + real.output


def test_its_run_is_in_dagsters_list_and_its_act_in_the_table(
    ids: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    database: psycopg.Connection[tuple[Any, ...]],
) -> None:
    (tmp_path / "dagster.yaml").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert _reprocess("--id", ids[1]).exit_code == 0
    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs()
    assert run.tags["dpp_feedback/dry_run"] == "true"
    assert run.tags["dpp_feedback/actor"].startswith("arn:aws:")
    (act,) = database.execute(
        "SELECT actor, run_id, selection FROM public.ses_feedback_dlq_actions"
    ).fetchall()
    assert act == (run.tags["dpp_feedback/actor"], run.run_id, {"message_ids": [ids[1]]})


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--reason", "not_jsn"], 2, "'not_jsn' is not one of 'empty', 'not_text'"),
        (["--reason", ""], 2, "'' is not one of"),
        (["--id", ""], 2, "no id is named"),
        (["--id", "a", "--ids", " , "], 2, "no id is named"),
        (["--kind", ""], 2, "it is empty, and would select everything"),
        (["--max-messages", "0"], 1, "max_messages is 0"),
    ],
)
@pytest.mark.usefixtures("ids")
def test_what_makes_no_sense_is_said_in_a_sentence(
    options: list[str],
    code: int,
    said: str,
    database: psycopg.Connection[tuple[Any, ...]],
) -> None:
    refused = _reprocess("--no-dry-run", *options)
    assert refused.exit_code == code
    assert said in refused.output
    assert "Traceback" not in refused.output
    assert _stored(database) == []


@pytest.mark.usefixtures("database")
def test_ids_are_written_as_for_discard(ids: list[str]) -> None:
    assert "Dry run over 2 messages" in _reprocess("--ids", ",".join(ids)).stdout


@pytest.mark.usefixtures("database")
def test_what_is_ignored_is_told_from_what_is_rejected(
    sqs: SQSClient, environment: dict[str, str], ids: list[str]
) -> None:
    assert len(ids) == 2
    control = "Successfully validated SNS topic for Amazon SES event publishing."
    sqs.send_message(QueueUrl=environment["SQS_DLQ_URL"], MessageBody=control)
    lines = [" ".join(line.split()) for line in _reprocess().stdout.splitlines()]
    assert "1 ignored: topic_validated" in lines
    assert "1 not_ses" in lines


@pytest.mark.usefixtures("database")
def test_what_max_messages_leaves_is_counted(ids: list[str]) -> None:
    assert len(ids) == 2
    said = _reprocess("--max-messages", "1").stdout
    assert "About 1 more messages of the queue were not looked at, for max_messages" in said
    assert "max_messages" not in _reprocess("--max-messages", "2").stdout


@pytest.mark.usefixtures("ids")
def test_the_table_names_who_and_dagster_never_sees_an_address(
    database: psycopg.Connection[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    role = "arn:aws:sts::123456789012:assumed-role/operator"
    monkeypatch.setattr("dpp_feedback.dlq.actor._arn", lambda _: f"{role}/jane@example.com")
    tags: list[Any] = []
    add_run = SqlRunStorage.add_run

    def spy(storage: SqlRunStorage, run: dg.DagsterRun, *more: Any) -> dg.DagsterRun:
        tags.append(dict(run.tags))
        return add_run(storage, run, *more)

    monkeypatch.setattr(SqlRunStorage, "add_run", spy)
    assert _reprocess().exit_code == 0
    assert [each["dpp_feedback/actor"] for each in tags] == [f"{role}/j***@example.com"]
    assert database.execute("SELECT actor FROM public.ses_feedback_dlq_actions").fetchall() == [
        (f"{role}/jane@example.com",)
    ]


# Ends itself by a signal where a run is in the middle.
_STOPPED = """
import os, signal, time
from dpp_feedback.cli import main
from dpp_feedback.queue import Queue
from dpp_feedback.store import Store

def stop(*_, **__):
    os.kill(os.getpid(), signal.%s)
    time.sleep(60)

%s = stop
main(["dlq", "reprocess", "%s"])
"""


@pytest.mark.parametrize("where", ["Store.insert", "Queue.acknowledge"])
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_told_to_end_it_hands_back_what_it_holds_and_finishes_its_record(
    ids: list[str],
    number: str,
    where: str,
    database: psycopg.Connection[tuple[Any, ...]],
) -> None:
    queue = FeedbackQueue(setting="SQS_DLQ_URL").connect()
    boto3.client("sqs", region_name=os.environ["AWS_REGION"]).set_queue_attributes(
        QueueUrl=queue.url, Attributes={"VisibilityTimeout": "600"}
    )
    ended = subprocess.run(
        [sys.executable, "-c", _STOPPED % (number, where, "--no-dry-run")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    depth = queue.depth()
    assert (depth.waiting, depth.in_flight) == (len(ids), 0)
    (act,) = database.execute(
        "SELECT moved, error FROM public.ses_feedback_dlq_actions WHERE finished_at IS NOT NULL"
    ).fetchall()
    assert act == (None if where == "Queue.acknowledge" else 0, "It was told to end.")


@pytest.mark.usefixtures("ids", "database")
def test_a_time_is_written_as_for_a_list() -> None:
    assert "Dry run over 2 messages" in _reprocess("--since", "1h").stdout
    assert "No message is selected; 2 others" in _reprocess("--received-before", "1h").stdout
    refused = _reprocess("--received-after", "yesterday")
    assert refused.exit_code == 2
    assert "'yesterday' is no time. Write 2026-02-17T08:30:00Z, or how long ago" in refused.output


@pytest.mark.usefixtures("ids")
def test_a_database_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:1/db")
    refused = _reprocess("--no-dry-run")
    assert refused.exit_code == 1
    assert "The database of DATABASE_URL does not answer" in refused.output


def test_who_shares_a_role_can_say_who_they_are(
    ids: list[str], database: psycopg.Connection[tuple[Any, ...]]
) -> None:
    assert len(ids) == 2
    named = CliRunner().invoke(main, ["dlq", "--as", "jane", "reprocess"])
    assert named.exit_code == 0, named.output
    assert _reprocess().exit_code == 0
    actors = database.execute(
        "SELECT actor FROM public.ses_feedback_dlq_actions ORDER BY started_at"
    ).fetchall()
    assert [actor.partition("arn:")[0] for (actor,) in actors] == ["jane, ", ""]
