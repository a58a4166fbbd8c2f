"""Bodies as large as SQS carries them, and many recipients: all of them, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dpp_feedback.feedback.envelope import MAX_BODY
from dpp_feedback.local.poison import control
from dpp_feedback_tests.bounces import bounce
from dpp_feedback_tests.faults.conftest import numbers
from dpp_feedback_tests.feedback.bodies import in_sns

if TYPE_CHECKING:
    from dpp_feedback_tests.faults.conftest import Drain, Queues

RECIPIENTS = 10_000


def people(number: int, start: int = 0) -> list[str]:
    return [f"person{start + i}@example.org" for i in range(number)]


def enlarged(body: str) -> str:
    """Fill a body with a header, which SES passes on, to the last byte that SQS carries."""
    written = json.loads(body)
    written["mail"]["headers"] = [{"name": "References", "value": ""}]
    room = MAX_BODY - len(json.dumps(written))
    written["mail"]["headers"][0]["value"] = "x" * room
    return json.dumps(written)


def test_bodies_of_1_mib_good_and_bad_are_stored_and_rejected(
    queues: Queues, drain: Drain, drain_until_empty: Drain
) -> None:
    good = [enlarged(bounce(i)) for i in range(5)]
    bad = [
        "x" * MAX_BODY,
        "[" * MAX_BODY,
        '"' + "\\" * (MAX_BODY - 2) + '"',
        enlarged(bounce(5))[:-1],
        "\N{OLD ITALIC LETTER A}" * (MAX_BODY // 4),
    ]
    assert {len(body.encode()) for body in good} == {MAX_BODY}
    queues.publish(50, bodies=[*good, *bad])
    first = numbers(drain())
    assert (first["stored"], first["rejected"]) == (55, 5)
    drain_until_empty()
    found = queues.assert_nothing_lost()
    assert (found.stored, found.dead) == (55, 5)


def test_more_bodies_of_1_mib_than_a_run_keeps_unread_are_parsed_as_they_come(
    queues: Queues, drain: Drain
) -> None:
    queues.publish(bodies=[enlarged(bounce(i)) for i in range(40)])
    assert numbers(drain())["stored"] == 40
    assert queues.assert_nothing_lost().stored == 40


@pytest.mark.parametrize("messages", [100, 200, RECIPIENTS])
def test_10_000_recipients_over_messages_have_a_row_each(
    queues: Queues, drain: Drain, messages: int
) -> None:
    each = RECIPIENTS // messages
    queues.publish(bodies=[bounce(i, *people(each, i * each)) for i in range(messages)])
    said = numbers(drain())
    assert (said["stored"], said["new_rows"]) == (messages, RECIPIENTS)
    assert queues.assert_nothing_lost().rows == RECIPIENTS


def test_10_000_recipients_in_one_body_have_a_row_each(queues: Queues, drain: Drain) -> None:
    lines = [
        json.dumps(
            {
                "eventType": "Delivery",
                "mail": {"messageId": f"0100019c{i:08x}-mail"},
                "delivery": {"recipients": people(100, i * 100)},
            }
        )
        for i in range(RECIPIENTS // 100)
    ]
    queues.publish(bodies=["\n".join(lines)])
    assert numbers(drain())["new_rows"] == RECIPIENTS
    assert queues.assert_nothing_lost().rows == RECIPIENTS


def test_recipients_that_come_again_in_other_messages_have_one_row(
    queues: Queues, drain: Drain
) -> None:
    """As one mail's notifications do that SES splits anew, or publishes both ways."""
    queues.publish(
        bodies=[
            *(bounce(1, *people(50)) for _ in range(3)),
            *(bounce(1, *people(50, start)) for start in range(0, 100, 10)),
            json.dumps(in_sns(bounce(1, *people(100)))),
            control(0),
        ]
    )
    said = numbers(drain())
    assert (said["received"], said["new_rows"], said["ignored"]) == (15, 140, 1)
    assert queues.assert_nothing_lost().rows == 140
