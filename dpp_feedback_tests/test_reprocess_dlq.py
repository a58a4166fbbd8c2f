"""The job reprocess_dlq, run by a real Dagster instance over a real Postgres and SQS endpoint."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from dpp_feedback.alert_inputs import started_by_hand
from dpp_feedback.aws_errors import AwsUnavailable
from dpp_feedback.connection import DatabaseRefused
from dpp_feedback.definitions import defs
from dpp_feedback.errors import FeedbackError
from dpp_feedback.ingest import process_feedback
from dpp_feedback.local.traffic import traffic
from dpp_feedback.queue import Queue
from dpp_feedback.reprocess import NAME
from dpp_feedback.store import Store
from dpp_feedback_tests.bounces import bounce
from dpp_feedback_tests.failures import failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg
    from mypy_boto3_sqs import SQSClient

    from dpp_feedback.queue import Message

    Database = psycopg.Connection[tuple[Any, ...]]

CONTROL = "Successfully validated SNS topic for Amazon SES event publishing."
ROLE = "arn:aws:sts::123456789012:assumed-role/operator"
COUNTS = ("received", "stored", "duplicates", "ignored", "rejected", "new_rows")
# Runs the job in this process, and is killed by itself where a test puts the bomb.
_SUICIDE = """
import os, signal
import dagster as dg
from dpp_feedback.definitions import defs
from dpp_feedback.queue import Queue
from dpp_feedback.rejects import Rejects
from dpp_feedback.store import Store

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def after(function):
    def both(*arguments, **options):
        function(*arguments, **options)
        kill()
    return both

def half(queue, messages):
    acknowledge(queue, messages[: len(messages) // 2])
    kill()

acknowledge = Queue.acknowledge
%s
with dg.DagsterInstance.ephemeral() as instance:
    defs.resolve_job_def("reprocess_dlq").execute_in_process({"dry_run": False}, instance=instance)
"""


def delivery(number: int) -> str:
    return json.dumps(
        {
            "notificationType": "Delivery",
            "delivery": {
                "recipients": [f"person{number}@example.org"],
                "timestamp": "2026-02-17T08:30:00.000Z",
            },
            "mail": {"messageId": f"0100019c{number:08x}-mail", "source": "news@example.com"},
        }
    )


class DeadLetters:
    """The job, the dead-letter queue and the tables, in one hand."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        environment: dict[str, str],
        sqs: SQSClient,
        database: Database,
    ) -> None:
        self.instance = instance
        self.environment = environment
        self.url = environment["SQS_DLQ_URL"]
        self.database = database
        self._sqs = sqs
        # What a killed run holds comes back after 3 seconds.
        sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"VisibilityTimeout": "3"})

    def send(self, *bodies: str, setting: str = "SQS_DLQ_URL") -> list[str]:
        """Put messages into the queue, and return their ids."""
        ids = []
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(i), "MessageBody": body}
                for i, body in enumerate(bodies[start : start + 10])
            ]
            sent = self._sqs.send_message_batch(
                QueueUrl=self.environment[setting],
                Entries=entries,  # type: ignore[arg-type]
            )
            ids += [entry["MessageId"] for entry in sent["Successful"]]
        assert len(ids) == len(bodies)
        return ids

    def run(self, **config: Any) -> dg.ExecuteInProcessResult:
        return defs.resolve_job_def(NAME).execute_in_process(
            run_config=config, instance=self.instance, raise_on_error=False
        )

    def told(self, **config: Any) -> dict[str, Any]:
        """Run, and return what the last op says."""
        result = self.run(**config)
        assert result.success
        (said,) = (
            event.step_output_data.metadata
            for event in result.events_for_node("acknowledge_messages")
            if event.is_successful_output
        )
        return {name: getattr(value, "value", value) for name, value in said.items()}

    def depth(self) -> tuple[int, int]:
        """Messages waiting and in flight."""
        said = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        attributes = said["Attributes"]
        return (
            int(attributes["ApproximateNumberOfMessages"]),
            int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        )

    def left(self) -> set[str]:
        """Take everything out, and return the ids: the end of a test."""
        found: set[str] = set()
        while got := self._sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=5
        ).get("Messages"):
            for message in got:
                found.add(message["MessageId"])
                self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def hold_for(self, seconds: int) -> None:
        """Set for how long a received message is out of sight."""
        self._sqs.set_queue_attributes(
            QueueUrl=self.url, Attributes={"VisibilityTimeout": str(seconds)}
        )

    def column(self, query: str) -> list[Any]:
        return [row[0] for row in self.database.execute(query.encode())]

    def rejects(self) -> dict[str, tuple[str, str]]:
        """Reason and resolution of each recorded message."""
        found = self.database.execute(
            "SELECT message_id, reason, resolution FROM public.ses_feedback_rejects"
        )
        return {message_id: (reason, resolution) for message_id, reason, resolution in found}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def dead(
    instance: dg.DagsterInstance, environment: dict[str, str], sqs: SQSClient, database: Database
) -> DeadLetters:
    return DeadLetters(instance, environment, sqs, database)


def _counts(told: dict[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in COUNTS} | {
        "reasons": [dict(record.data) for record in told["ignored_and_rejected"].records]
        if "ignored_and_rejected" in told
        else []
    }


def _mutated(count: int, seed: int) -> list[str]:
    """Bodies of traffic, most of them broken in some way; some come twice, or with their event."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    good = [
        one.body for one in traffic(count // 3, seed=seed, at=datetime(2026, 2, 17, tzinfo=UTC))
    ]
    bodies: list[str] = []
    while len(bodies) < count:
        body = chance.choice(good)
        where = chance.randrange(len(body))
        bodies.append(
            chance.choice(
                [
                    body,
                    body[:where],
                    body[:where]
                    + chance.choice(['"', "{", "]", ",", "\\u0000", "é"])
                    + body[where + 1 :],
                    body.replace("messageId", "messageID", 1),
                    json.dumps({"Type": "Notification", "MessageId": "1", "Message": body}),
                    json.dumps({"Records": [{"body": body}, {"body": chance.choice(good)[:99]}]}),
                    CONTROL,
                ]
            )
        )
    return [body or "{}" for body in bodies]


def test_without_config_it_only_says_what_would_become_of_the_messages(dead: DeadLetters) -> None:
    dead.send(bounce(1), setting="SQS_QUEUE_URL")
    assert (
        defs.resolve_job_def(process_feedback.name)
        .execute_in_process(instance=dead.instance)
        .success
    )
    dead.send(bounce(1), bounce(2, "a@example.org", "b@example.org"), CONTROL, "{}", "no")
    before = dead.column("SELECT count(*) FROM public.ses_feedback_events")
    told = dead.told()
    assert told["dry_run"] is True
    assert _counts(told) == {
        "received": 5,
        "stored": 1,
        "duplicates": 1,
        "ignored": 1,
        "rejected": 2,
        "new_rows": 2,
        "reasons": [
            {"reason": "not_json", "messages": 1},
            {"reason": "not_ses", "messages": 1},
            {"reason": "topic_validated", "messages": 1},
        ],
    }
    assert told["summary"] == (
        "Dry run over 5 messages: 1 would be stored, 1 there already, 1 would be ignored, "
        "2 would still be rejected. Nothing was changed."
    )
    assert told["next_step"] == "Launch it again with dry_run: false."
    assert dead.depth() == (5, 0), "everything waits again, at once"
    assert dead.column("SELECT count(*) FROM public.ses_feedback_events") == before
    assert dead.column("SELECT sum(count) FROM public.ses_feedback_daily_totals") == [1]
    assert dead.rejects() == {}


def test_a_real_run_stores_what_it_can_and_leaves_the_rest(dead: DeadLetters) -> None:
    ids = dead.send(bounce(1), CONTROL, "{}")
    told = dead.told(dry_run=False)
    assert told["dry_run"] is False
    assert told["summary"] == "Of 3 messages: 1 stored, 1 ignored, 1 still rejected."
    assert "next_step" not in told
    assert dead.rejects() == {ids[2]: ("not_ses", "waiting")}
    assert dead.column("SELECT primary_recipient FROM public.ses_feedback_events") == [
        "person1@example.org"
    ]
    assert dead.left() == {ids[2]}


@pytest.mark.parametrize("seed", range(3))
def test_a_dry_run_predicts_the_real_one(dead: DeadLetters, seed: int) -> None:
    dead.database.execute(
        "ALTER TABLE public.ses_feedback_events ADD CHECK (primary_recipient NOT LIKE 'a%')"
    )
    bodies = _mutated(600, seed)
    ids = dead.send(*bodies)
    dead.send(*bodies[:50], setting="SQS_QUEUE_URL")
    assert (
        defs.resolve_job_def(process_feedback.name)
        .execute_in_process(instance=dead.instance)
        .success
    )
    predicted = _counts(dead.told())
    assert predicted == _counts(dead.told()), "looking changes nothing"
    assert _counts(dead.told(dry_run=False)) == predicted
    assert predicted["received"] == 600
    assert min(predicted[name] for name in COUNTS) > 0
    reasons = {each["reason"] for each in predicted["reasons"]}
    assert {"refused_by_database", "not_json", "missing_message_id"} < reasons
    waiting = {m for m, (_, resolution) in dead.rejects().items() if resolution == "waiting"}
    left = dead.left()
    assert len(left) == predicted["rejected"]
    assert left == waiting & set(ids)


@pytest.mark.parametrize(
    "bomb",
    [
        "Store.insert = kill",
        "Store.insert = after(Store.insert)",
        "Rejects.record = after(Rejects.record)",
        "Rejects.resolve_stored = after(Rejects.resolve_stored)",
        "Queue.acknowledge = kill",
        "Queue.acknowledge = half",
        "Queue.acknowledge = after(Queue.acknowledge)",
        "Queue.release = after(Queue.release)",
    ],
)
def test_killed_anywhere_and_started_again_every_message_is_in_one_place(
    dead: DeadLetters, bomb: str
) -> None:
    good, bad = [bounce(number) for number in range(40)], ["{}", "no", "[]"]
    ids = dead.send(*good, *bad)
    killed = subprocess.run(
        [sys.executable, "-c", _SUICIDE % bomb], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    while dead.told(dry_run=False)["rejected"] < len(bad) or sum(dead.depth()) > len(bad):
        pass  # what the killed run holds comes back
    assert dead.column("SELECT count(*) FROM public.ses_feedback_events") == [40]
    assert dead.column("SELECT sum(count) FROM public.ses_feedback_daily_totals") == [40]
    assert dead.left() == set(ids[40:])
    assert {m for m, (_, r) in dead.rejects().items() if r == "waiting"} == set(ids[40:])


def test_two_runs_at_once_store_each_message_once(dead: DeadLetters) -> None:
    ids = dead.send(*[bounce(number) for number in range(300)], "{}")
    running = [
        subprocess.Popen([sys.executable, "-c", _SUICIDE % ""], stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [one.wait(120) for one in running] == [0, 0]
    assert dead.column("SELECT count(*) FROM public.ses_feedback_events") == [300]
    assert dead.column("SELECT sum(count) FROM public.ses_feedback_daily_totals") == [300]
    assert dead.left() == {ids[300]}


@pytest.mark.parametrize(
    ("config", "selected"),
    [
        ({"reasons": ["not_json"]}, {"no"}),
        ({"reasons": ["not_json", "NOT_SES"]}, {"no", "{}"}),
        ({"reasons": ["readable"]}, {"bounce", "delivery"}),
        ({"reasons": ["ignored"]}, {"control"}),
        ({"kinds": ["bounce"]}, {"bounce"}),
        ({"kinds": ["Bounce", "Delivery"], "reasons": ["readable"]}, {"bounce", "delivery"}),
        ({"message_ids": ["delivery", "no"]}, {"delivery", "no"}),
        ({"received_after": "2026-01-01"}, {"bounce", "delivery", "control", "{}", "no"}),
        ({"received_before": "2026-01-01T00:00:00Z"}, set()),
        ({"received_after": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, set()),
    ],
)
def test_only_what_is_selected_is_touched(
    dead: DeadLetters, config: dict[str, Any], selected: set[str]
) -> None:
    bodies = {
        "bounce": bounce(1),
        "delivery": delivery(2),
        "control": CONTROL,
        "{}": "{}",
        "no": "no",
    }
    named = dict(zip(bodies, dead.send(*bodies.values()), strict=True))
    if "message_ids" in config:
        config = {"message_ids": [named[name] for name in config["message_ids"]]}
    told = dead.told(dry_run=False, **config)
    assert told["received"] == len(selected)
    if "message_ids" not in config:  # else it may stop when it has them all
        assert told["passed_over"] == len(bodies) - len(selected)
    good = {"bounce", "delivery", "control"} & selected
    assert set(dead.rejects()) == {named[name] for name in selected - good}
    assert dead.left() == {named[name] for name in bodies.keys() - good}


def test_a_selection_that_matches_nothing_says_so(dead: DeadLetters) -> None:
    dead.send(bounce(1), CONTROL)
    assert dead.told(reasons=["not_json"])["summary"] == (
        "No message is selected; 2 others were looked at and handed back. `dpp-feedback dlq list` "
        "shows what there is. Nothing was changed."
    )
    assert dead.depth() == (2, 0)


def test_message_ids_that_are_not_there_are_told(dead: DeadLetters) -> None:
    ids = dead.send(bounce(1), "no")
    told = dead.told(message_ids=[ids[0], "00000000-0000-0000-0000-000000000000"])
    assert told["received"] == 1
    assert "Of the 2 message ids 1 are not in the queue, are in flight, or" in told["summary"]


def test_at_most_as_many_as_asked_for_are_taken(dead: DeadLetters) -> None:
    dead.send(*[bounce(number) for number in range(30)], *["no"] * 30)
    told = dead.told(dry_run=False, max_messages=7, reasons=["readable"])
    assert told["stored"] == 7
    assert " more messages of the queue were not looked at, for max_messages" in told["summary"]
    assert dead.depth() == (53, 0)


def test_what_was_not_reached_in_time_is_told(
    dead: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead.send(bounce(1), "no")
    monkeypatch.setattr("dpp_feedback.ingest.holding_seconds", lambda *_: 0)
    assert dead.told()["summary"] == (
        "No message was received. About 2 more messages of the queue were not looked at, for "
        "max_messages or the time was used up: they wait for another run. Nothing was changed."
    )


def test_what_a_narrow_column_refused_goes_in_when_it_is_mended(dead: DeadLetters) -> None:
    dead.database.execute(
        "ALTER TABLE public.ses_feedback_events ALTER sns_message_id TYPE varchar(5)"
    )
    sns = {
        "Type": "Notification",
        "MessageId": "longer than five",
        "TopicArn": os.environ["SNS_BOUNCE_ARN"],
        "Message": bounce(1),
    }
    (message_id, other) = dead.send(json.dumps(sns), delivery(2))
    assert dead.told()["rejected"] == 1
    assert dead.told(dry_run=False, message_ids=[message_id])["rejected"] == 1
    assert dead.rejects() == {message_id: ("refused_by_database", "waiting")}
    (detail,) = dead.column("SELECT detail FROM public.ses_feedback_rejects")
    assert detail == "StringDataRightTruncation (22001)"
    dead.database.execute("ALTER TABLE public.ses_feedback_events ALTER sns_message_id TYPE text")
    told = dead.told(dry_run=False, reasons=["refused_by_database"])
    assert (told["stored"], told["passed_over"]) == (1, 1)
    assert dead.rejects() == {message_id: ("refused_by_database", "reprocessed")}
    assert dead.column("SELECT resolved_by FROM public.ses_feedback_rejects") == [
        "launched in Dagster"
    ]
    assert dead.left() == {other}


def test_a_run_of_the_main_job_records_what_it_rejects(dead: DeadLetters) -> None:
    (message_id,) = dead.send("no", setting="SQS_QUEUE_URL")
    job = defs.resolve_job_def(process_feedback.name)
    run = job.execute_in_process(instance=dead.instance)
    assert dead.rejects() == {message_id: ("not_json", "waiting")}
    assert dead.column("SELECT last_run_id FROM public.ses_feedback_rejects") == [run.run_id]
    assert dead.column("SELECT queue FROM public.ses_feedback_rejects") == [
        dead.environment["SQS_QUEUE_URL"].rpartition("/")[2]
    ]
    assert job.execute_in_process(instance=dead.instance).success
    assert dead.column("SELECT times_seen FROM public.ses_feedback_rejects") == [2]


def test_what_the_parser_rejected_and_now_ignores_is_resolved(dead: DeadLetters) -> None:
    (message_id,) = dead.send(CONTROL)
    dead.database.execute(
        """INSERT INTO public.ses_feedback_rejects
           (message_id, body_sha256, body_bytes, reason, detail, queue, sent_at, parser_version)
           VALUES (%s, repeat('0', 64), 9, 'not_json', 'no', 'q', now(), 0)""",
        [message_id],
    )
    assert dead.told(dry_run=False)["ignored"] == 1
    assert dead.rejects() == {message_id: ("not_json", "reprocessed")}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"reasons": ["not_jsn"]}, "not_json"),
        ({"message_ids": [" "]}, "message_ids has an empty value, which would select everything"),
        ({"kinds": [""]}, "kinds has an empty value"),
        ({"reasons": ["readable", ""]}, "reasons has an empty value"),
        ({"received_after": ""}, "received_after is '', no time"),
        ({"max_messages": 0}, "max_messages is 0: write a number from 1 to 100,000."),
        ({"received_after": "yesterday"}, "received_after"),
        ({"received_after": "2026-02-18", "received_before": "2026-02-17"}, "received_before"),
    ],
)
def test_config_is_checked_before_anything_moves(
    dead: DeadLetters, config: dict[str, Any], said: str
) -> None:
    dead.send(bounce(1))
    assert said in failure(dead.run(dry_run=False, **config))
    assert dead.depth() == (1, 0)
    assert dead.column("SELECT count(*) FROM public.ses_feedback_dlq_actions") == [0]


def test_a_main_queue_named_by_mistake_is_refused(
    dead: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead.send(bounce(1), setting="SQS_QUEUE_URL")
    monkeypatch.setenv("SQS_DLQ_URL", dead.environment["SQS_QUEUE_URL"])
    assert failure(dead.run()).startswith("The queue of SQS_DLQ_URL has a redrive policy")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("-missing", "SQS_DLQ_URL names a queue that does not exist"),
        (".fifo", "SQS_DLQ_URL names a FIFO queue"),
        ("", "SQS_DLQ_URL is not set."),
    ],
)
def test_a_queue_that_cannot_be_is_named(
    dead: DeadLetters, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv("SQS_DLQ_URL", dead.url + url if url else "")
    assert failure(dead.run()).startswith(said)


def test_while_the_database_is_away_no_dead_letter_is_received(
    dead: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead.send(bounce(1))
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:1/db")
    assert failure(dead.run(dry_run=False)).startswith("The database of DATABASE_URL does not")
    assert dead.depth() == (1, 0)


def test_each_run_is_recorded_in_a_table_and_in_its_tags(dead: DeadLetters) -> None:
    ids = dead.send(bounce(1), delivery(2), "no")
    dead.told(reasons=["readable"])
    job = defs.resolve_job_def(NAME)
    run = job.execute_in_process(
        run_config={"dry_run": False, "message_ids": ids, "kinds": ["Bounce"]},
        instance=dead.instance,
        tags={"dpp_feedback/actor": f"{ROLE}/jane.doe@example.com"},
    )
    found = dead.database.execute(
        """SELECT action, actor, selection, dry_run, run_id, moved, counts, error
           FROM public.ses_feedback_dlq_actions
           WHERE finished_at >= started_at ORDER BY started_at"""
    ).fetchall()
    looked, moved = found
    assert looked[:4] == ("reprocess", "launched in Dagster", {"reasons": ["readable"]}, True)
    assert looked[5:] == (0, {"stored": 2, "duplicates": 0, "ignored": 0, "rejected": 0}, None)
    assert moved[0:2] == ("reprocess", f"{ROLE}/jane.doe@example.com")
    assert moved[2] == {"kinds": ["Bounce"], "message_ids": sorted(ids)}
    assert moved[3:6] == (False, run.run_id, 1)
    stored = dead.instance.get_run_by_id(run.run_id)
    assert stored
    tags = {k.partition("/")[2]: v for k, v in stored.tags.items() if k.startswith("dpp_feedback/")}
    assert tags == {
        "actor": f"{ROLE}/j***@example.com",
        "dry_run": "false",
        "selection": "kinds: Bounce; message_ids: 3",
        "moved": "1",
        "result": "1 stored",
    }


def test_what_could_not_be_deleted_is_in_the_record(
    dead: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead.send(bounce(1), bounce(2), "no")
    acknowledge = Queue.acknowledge

    def all_but_one(queue: Queue, messages: Sequence[Message]) -> dict[str, str]:
        return acknowledge(queue, messages[1:]) | {messages[0].id: "Denied."}

    monkeypatch.setattr(Queue, "acknowledge", all_but_one)
    assert dead.run(dry_run=False).success
    record = dead.database.execute(
        "SELECT moved, counts->'stored', error FROM public.ses_feedback_dlq_actions"
    ).fetchall()
    assert record == [(1, 2, "1 of 2 messages could not be deleted")]


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("where", "config", "error"),
    [
        ("queue.Queue.receive", {}, AwsUnavailable("SQS is away.")),
        ("drained.parse", {}, ZeroDivisionError("jane@example.org")),
        ("store.Store.insert", {}, DatabaseRefused("Postgres refuses.")),
        ("ingest.sorted_out", {"reasons": ["readable"]}, ZeroDivisionError("jane@example.org")),
    ],
)
def test_a_run_that_fails_hands_back_at_once_and_finishes_its_record(
    dead: DeadLetters,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    config: dict[str, Any],
    error: Exception,
    dry_run: bool,
) -> None:
    dead.hold_for(600)
    dead.send(bounce(1), "no")

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(f"dpp_feedback.{where}", fail)
    assert not dead.run(dry_run=dry_run, **config).success
    assert dead.depth() == (2, 0)
    said = str(error) if isinstance(error, FeedbackError) else "ZeroDivisionError"
    assert dead.column("SELECT error FROM public.ses_feedback_dlq_actions") == [said]
    assert dead.column("SELECT moved FROM public.ses_feedback_dlq_actions") == [0]
    assert dead.column("SELECT finished_at IS NULL FROM public.ses_feedback_dlq_actions") == [False]


def test_a_run_that_cannot_delete_finishes_its_record_and_hands_the_rest_back(
    dead: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead.hold_for(600)
    dead.send(bounce(1), "no")

    def fail(*_: Any) -> None:
        raise AwsUnavailable("SQS is away.")

    monkeypatch.setattr(Queue, "acknowledge", fail)
    assert failure(dead.run(dry_run=False)) == "SQS is away."
    assert dead.depth() == (2, 0)
    acts = dead.database.execute(
        "SELECT moved, counts->'stored', error FROM public.ses_feedback_dlq_actions"
    ).fetchall()
    assert acts == [(None, 1, "SQS is away.")]


def test_a_run_whose_database_goes_away_leaves_its_record_open(
    dead: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead.hold_for(600)
    dead.send(bounce(1))

    def fail(*_: Any, **__: Any) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:1/db")
        raise DatabaseRefused("Postgres refuses.")

    monkeypatch.setattr(Store, "insert", fail)
    assert failure(dead.run(dry_run=False)) == "Postgres refuses."
    assert dead.depth() == (1, 0)
    assert dead.column("SELECT finished_at FROM public.ses_feedback_dlq_actions") == [None]


def test_a_failed_run_is_seen_by_who_started_it_and_alerts_nobody(
    dead: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres@127.0.0.1:1/db")
    stored = dead.instance.get_run_by_id(dead.run().run_id)
    assert stored
    assert started_by_hand(stored)
