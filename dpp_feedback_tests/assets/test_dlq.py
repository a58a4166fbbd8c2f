"""The dead-letter queue's health: the asset, its check and its sensor, over a real SQS endpoint.

ministack lacks ListMessageMoveTasks; what a redrive is said to be is tested on values.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from dpp_feedback.assets.dlq import READABLE, Health, dlq_health, examine, in_words
from dpp_feedback.definitions import defs
from dpp_feedback.dlq_sensor import Seen, dlq_health_sensor, reason_to_wait
from dpp_feedback.queue import MoveTask
from dpp_feedback.resources import FeedbackQueue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_sqs import SQSClient

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

    def send(self, bodies: Sequence[str]) -> None:
        waiting = [body for body in bodies if body]  # SQS itself takes no empty body
        for start in range(0, len(waiting), 10):
            self._sqs.send_message_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(i), "MessageBody": body}
                    for i, body in enumerate(waiting[start : start + 10])
                ],
            )

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
    """Make the asset, and return its metadata and its check."""
    result = dg.materialize(
        [dlq_health],
        resources={
            "queue": FeedbackQueue(),
            "dead_letter_queue": FeedbackQueue(setting="SQS_DLQ_URL"),
        },
        instance=instance,
    )
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    (check,) = result.get_asset_check_evaluations()
    return {name: getattr(value, "value", value) for name, value in metadata.items()}, check


def test_an_empty_queue_is_healthy(instance: dg.DagsterInstance, dead_letters: DeadLetters) -> None:
    assert dead_letters.depth() == (0, 0)
    metadata, check = _made(instance)
    assert check.passed
    assert check.description == "The dead-letter queue is empty."
    assert metadata == {
        "messages": 0,
        "waiting": 0,
        "in_flight": 0,
        "sampled": 0,
        "readable_now": 0,
        "retention_days": 14.0,
        "redrive": "not known: SQS does not say, or the role may not call sqs:ListMessageMoveTasks",
        "fed_by_main_queue": "yes",
    }


def test_messages_are_counted_by_why_the_parser_rejects_them_and_stay(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    dead_letters.send(["no JSON", "neither", "{}", DELIVERY])
    metadata, check = _made(instance)
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.ERROR
    assert check.description
    assert check.description.startswith(
        "4 messages lie in the dead-letter queue, not stored. "
        "Of 4 sampled: 2 not_json, 1 not_ses, 1 readable now. The oldest is 0 minutes old; SQS "
        "deletes it in 13 days. Some of them are readable now: start a redrive to SQS_QUEUE_URL"
    )
    assert [dict(record.data) for record in metadata["reasons"].records] == [
        {"reason": "not_json", "messages": 2},
        {"reason": "not_ses", "messages": 1},
        {"reason": "readable now", "messages": 1},
    ]
    assert metadata["messages"] == metadata["sampled"] == 4
    assert 0 <= metadata["oldest_age_seconds"] < 3600
    assert 13.9 < metadata["oldest_days_left"] <= 14
    assert dead_letters.depth() == (4, 0)


def test_hostile_bodies_do_not_break_the_look(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    dead_letters.send(HOSTILE)
    metadata, check = _made(instance)
    assert metadata["sampled"] == len(HOSTILE) - 1
    assert metadata["readable_now"] == 0
    assert "secret" not in f"{metadata}{check}"
    assert dead_letters.depth() == (len(HOSTILE) - 1, 0)


def test_of_a_thousand_messages_a_hundred_are_looked_at_and_all_stay(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    dead_letters.send([f"body {i}" for i in range(1000)])
    metadata, check = _made(instance)
    assert metadata["messages"] == 1000
    assert metadata["sampled"] == 100
    assert check.description
    assert check.description.startswith("1,000 messages lie in the dead-letter queue, not stored.")
    assert "The oldest is at least 0 minutes old" in check.description
    assert dead_letters.depth() == (1000, 0)


def test_two_looks_at_once_lose_no_message(dead_letters: DeadLetters) -> None:
    dead_letters.send([f"body {i}" for i in range(60)])

    def look(_: int) -> Health:
        own = FeedbackQueue(setting="SQS_DLQ_URL").connect()
        return examine(own, FeedbackQueue(), datetime.now(UTC))

    with ThreadPoolExecutor(2) as pool:
        looks = list(pool.map(look, range(2)))
    assert sum(health.sampled for health in looks) >= 60
    assert all(health.messages == 60 for health in looks)
    assert dead_letters.depth() == (60, 0)


def test_a_queue_with_a_redrive_policy_of_its_own_is_not_received_from(
    instance: dg.DagsterInstance, dead_letters: DeadLetters
) -> None:
    main = FeedbackQueue().connect().arn()
    policy = {"deadLetterTargetArn": main, "maxReceiveCount": 1}
    dead_letters.set(RedrivePolicy=json.dumps(policy))
    dead_letters.send(["no JSON"])
    metadata, check = _made(instance)
    assert not check.passed
    assert metadata["sampled"] == 0
    assert metadata["not_known_because"].startswith("The dead-letter queue has a redrive policy")
    assert dead_letters.depth() == (1, 0)


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
    metadata, check = _made(instance)
    assert metadata["fed_by_main_queue"] == "no"
    assert check.description
    assert "The main queue's redrive policy does not name this queue" in check.description


def test_without_the_main_queue_the_dead_letters_are_looked_at_all_the_same(
    instance: dg.DagsterInstance, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letters.send(["no JSON"])
    monkeypatch.delenv("SQS_QUEUE_URL")
    metadata, _ = _made(instance)
    assert metadata["sampled"] == 1
    assert metadata["fed_by_main_queue"] == "not known"
    assert metadata["not_known_because"].startswith("SQS_QUEUE_URL is not set.")


def test_a_missing_queue_fails_with_its_setting_and_no_stack_trace(
    instance: dg.DagsterInstance, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQS_DLQ_URL", environment["SQS_DLQ_URL"] + "-missing")
    with pytest.raises(dg.Failure, match="SQS_DLQ_URL names a queue that does not exist"):
        _made(instance)


HEALTH = Health(
    waiting=3,
    in_flight=0,
    reasons={"not_json": 3},
    sampled=3,
    partial=False,
    oldest_age=timedelta(hours=50),
    retention=timedelta(days=14),
    move_task=None,
    fed=True,
    why_not="",
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reasons": {READABLE: 3}}, "The parser reads them now: start a redrive to SQS_QUEUE_URL"),
        ({}, "A redrive would bring them back here: find out what sends them"),
        ({"move_task": MoveTask("RUNNING", 1, 3)}, "A redrive is moving them back now"),
        ({"oldest_age": timedelta(days=15)}, "The oldest is 15 days old; SQS deletes it any mo"),
        ({}, "The oldest is 2 days old; SQS deletes it in 11 days."),
        ({"waiting": 1, "sampled": 1}, "1 message lies in the dead-letter queue"),
        (
            {"waiting": 0, "in_flight": 9, "sampled": 0, "reasons": {}, "oldest_age": None},
            "9 messages lie in the dead-letter queue, not stored. See in the log",
        ),
    ],
)
def test_the_check_says_how_it_stands_and_what_to_do(changes: dict[str, Any], said: str) -> None:
    assert said in in_words(replace(HEALTH, **changes))


def test_a_count_that_lags_does_not_hide_what_was_seen() -> None:
    assert replace(HEALTH, waiting=0).messages == 3


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
        (None, False),
    ],
)
def test_a_run_is_needed_when_the_depth_changes_and_once_a_day(
    seen: Seen | None, wait: bool
) -> None:
    assert (reason_to_wait(3, seen, 0, NOW) is not None) is wait
    assert reason_to_wait(3, seen, 1, NOW) is not None


@pytest.mark.parametrize("cursor", [None, "", "7", "{}", "[]", '{"messages": 1, "at": "x"}'])
def test_a_cursor_that_cannot_be_read_is_none(cursor: str | None) -> None:
    assert Seen.read(cursor) is None
    seen = Seen(7, NOW)
    assert Seen.read(seen.written()) == seen
