"""All bodies that the parser's tests are hostile with, in one batch with good ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dpp_feedback_tests.faults.conftest import numbers
from dpp_feedback_tests.feedback.bodies import in_eventbridge, in_sns, own_payloads, payload
from dpp_feedback_tests.feedback.test_parser_hostile import WRONG, places_of, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback_tests.faults.conftest import Drain, Queues

BREAKS = 7  # bytes between the places where a body breaks off


def hostile() -> Iterator[str]:
    """Every wrong value at every place of our bodies, and each of them broken off anywhere."""
    for name in own_payloads():
        body = payload(name)
        for number, place in enumerate(places_of(body)):
            for value in WRONG:
                wrong = replaced(body, place, value)
                # Without an envelope, and in each of two.
                yield json.dumps((wrong, in_sns(wrong), in_eventbridge(wrong))[number % 3])
        text = json.dumps(body)
        for length in range(0, len(text), BREAKS):
            yield text[:length]


def test_all_hostile_bodies_in_one_batch_with_good_ones_stop_none_of_them(
    queues: Queues, drain: Drain, drain_until_empty: Drain
) -> None:
    bodies = list(hostile())
    assert len(bodies) > 10_000
    published = queues.publish(1_000, bodies=bodies)
    first = numbers(drain(max_messages=100_000))
    assert (first["received"], first["rejected"]) == (len(published), published.poison)
    assert queues.account().rows_missing == []
    drain_until_empty(max_messages=100_000)
    found = queues.assert_nothing_lost()
    assert found.dead == published.poison > 3_000
