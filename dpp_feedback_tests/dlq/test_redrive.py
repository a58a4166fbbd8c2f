"""The native redrive: what it would do, and that it is recorded; on the stand-in's own redrive."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from dpp_feedback.aws_errors import AwsRefused, AwsUnavailable
from dpp_feedback.connection import DatabaseUnavailable
from dpp_feedback.dlq import redrive
from dpp_feedback.dlq.prospect import Prospect, examine
from dpp_feedback.dlq.redrive import RedriveRefused, Started
from dpp_feedback.messages import sha256_of, size_of
from dpp_feedback.move_tasks import MoveTask, MoveTasks
from dpp_feedback.rejects import Reject
from dpp_feedback.resources import FeedbackQueue, FeedbackStore
from dpp_feedback_tests.dlq.dead_letters import DeadLetters, delivery

if TYPE_CHECKING:
    from dpp_feedback.queue import Queue
    from dpp_feedback.store import Store

CONNECT = FeedbackStore().connect


def _no_database() -> Store:
    raise DatabaseUnavailable("The database is away.")


def _record(message_id: str, body: str) -> None:
    with CONNECT() as store:
        store.rejects.record(
            [
                Reject(
                    message_id=message_id,
                    body_sha256=sha256_of(body),
                    body_bytes=size_of(body),
                    body=body,
                    reason="not_json",
                    detail="no JSON",
                    kind=None,
                    topic_arn=None,
                    queue="queue",
                    sent_at=datetime.now(UTC),
                )
            ],
            run_id=None,
        )


def _start(queue: Queue, **options: Any) -> Started:
    return redrive.start(queue, CONNECT, actor="jane", **{"max_per_second": None, **options})


def test_a_sample_says_what_would_come_back(queue: Queue, dead_letters: DeadLetters) -> None:
    dead_letters.send([delivery(1), delivery(2), "no JSON", "neither", "nor this", "{}"])
    seen = examine(queue, CONNECT)
    assert seen.reasons == {"not_json": 3, "readable": 2, "not_ses": 1}
    assert (seen.messages, seen.sampled, seen.coming_back) == (6, 6, 4)
    assert seen.why_not.startswith("4 of 6 messages would come back")
    assert "dlq reprocess" in seen.why_not
    assert dead_letters.depth() == (6, 0)
    assert dead_letters.events() == 0


def test_what_the_parser_takes_for_no_feedback_does_not_come_back(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    dead_letters.send(["Successfully validated SNS topic for Amazon SES event publishing."])
    seen = examine(queue, CONNECT)
    assert seen.reasons == {"ignored": 1}
    assert seen.why_not == ""


def test_rows_that_postgres_still_refuses_are_found(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    dead_letters.database.execute(
        "ALTER TABLE public.ses_feedback_events ADD CHECK (primary_recipient <> 'a@example.org')"
    )
    dead_letters.send([delivery(1), delivery(2, "a@example.org"), delivery(3)])
    seen = examine(queue, CONNECT)
    assert seen.reasons == {"readable": 2, "refused_by_database": 1}
    assert seen.coming_back == 1
    assert dead_letters.events() == 0


def test_a_database_that_takes_no_events_is_a_reason(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    dead_letters.send([delivery()])
    dead_letters.database.execute(
        "ALTER TABLE public.ses_feedback_events DROP COLUMN source CASCADE"
    )
    seen = examine(queue, CONNECT)
    assert seen.why_not.startswith("Nothing could be stored now. ")
    assert "dpp-feedback migrate" in seen.why_not
    seen = examine(queue, _no_database)
    assert seen.why_not == "Nothing could be stored now. The database is away."


def test_a_sample_is_a_hundred_messages_at_most(queue: Queue, dead_letters: DeadLetters) -> None:
    dead_letters.send([delivery(number) for number in range(120)])
    seen = examine(queue, CONNECT)
    assert (seen.messages, seen.sampled) == (120, 100)
    assert dead_letters.depth() == (120, 0)


def test_messages_that_somebody_else_holds_are_no_empty_queue(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    assert examine(queue, CONNECT).empty
    dead_letters.send([delivery()])
    (held,) = queue.receive(1, 10).messages
    seen = examine(queue, CONNECT)
    assert not seen.empty
    assert seen.in_flight == 1
    assert seen.why_not.startswith("No message could be looked at")
    queue.release([held])


def test_a_redrive_moves_everything_and_is_recorded(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    dead_letters.send([delivery(number) for number in range(25)])
    started = _start(queue, why="a reason")
    tasks = list(redrive.watch(queue.move_tasks, started))
    assert tasks[-1].status == "COMPLETED"
    assert tasks[-1].moved == 25
    assert redrive.unfinished(tasks[-1]) == ""
    assert dead_letters.depth() == (0, 0)
    assert dead_letters.depth(dead_letters.main_url) == (25, 0)
    (act,) = dead_letters.acts()
    assert act["finished_at"] is None
    assert redrive.finish(CONNECT, started.record, moved=25) == ""
    (act,) = dead_letters.acts()
    assert (act["action"], act["actor"], act["selection"]) == ("redrive", "jane", {})
    assert (act["why"], act["moved"], act["error"]) == ("a reason", 25, None)
    assert act["finished_at"]


def test_rows_are_marked_before_the_first_message_can_come(
    queue: Queue, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = dead_letters.send(["no JSON"])
    _record(name, "no JSON")
    real = MoveTasks.start

    def start(tasks: MoveTasks, limit: int | None) -> str:
        assert dead_letters.rejects()[name]["redriven_at"]
        return real(tasks, limit)

    monkeypatch.setattr(MoveTasks, "start", start)
    assert _start(queue).handle


def test_a_start_that_sqs_refuses_is_recorded_with_its_error(
    queue: Queue, dead_letters: DeadLetters, environment: dict[str, str]
) -> None:
    dead_letters.send([delivery()])
    dead_letters.sqs.set_queue_attributes(
        QueueUrl=environment["SQS_QUEUE_URL"], Attributes={"RedrivePolicy": ""}
    )
    with pytest.raises(AwsRefused, match="no SQS queue's dead-letter queue") as refused:
        _start(queue)
    (act,) = dead_letters.acts()
    assert (act["moved"], act["error"]) == (0, str(refused.value))
    with pytest.raises(RedriveRefused, match="does not name this dead-letter queue"):
        redrive.refuse_elsewhere(queue, FeedbackQueue().connect())


def test_without_a_record_nothing_starts_unless_forced(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    dead_letters.send([delivery()])
    with pytest.raises(DatabaseUnavailable):
        redrive.start(queue, _no_database, actor="jane", max_per_second=None)
    assert dead_letters.depth() == (1, 0)
    started = redrive.start(queue, _no_database, actor="jane", max_per_second=None, force=True)
    assert started.not_recorded == "The database is away."
    assert redrive.finish(_no_database, started.record, moved=1) == ""
    dead_letters.until(0)


def test_one_redrive_at_a_time_and_a_cancelled_one_leaves_the_rest(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    dead_letters.send([delivery(number) for number in range(30)])
    started = _start(queue, max_per_second=1)
    with pytest.raises(RedriveRefused, match=r"is RUNNING already: \d+ of 30 messages moved"):
        redrive.refuse_second(queue.move_tasks)
    with pytest.raises(RedriveRefused, match="redrive --cancel"):
        _start(queue)
    moved, not_recorded = redrive.cancel(queue, CONNECT, actor="joe")
    assert not_recorded == ""
    *_, last = redrive.watch(queue.move_tasks, started)
    assert last.status == "CANCELLED"
    assert redrive.unfinished(last).startswith(f"It was cancelled. {last.moved} of 30 messages")
    assert dead_letters.depth() == (30 - last.moved, 0)
    _, cancelling = dead_letters.acts()
    assert (cancelling["action"], cancelling["actor"]) == ("cancel_redrive", "joe")
    assert cancelling["moved"] == moved
    with pytest.raises(RedriveRefused, match="No redrive is running"):
        redrive.cancel(queue, CONNECT, actor="joe")


def test_a_redrive_is_cancelled_without_a_database_too(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    dead_letters.send([delivery(number) for number in range(30)])
    started = _start(queue, max_per_second=1)
    _, not_recorded = redrive.cancel(queue, _no_database, actor="joe")
    assert not_recorded == "The database is away."
    *_, last = redrive.watch(queue.move_tasks, started)
    assert last.status == "CANCELLED"


def test_a_redrive_that_fails_says_why(queue: Queue, dead_letters: DeadLetters) -> None:
    dead_letters.send([delivery(number) for number in range(30)])
    started = _start(queue, max_per_second=1)
    dead_letters.sqs.delete_queue(QueueUrl=dead_letters.main_url)
    *_, last = redrive.watch(queue.move_tasks, started)
    assert last.status == "FAILED"
    assert redrive.unfinished(last).startswith("SQS ended it: ")
    assert str(last.failure) in redrive.unfinished(last)


class Told(MoveTasks):
    """A redrive as SQS might list it: the stand-in lists without delay, and answers always."""

    def __init__(self, *answers: MoveTask | Exception | None) -> None:
        self._answers = list(answers)

    def latest(self) -> MoveTask | None:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


OLD = MoveTask("COMPLETED", 7, 7, started_at=datetime(2026, 1, 1, tzinfo=UTC))
NEW = MoveTask("RUNNING", 1, 9, "handle", datetime(2026, 1, 2, tzinfo=UTC))
DONE = MoveTask("COMPLETED", 9, 9, started_at=datetime(2026, 1, 2, tzinfo=UTC))
STARTED = Started("handle", OLD, None, "")


@pytest.fixture
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrive, "_PAUSE", 0)


@pytest.mark.usefixtures("_without_pauses")
def test_an_older_redrive_is_not_taken_for_this_one() -> None:
    assert list(redrive.watch(Told(OLD, OLD, NEW, DONE), STARTED)) == [NEW, DONE]
    first = Started("handle", MoveTask("NONE"), None, "")
    assert list(redrive.watch(Told(MoveTask("NONE"), NEW, DONE), first)) == [NEW, DONE]


@pytest.mark.usefixtures("_without_pauses")
def test_watching_ends_when_sqs_never_shows_it_or_shows_another() -> None:
    assert list(redrive.watch(Told(*[OLD] * 60), STARTED)) == []
    assert list(redrive.watch(Told(None), STARTED)) == []
    other = MoveTask("RUNNING", 0, 3, "another", datetime(2026, 1, 3, tzinfo=UTC))
    assert list(redrive.watch(Told(NEW, other), STARTED)) == [NEW]


@pytest.mark.usefixtures("_without_pauses")
def test_a_short_outage_of_sqs_does_not_end_the_watching() -> None:
    away = AwsUnavailable("away")
    assert list(redrive.watch(Told(NEW, away, away, DONE), STARTED)) == [NEW, DONE]
    with pytest.raises(AwsUnavailable):
        list(redrive.watch(Told(NEW, *[away] * 10), STARTED))


def test_a_prospect_without_messages_is_empty() -> None:
    assert Prospect(0, 0, {}, "", "").empty
    assert not Prospect(3, 0, {}, "", "").empty
