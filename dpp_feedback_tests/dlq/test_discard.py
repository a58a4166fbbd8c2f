"""Discarding: recorded before it is deleted, and what is left is told."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dpp_feedback.connection import DatabaseRefused, DatabaseUnavailable
from dpp_feedback.dlq import discard
from dpp_feedback.queue import Queue
from dpp_feedback.rejects import Rejects
from dpp_feedback.resources import FeedbackStore
from dpp_feedback_tests.dlq.dead_letters import DeadLetters, delivery

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dpp_feedback.messages import Message
    from dpp_feedback.store import Store

CONNECT = FeedbackStore().connect
MISSING = "00000000-0000-0000-0000-000000000000"


def _discard(queue: Queue, ids: Collection[str]) -> discard.Discarded:
    return discard.discard(queue, CONNECT, ids, actor="jane", why="a test")


def test_messages_are_found_with_what_the_parser_says_now_and_stay(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    first, second, _ = dead_letters.send(["no JSON", delivery(), "another"])
    found, why_partial = discard.find(queue, CONNECT, [second, first, MISSING])
    assert [(each.id, each.reason, each.kinds) for each in found] == [
        (first, "not_json", ()),
        (second, "readable", ("Delivery",)),
    ]
    assert why_partial == ""
    assert dead_letters.depth() == (3, 0)


def test_what_is_discarded_is_recorded_and_gone_and_the_rest_stays(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    ids = dead_letters.send(["no JSON", delivery(), "stays", "stays too"])
    done = _discard(queue, ids[:2])
    assert done == discard.Discarded(frozenset(ids[:2]), {}, "")
    assert dead_letters.depth() == (2, 0)
    (act,) = dead_letters.acts()
    assert (act["action"], act["actor"], act["why"]) == ("discard", "jane", "a test")
    assert act["selection"] == {"message_ids": sorted(ids[:2])}
    assert (act["moved"], act["counts"], act["error"]) == (2, {"not_json": 1, "readable": 1}, None)
    rejects = dead_letters.rejects()
    assert rejects.keys() == set(ids[:2])
    assert {row["resolution"] for row in rejects.values()} == {"discarded"}
    assert {row["resolved_by"] for row in rejects.values()} == {"jane"}
    assert rejects[ids[1]]["kind"] == "Delivery"


def test_what_is_not_there_is_named(queue: Queue, dead_letters: DeadLetters) -> None:
    (name,) = dead_letters.send(["no JSON"])
    done = _discard(queue, [name, MISSING])
    assert done.gone == {name}
    assert done.left == {MISSING: discard.NOT_THERE}


def test_of_two_operators_one_discards_and_the_other_is_told(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    (name,) = dead_letters.send(["no JSON"])
    (held,) = queue.receive(1, 10).messages
    found, why_partial = discard.find(queue, CONNECT, [name])
    assert found == []
    assert why_partial.startswith("1 message was in flight")
    done = _discard(queue, [name])
    assert done.left.keys() == {name}
    assert dead_letters.acts() == []
    queue.release([held])
    assert _discard(queue, [name]).gone == {name}
    assert _discard(queue, [name]).left.keys() == {name}


def test_what_cannot_be_deleted_waits_again(
    queue: Queue, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, goes = dead_letters.send(["no JSON", "neither"])
    real = Queue.acknowledge

    def refusing(self: Queue, messages: Sequence[Message]) -> dict[str, str]:
        good = [message for message in messages if message.id != stuck]
        return {**real(self, good), stuck: "SQS refused DeleteMessageBatch: InternalError"}

    monkeypatch.setattr(Queue, "acknowledge", refusing)
    done = _discard(queue, [stuck, goes])
    assert done.gone == {goes}
    assert done.left == {stuck: "SQS refused DeleteMessageBatch: InternalError"}
    rejects = dead_letters.rejects()
    assert (rejects[stuck]["resolution"], rejects[goes]["resolution"]) == ("waiting", "discarded")
    (act,) = dead_letters.acts()
    assert (act["moved"], act["error"]) == (1, "1 of 2 messages could not be deleted")
    assert dead_letters.depth() == (1, 0)


def test_nothing_is_deleted_that_cannot_be_recorded(
    queue: Queue, dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = dead_letters.send(["no JSON", "neither"])

    def failing(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable("The database is away.")

    monkeypatch.setattr(Rejects, "discard", failing)
    with pytest.raises(DatabaseUnavailable):
        _discard(queue, ids)
    assert dead_letters.depth() == (2, 0)


def test_a_missing_table_is_noticed_before_anything_is_received(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    ids = dead_letters.send(["no JSON"])
    dead_letters.database.execute("DROP TABLE public.ses_feedback_rejects")
    with pytest.raises(DatabaseRefused, match="dpp-feedback migrate"):
        discard.find(queue, CONNECT, ids)
    (message,) = queue.receive(1, 10).messages
    assert message.receive_count == 1
    queue.release([message])


def test_an_end_of_the_record_that_fails_is_told_and_what_is_gone_too(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    ids = dead_letters.send(["no JSON"])
    connects = 0

    def connect() -> Store:
        nonlocal connects
        connects += 1
        if connects == 2:  # the first records, the second ends the record
            raise DatabaseUnavailable("The database is away.")
        return CONNECT()

    done = discard.discard(queue, connect, ids, actor="jane", why="a test")
    assert done == discard.Discarded(frozenset(ids), {}, "The database is away.")
    assert dead_letters.rejects()[ids[0]]["resolution"] == "discarded"
    (act,) = dead_letters.acts()
    assert act["finished_at"] is None


def test_what_postgres_still_refuses_is_not_called_readable_and_what_it_takes_by_now_is(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    dead_letters.database.execute(
        "ALTER TABLE public.ses_feedback_events ADD CHECK (primary_recipient <> 'a@example.org')"
    )
    (name,) = dead_letters.send([delivery(1, "a@example.org")])
    found, _ = discard.find(queue, CONNECT, [name])
    assert [each.reason for each in found] == ["refused_by_database"]
    dead_letters.database.execute(
        "ALTER TABLE public.ses_feedback_events "
        "DROP CONSTRAINT ses_feedback_events_primary_recipient_check"
    )
    found, _ = discard.find(queue, CONNECT, [name])
    assert [each.reason for each in found] == ["readable"]
    _discard(queue, [name])
    row = dead_letters.rejects()[name]
    assert (row["reason"], row["detail"]) == ("readable", "It would have been stored.")
    assert dead_letters.events() == 0


KILLED = """
import os, signal, sys
from dpp_feedback.dlq import discard
from dpp_feedback.queue import Queue
from dpp_feedback.resources import FeedbackQueue, FeedbackStore

discard.looking_seconds = lambda depth: 3  # so that the test need not wait for longer
Queue.acknowledge = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
queue = FeedbackQueue(setting="SQS_DLQ_URL").connect()
discard.discard(queue, FeedbackStore().connect, sys.argv[1:], actor="jane", why="killed")
"""


def test_killed_between_record_and_deletion_the_same_discard_finishes_it(
    queue: Queue, dead_letters: DeadLetters
) -> None:
    ids = dead_letters.send(["no JSON", "neither"])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *ids], check=False, capture_output=True, text=True
    )
    assert killed.returncode == -9, killed.stderr
    assert {row["resolution"] for row in dead_letters.rejects().values()} == {"discarded"}
    dead_letters.until(2)
    assert _discard(queue, ids).gone == set(ids)
    assert dead_letters.depth() == (0, 0)
    rejects = dead_letters.rejects()
    assert {row["resolution"] for row in rejects.values()} == {"discarded"}
    assert [(act["why"], act["moved"]) for act in dead_letters.acts()] == [
        ("killed", None),
        ("a test", 2),
    ]
