"""The dead-letter queue's health: the asset, its check and its sensor, over a real SQS endpoint.

What a redrive is said to be is tested on values; test_move_tasks.py makes real ones.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from dpp_feedback.assets.dlq import dlq_health
from dpp_feedback.assets.dlq_examine import Health, examine
from dpp_feedback.definitions import defs
from dpp_feedback.dlq_sensor import Seen, dlq_health_sensor, reason_to_wait
from dpp_feedback.feedback.parser import PARSER_VERSION
from dpp_feedback.messages import sha256_of, size_of
from dpp_feedback.rejects import Reject, Resolution
from dpp_feedback.resources import FeedbackQueue, FeedbackStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg
    from mypy_boto3_sqs import SQSClient

    from dpp_feedback.rejects import RejectRow

    Database = psycopg.Connection[tuple[Any, ...]]

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOSTILE = (
    "",
    "no JSON",
    "[" * 100_000,
    '{"a": 1e999}',
    '{"notificationType": "Bounce"}',
    '{"notificationType": ["secret@example.org"]}',
    "null",
    '"\\ud800"',
    "\U0001f4a3" * 1000,
)
CONTROL = "Successfully validated SNS topic for Amazon SES event publishing."
DELIVERY = json.dumps(
    {
        "notificationType": "Delivery",
        "delivery": {
            "recipients": ["secret@example.org"],
            "timestamp": "2026-02-17T08:30:00.000Z",
        },
        "mail": {"messageId": "0100-mail", "source": "news@example.com"},
    }
)


class DeadLetters:
    """The dead-letter queue of a test."""

    def __init__(self, sqs: SQSClient, environment: dict[str, str]) -> None:
        self._sqs = sqs
        self.url = environment["SQS_DLQ_URL"]

    def send(self, bodies: Sequence[str]) -> list[str]:
        """Put messages into the queue, and return their ids."""
        ids = []
        waiting = [body for body in bodies if body]  # SQS itself takes no empty body
        for start in range(0, len(waiting), 10):
            sent = self._sqs.send_message_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(i), "MessageBody": body}
                    for i, body in enumerate(waiting[start : start + 10])
                ],
            )
            ids += [each["MessageId"] for each in sent["Successful"]]
        return ids

    def depth(self) -> tuple[int, int]:
        depth = FeedbackQueue(setting="SQS_DLQ_URL").connect().depth()
        return depth.waiting, depth.in_flight

    def set(self, **attributes: str) -> None:
        self._sqs.set_queue_attributes(QueueUrl=self.url, Attributes=attributes)  # type: ignore[arg-type]


@pytest.fixture
def dead_letters(sqs: SQSClient, environment: dict[str, str]) -> DeadLetters:
    return DeadLetters(sqs, environment)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def _made(instance: dg.DagsterInstance) -> tuple[dict[str, Any], dg.AssetCheckEvaluation]:
    """Make the asset, and return its metadata and its check `dlq_empty`."""
    metadata, empty, _ = _looked(instance)
    return metadata, empty


def _looked(
    instance: dg.DagsterInstance,
) -> tuple[dict[str, Any], dg.AssetCheckEvaluation, dg.AssetCheckEvaluation]:
    """Make the asset, and return its metadata and its checks `dlq_empty` and `dlq_expiring`."""
    result = dg.materialize(
        [dlq_health],
        resources={
            "queue": FeedbackQueue(),
            "dead_letter_queue": FeedbackQueue(setting="SQS_DLQ_URL"),
            "store": FeedbackStore(),
        },
        instance=instance,
    )
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert set(checks) == {"dlq_empty", "dlq_expiring"}
    said = {name: getattr(value, "value", value) for name, value in metadata.items()}
    return said, checks["dlq_empty"], checks["dlq_expiring"]


def _rejected(
    message_id: str,
    body: str = "no JSON",
    *,
    reason: str = "not_json",
    older: bool = False,
    sent_at: datetime | None = None,
) -> None:
    """Record a message as rejected; by an older parser, if need be."""
    reject = Reject(
        message_id=message_id,
        body_sha256=sha256_of(body),
        body_bytes=size_of(body),
        body=body,
        reason=reason,
        detail="what it was then",
        kind=None,
        topic_arn=None,
        queue="queue",
        sent_at=sent_at or datetime.now(UTC),
    )
    with FeedbackStore().connect() as store:
        store.rejects.record([reject], run_id="an earlier run")
        if older:
            store._connection.execute(
                "UPDATE public.ses_feedback_rejects SET parser_version = 0 WHERE message_id = %s",
                [message_id],
            )


def _row(message_id: str) -> RejectRow:
    with FeedbackStore().connect() as store:
        return store.rejects.find([message_id])[message_id]


@pytest.mark.usefixtures("database")
def test_an_empty_queue_is_healthy(instance: dg.DagsterInstance, dead_letters: DeadLetters) -> None:
    assert dead_letters.depth() == (0, 0)
    metadata, empty, expiring = _looked(instance)
    assert empty.passed
    assert empty.description == "The dead-letter queue is empty."
    assert expiring.passed
    assert expiring.description == "SQS deletes no message within 3 days."
    assert metadata == {
        "messages": 0,
        "waiting": 0,
        "in_flight": 0,
        "looked_at": 0,
        "readable": 0,
        "ignored": 0,
        "rejected_by_older_parser": 0,
        "expiring": 0,
        "expired": 0,
        "retention_days": 14.0,
        "redrive": "none so far",
        "fed_by_main_queue": "yes",
    }


@pytest.mark.usefixtures("database")
def test_messages_are_counted_by_why_they_lie_there_and_stay(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    *_, refused = dead_letters.send(["no JSON", "neither", "{}", DELIVERY, CONTROL, DELIVERY])
    _rejected(refused, DELIVERY, reason="refused_by_database")
    metadata, empty, expiring = _looked(instance)
    assert not empty.passed
    assert empty.severity is dg.AssetCheckSeverity.ERROR
    assert empty.description == (
        "6 messages lie in the dead-letter queue, not stored: 2 not_json, 1 ignored, 1 not_ses, "
        "1 readable, 1 refused_by_database. The oldest is 0 minutes old; SQS deletes it in 13 "
        'days. Launch the job reprocess_dlq with {"dry_run": true, "reasons": ["readable", '
        '"ignored"]}, and then with "dry_run": false, to store what is readable. What is '
        "refused_by_database: mend the database, and launch reprocess_dlq with "
        '{"dry_run": true, "reasons": ["refused_by_database"]}; the dry run says whether it takes '
        "them now. What the parser rejects would come back here: `dpp-feedback dlq list` names "
        'each. What each reason asks for: docs/runbook.md, section "Dead-letter queue".'
    )
    assert [dict(record.data) for record in metadata["reasons"].records] == [
        {"reason": "not_json", "messages": 2},
        {"reason": "ignored", "messages": 1},
        {"reason": "not_ses", "messages": 1},
        {"reason": "readable", "messages": 1},
        {"reason": "refused_by_database", "messages": 1},
    ]
    assert metadata["messages"] == metadata["looked_at"] == 6
    assert metadata["readable"] == metadata["ignored"] == 1
    assert 0 <= metadata["oldest_age_seconds"] < 3600
    assert 13.9 < metadata["oldest_days_left"] <= 14
    assert not {"partial_because", "not_known_because"} & metadata.keys()
    assert expiring.passed
    assert dead_letters.depth() == (6, 0)
    assert _row(refused).times_seen == 1


@pytest.mark.usefixtures("database")
def test_the_offered_config_stores_what_is_readable_and_nothing_else(
    instance: dg.DagsterInstance, dead_letters: DeadLetters, database: Database
) -> None:
    dead_letters.send(["no JSON", DELIVERY, CONTROL])
    config = _made(instance)[0]["launchpad_of_reprocess_dlq"]
    assert config == {"dry_run": True, "reasons": ["readable", "ignored"]}
    job = defs.resolve_job_def("reprocess_dlq")
    count = "SELECT count(*) FROM public.ses_feedback_events"
    assert job.execute_in_process(run_config=config, instance=instance).success
    assert (database.execute(count).fetchall(), dead_letters.depth()) == ([(0,)], (3, 0))
    really = {**config, "dry_run": False}
    assert job.execute_in_process(run_config=really, instance=instance).success
    assert (database.execute(count).fetchall(), dead_letters.depth()) == ([(1,)], (1, 0))
    metadata, empty = _made(instance)
    assert "launchpad_of_reprocess_dlq" not in metadata
    assert "Launch the job" not in str(empty.description)


@pytest.mark.usefixtures("database")
def test_hostile_bodies_do_not_break_the_look(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    dead_letters.send(HOSTILE)
    metadata, empty, expiring = _looked(instance)
    assert metadata["looked_at"] == len(HOSTILE) - 1
    assert metadata["readable"] == 0
    assert "secret" not in f"{metadata}{empty}{expiring}"
    assert dead_letters.depth() == (len(HOSTILE) - 1, 0)


# How far it looks


@pytest.mark.usefixtures("database")
def test_a_thousand_messages_are_looked_at_and_all_stay(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    dead_letters.send([f"body {i}" for i in range(1200)])
    metadata, empty, expiring = _looked(instance)
    assert metadata["messages"] == 1200
    assert metadata["looked_at"] == 1000
    assert metadata["partial_because"] == "The look was stopped after 1,000 messages."
    assert str(empty.description).startswith(
        "1,200 messages lie in the dead-letter queue, not stored. Of 1,000 looked at: 1,000 "
        "not_json. The oldest is at least 0 minutes old;"
    )
    assert expiring.description == (
        "SQS deletes none of the 1,000 messages looked at within 3 days."
    )
    assert dead_letters.depth() == (1200, 0)


@pytest.mark.usefixtures("database")
def test_after_a_change_of_the_parser_it_looks_at_more_until_all_are_judged_anew(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    *_, last = dead_letters.send([f"body {i}" for i in range(1200)])
    _rejected(last, older=True)
    metadata, _ = _made(instance)
    assert metadata["looked_at"] == 1200
    assert metadata["rejected_by_older_parser"] == 1
    assert _row(last).parser_version == PARSER_VERSION
    metadata, _ = _made(instance)
    assert metadata["looked_at"] == 1000
    assert dead_letters.depth() == (1200, 0)


@pytest.mark.usefixtures("database")
def test_messages_in_flight_make_a_look_partial(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    dead_letters.send(["no JSON"])
    with FeedbackQueue(setting="SQS_DLQ_URL").connect().look() as another:
        next(another)
        metadata, empty, expiring = _looked(instance)
    assert metadata["messages"] == 1
    assert metadata["partial_because"].startswith("1 message was in flight and could not be seen")
    assert not empty.passed
    assert not expiring.passed
    assert expiring.severity is dg.AssetCheckSeverity.WARN
    assert str(expiring.description).startswith("Nobody knows when SQS deletes them. 1 message was")


@pytest.mark.usefixtures("database")
def test_two_looks_at_once_lose_no_message(dead_letters: DeadLetters) -> None:
    dead_letters.send([f"body {i}" for i in range(60)])

    def look(_: int) -> Health:
        own = FeedbackQueue(setting="SQS_DLQ_URL").connect()
        return examine(own, FeedbackQueue(), FeedbackStore(), datetime.now(UTC))

    with ThreadPoolExecutor(2) as pool:
        looks = list(pool.map(look, range(2)))
    assert sum(health.looked_at for health in looks) >= 60
    assert all(health.messages == 60 for health in looks)
    assert dead_letters.depth() == (60, 0)


@pytest.mark.usefixtures("database")
def test_a_queue_with_a_redrive_policy_of_its_own_is_not_received_from(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    main = FeedbackQueue().connect().arn()
    policy = {"deadLetterTargetArn": main, "maxReceiveCount": 1}
    dead_letters.set(RedrivePolicy=json.dumps(policy))
    dead_letters.send(["no JSON"])
    metadata, empty, expiring = _looked(instance)
    assert not empty.passed
    assert not expiring.passed
    assert metadata["looked_at"] == 0
    assert metadata["partial_because"].startswith("The dead-letter queue has a redrive policy")
    assert dead_letters.depth() == (1, 0)


# What the rejects table adds, and learns


@pytest.mark.usefixtures("database")
def test_what_a_new_parser_reads_is_said_and_what_it_rejects_is_judged_anew(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    readable, ignored, still, refused = dead_letters.send([DELIVERY, CONTROL, "{}", DELIVERY])
    for message_id in (readable, ignored, still):
        _rejected(message_id, older=True)
    _rejected(refused, reason="refused_by_database", older=True)
    metadata, empty = _made(instance)
    assert metadata["rejected_by_older_parser"] == 4
    assert (
        "The parser has changed since it rejected 4 messages that wait: of what lies here, 2 would "
        'be stored or ignored now. Launch the job reprocess_dlq with {"dry_run": true, "reasons": '
        '["readable", "ignored"]}'
    ) in str(empty.description)
    assert metadata["launchpad_of_reprocess_dlq"]["dry_run"] is True
    judged = _row(still)
    assert (judged.reason, judged.parser_version) == ("not_ses", PARSER_VERSION)
    assert judged.detail != "what it was then"
    assert (judged.times_seen, judged.last_run_id) == (1, "an earlier run")
    judged = _row(refused)
    assert (judged.reason, judged.parser_version) == ("refused_by_database", PARSER_VERSION)
    assert judged.detail == "what it was then"
    for message_id in (readable, ignored):
        assert _row(message_id).parser_version == 0
        assert _row(message_id).resolution is Resolution.WAITING
    assert _made(instance)[0]["rejected_by_older_parser"] == 2


@pytest.mark.usefixtures("database")
def test_rows_whose_message_sqs_has_deleted_become_expired(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    now = datetime.now(UTC)
    (there,) = dead_letters.send(["no JSON"])
    _rejected(there, sent_at=now - timedelta(days=20))
    _rejected("gone", sent_at=now - timedelta(days=14, hours=2))
    _rejected("perhaps", sent_at=now - timedelta(days=14, minutes=30))
    metadata, _ = _made(instance)
    assert metadata["expired"] == 1
    gone = _row("gone")
    assert gone.resolution is Resolution.EXPIRED
    assert gone.resolved_run_id is not None
    assert {_row(name).resolution for name in (there, "perhaps")} == {Resolution.WAITING}
    assert _made(instance)[0]["expired"] == 0


def test_kept_bodies_go_when_their_time_is_over(
    instance: dg.DagsterInstance, dead_letters: DeadLetters, database: Database
) -> None:
    # What is kept is encrypted by pgcrypto, which the Postgres of the tests does not have; these
    # bytes are as good as any.
    for name in ("old", "young"):
        _rejected(name)
        database.execute(
            "UPDATE public.ses_feedback_rejects SET body = 'x', body_kept_until = now() + "
            "make_interval(mins => %s) WHERE message_id = %s",
            [1 if name == "young" else -1, name],
        )
    assert dead_letters.depth() == (0, 0)
    _made(instance)
    kept = "SELECT message_id FROM public.ses_feedback_rejects WHERE body IS NOT NULL"
    assert database.execute(kept).fetchall() == [("young",)]


def test_a_database_that_is_not_migrated_takes_nothing_from_the_look(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    dead_letters.send(["no JSON", DELIVERY])
    metadata, empty, expiring = _looked(instance)
    assert metadata["looked_at"] == 2
    assert metadata["readable"] == 1
    assert expiring.passed
    why = metadata["not_known_because"]
    assert "Run `dpp-feedback migrate`." in why
    assert why.endswith(
        "So messages that the database refused count as readable, and what an older parser "
        "rejected is not known."
    )
    assert str(empty.description).endswith(why)


def test_a_database_that_is_away_takes_nothing_from_the_look(
    instance: dg.DagsterInstance, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letters.send(["no JSON", DELIVERY])
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:password@127.0.0.1:1/database")
    metadata, _ = _made(instance)
    assert metadata["looked_at"] == 2
    assert metadata["not_known_because"].startswith("The database of DATABASE_URL does not answer")
    assert "password" not in f"{metadata}"
    monkeypatch.delenv("DATABASE_URL")
    metadata, _ = _made(instance)
    assert metadata["looked_at"] == 2
    assert metadata["not_known_because"].startswith("DATABASE_URL is not set.")


@pytest.mark.usefixtures("database")
def test_a_rejects_table_that_may_only_be_read_tells_what_it_knows(
    instance: dg.DagsterInstance,
    dead_letters: DeadLetters,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (refused,) = dead_letters.send([DELIVERY])
    _rejected(refused, reason="refused_by_database")
    url = environment["DATABASE_URL"]
    options = "options=-cdefault_transaction_read_only%3Don"
    monkeypatch.setenv("DATABASE_URL", f"{url}{'&' if '?' in url else '?'}{options}")
    metadata, _ = _made(instance)
    assert [dict(record.data) for record in metadata["reasons"].records] == [
        {"reason": "refused_by_database", "messages": 1}
    ]
    why = metadata["not_known_because"]
    assert why.startswith("The database of DATABASE_URL is read-only")
    assert why.endswith("So bodies whose time is over are still kept.")


# Before SQS deletes them


@pytest.mark.usefixtures("database")
def test_messages_that_sqs_deletes_within_three_days_fail_a_check_of_their_own(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    dead_letters.send(["no JSON", DELIVERY])
    dead_letters.set(MessageRetentionPeriod=str(3 * 86_400))
    metadata, _, expiring = _looked(instance)
    assert not expiring.passed
    assert expiring.severity is dg.AssetCheckSeverity.ERROR
    assert str(expiring.description).startswith(
        "SQS deletes 2 messages within 3 days, the first in 2 days. To gain time, raise the "
        "MessageRetentionPeriod of the dead-letter queue: it is 3 days, and may be 14 days. "
        "Launch the job reprocess_dlq with "
    )
    assert expiring.metadata["expiring"].value == metadata["expiring"] == 2
    assert metadata["first_deleted_at"] - datetime.now(UTC).timestamp() == pytest.approx(
        3 * 86_400, abs=3600
    )
    dead_letters.set(MessageRetentionPeriod=str(3 * 86_400 + 7200))
    metadata, _, expiring = _looked(instance)
    assert expiring.passed
    assert metadata["expiring"] == 0
    assert dead_letters.depth() == (2, 0)


@pytest.mark.usefixtures("database")
def test_of_many_messages_at_least_so_many_are_deleted_soon(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    dead_letters.send([f"body {i}" for i in range(1010)])
    dead_letters.set(MessageRetentionPeriod="7200")
    _, _, expiring = _looked(instance)
    assert not expiring.passed
    assert str(expiring.description).startswith(
        "SQS deletes at least 1,000 messages within 3 days, the first at the latest in 119 minutes."
    )


# What else may be wrong


@pytest.mark.usefixtures("database")
def test_a_main_queue_that_feeds_another_queue_is_said(
    instance: dg.DagsterInstance,
    dead_letters: DeadLetters,
    environment: dict[str, str],
    sqs: SQSClient,
) -> None:
    assert dead_letters.depth() == (0, 0)
    sqs.set_queue_attributes(
        QueueUrl=environment["SQS_QUEUE_URL"], Attributes={"RedrivePolicy": ""}
    )
    metadata, empty = _made(instance)
    assert metadata["fed_by_main_queue"] == "no"
    assert "The main queue's redrive policy does not name this queue" in str(empty.description)


@pytest.mark.usefixtures("database")
def test_without_the_main_queue_the_dead_letters_are_looked_at_all_the_same(
    instance: dg.DagsterInstance, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letters.send(["no JSON"])
    monkeypatch.delenv("SQS_QUEUE_URL")
    metadata, _ = _made(instance)
    assert metadata["looked_at"] == 1
    assert metadata["fed_by_main_queue"] == "not known"
    assert metadata["not_known_because"].startswith("SQS_QUEUE_URL is not set.")


def test_a_missing_queue_fails_with_its_setting_and_no_stack_trace(
    instance: dg.DagsterInstance, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQS_DLQ_URL", environment["SQS_DLQ_URL"] + "-missing")
    with pytest.raises(dg.Failure, match="SQS_DLQ_URL names a queue that does not exist"):
        _made(instance)


# The sensor


def _tick(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[Any, str | None]:
    """Return the run requests, or why there is none; and the cursor."""
    with dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        resources={"dead_letter_queue": FeedbackQueue(setting="SQS_DLQ_URL")},
        definitions=defs,
    ) as context:
        data = dlq_health_sensor.evaluate_tick(context)
    return list(data.run_requests or []) or data.skip_message, data.cursor


def test_the_sensor_asks_for_a_run_when_the_depth_has_changed_and_only_then(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    first, cursor = _tick(instance)
    assert [request.asset_selection for request in first] == [[dlq_health.key]]
    assert first[0].run_key is None
    again, _ = _tick(instance, cursor)
    assert again.startswith("0 in the dead-letter queue, as at the last look at ")
    dead_letters.send(["no JSON"])
    changed, cursor = _tick(instance, cursor)
    assert len(changed) == 1
    assert Seen.read(cursor) is not None
    assert "no JSON" not in f"{changed}{cursor}"
    assert dead_letters.depth() == (1, 0)


def test_the_sensor_waits_for_a_run_under_way(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    dead_letters.send(["no JSON"])
    instance.create_run_for_job(
        job_def=defs.resolve_job_def("process_feedback"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/sensor_name": "dlq_health_sensor"},
    )
    said, _ = _tick(instance)
    assert said == "1 in the dead-letter queue; dlq_health is being made."


def test_the_sensor_names_a_missing_setting(
    instance: dg.DagsterInstance, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment
    monkeypatch.delenv("SQS_DLQ_URL")
    said, _ = _tick(instance)
    assert said.startswith("SQS_DLQ_URL is not set.")


@pytest.mark.parametrize(
    ("seen", "wait"),
    [
        (Seen(3, NOW - timedelta(hours=23)), True),
        (Seen(3, NOW - timedelta(hours=24)), False),
        (Seen(2, NOW - timedelta(minutes=1)), False),
        (Seen(4, NOW - timedelta(minutes=1)), False),
        (Seen(3, NOW - timedelta(minutes=1), PARSER_VERSION - 1), False),
        (None, False),
    ],
)
def test_a_run_is_needed_when_depth_or_parser_change_and_once_a_day(
    seen: Seen | None, wait: bool
) -> None:
    assert (reason_to_wait(3, seen, NOW) is not None) is wait


OLD = '{"messages": 1, "at": "2026-11-20T12:00:00+00:00"}'


@pytest.mark.parametrize("cursor", [None, "", "7", "{}", "[]", '{"messages": 1, "at": "x"}', OLD])
def test_a_cursor_that_cannot_be_read_is_none(cursor: str | None) -> None:
    assert Seen.read(cursor) is None
    seen = Seen(7, NOW, 3)
    assert Seen.read(seen.written()) == seen
