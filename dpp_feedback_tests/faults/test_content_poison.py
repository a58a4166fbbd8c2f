"""Messages that cannot be stored: they end in the dead-letter queue, and stop no good one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from dpp_feedback.local.traffic import TOPICS, broken_one
from dpp_feedback_tests.faults.conftest import MAX_RECEIVES, NOON, numbers

if TYPE_CHECKING:
    from dpp_feedback_tests.faults.accounting import Published
    from dpp_feedback_tests.faults.conftest import Drain, Queues


def rejects(queues: Queues) -> set[str]:
    """SQS's message ids in the table of rejects."""
    with psycopg.connect(queues.database_url) as connection:
        found = connection.execute("SELECT message_id FROM public.ses_feedback_rejects")
        return {message_id for (message_id,) in found}


@pytest.mark.parametrize(
    ("number", "share"), [(500, 0.01), (70, 1.0)], ids=["1 percent", "all of it"]
)
def test_good_messages_are_stored_at_once_and_poison_is_in_the_dlq_after_five_receives(
    queues: Queues, drain: Drain, number: int, share: float
) -> None:
    published = queues.publish(number, poison=share) if share < 1 else _all_poison(queues, number)
    poison = {one.id for one in published if one.fate == "poison"}
    assert len(poison) == number * share
    first = numbers(drain())
    assert (first["received"], first["rejected"]) == (number, len(poison))
    found = queues.account()
    assert (found.left, found.rows_missing) == (len(poison), [])
    assert rejects(queues) == poison
    for receives in range(1, MAX_RECEIVES):
        held = queues.server.contents(queues.queue)
        assert set(held.waiting.values()) == {receives}  # handed back at once
        again = numbers(drain())
        assert (again["received"], again["stored"]) == (len(poison), 0)
    assert numbers(drain())["received"] == 0  # SQS moves them when they are asked for again
    found = queues.assert_nothing_lost()
    assert found.dead == len(poison)
    assert set(queues.server.contents(queues.dead_letter_queue).waiting) == poison
    assert rejects(queues) == poison


def test_good_messages_that_come_while_all_others_are_poison_are_stored_by_the_next_run(
    queues: Queues, drain: Drain, drain_until_empty: Drain
) -> None:
    _all_poison(queues, 100)
    assert numbers(drain(max_messages=50))["rejected"] == 50
    queues.publish(50, seed=1)
    assert numbers(drain())["stored"] == 50
    drain_until_empty()
    found = queues.assert_nothing_lost()
    assert (found.stored, found.dead) == (50, 100)


def _all_poison(queues: Queues, number: int) -> Published:
    """Publish so many of every sort."""
    return queues.publish(
        bodies=[broken_one(5, i, TOPICS[i % 3], NOON).body for i in range(number)]
    )
