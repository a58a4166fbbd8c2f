"""`dpp-feedback dlq reprocess`, with the real job, queue and database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from dpp_feedback.cli import main

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
    assert "Dry run over 2 messages: 1 would be stored, 0 there already" in dry.stdout
    assert "--no-dry-run" in dry.stdout
    assert "not_ses" in dry.stdout
    assert _stored(database) == []
    real = _reprocess("--no-dry-run", "--id", ids[0], "--kind", "Delivery", "--reason", "readable")
    assert real.exit_code == 0, real.output
    assert "1 stored" in real.stdout
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
    ("options", "said"),
    [
        (["--reason", "not_jsn"], "'not_jsn' is no reason"),
        (["--max-messages", "0"], "max_messages is 0"),
    ],
)
@pytest.mark.usefixtures("ids", "database")
def test_what_makes_no_sense_is_said_in_a_sentence(options: list[str], said: str) -> None:
    refused = _reprocess(*options)
    assert refused.exit_code == 1
    assert said in refused.output
    assert "Traceback" not in refused.output


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
