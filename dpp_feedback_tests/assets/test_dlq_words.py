"""What dlq_health says, over values: the words of every state, those too that are rare."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dpp_feedback.assets.dlq_examine import Health
from dpp_feedback.assets.dlq_words import expiring_in_words, in_words
from dpp_feedback.move_tasks import MoveTask

HEALTH = Health(
    waiting=3,
    in_flight=0,
    reasons={"not_json": 3},
    looked_at=3,
    why_partial="",
    oldest_age=timedelta(hours=50),
    expiring=0,
    retention=timedelta(days=14),
    older=0,
    expired=0,
    move_task=None,
    fed=True,
    why_not="",
)
RUNNING = MoveTask("RUNNING", 1, 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reasons": {"readable": 2, "ignored": 1}}, "Or let `dpp-feedback dlq redrive` move ever"),
        ({"reasons": {"readable": 3}}, 'Launch the job reprocess_dlq with {"dry_run": true, '),
        ({"reasons": {"ignored": 3}}, '"reasons": ["readable", "ignored"]}, and then with '),
        ({"reasons": {"refused_by_database": 3}}, "mend the database, and launch reprocess_dlq"),
        ({}, "What the parser rejects would come back here: `dpp-feedback dlq list` names each."),
        ({}, 'What each reason asks for: docs/runbook.md, section "Dead-letter queue".'),
        ({"move_task": RUNNING}, "A redrive is moving them back now"),
        ({"oldest_age": timedelta(days=15)}, "The oldest is 15 days old; SQS deletes it any mo"),
        ({}, "The oldest is 2 days old; SQS deletes it in 11 days."),
        ({"waiting": 1, "looked_at": 1}, "1 message lies in the dead-letter queue"),
        (
            {"older": 1, "reasons": {"readable": 3}, "why_partial": "Late."},
            "since it rejected 1 message that waits: of what lies here, at least 3 would be stored",
        ),
        (
            {
                "waiting": 0,
                "in_flight": 9,
                "looked_at": 0,
                "reasons": {},
                "oldest_age": None,
                "why_partial": "Others hold them.",
            },
            "9 messages lie in the dead-letter queue, not stored. Others hold them. What to do: ",
        ),
    ],
)
def test_the_check_says_how_it_stands_and_what_to_do(changes: dict[str, Any], said: str) -> None:
    assert said in in_words(replace(HEALTH, **changes))


@pytest.mark.parametrize(
    ("changes", "never"),
    [
        ({"reasons": {"readable": 2, "not_json": 1}}, "dlq redrive"),
        ({"reasons": {"readable": 3}, "why_partial": "Late."}, "dlq redrive"),
        ({"reasons": {"readable": 3}}, "would come back"),
        ({"reasons": {"refused_by_database": 3}}, "would come back"),
        ({"reasons": {"readable": 3}, "move_task": RUNNING}, "Launch"),
        ({}, "Launch"),
        ({}, "The parser has changed"),
    ],
)
def test_no_step_is_named_that_would_be_wrong(changes: dict[str, Any], never: str) -> None:
    assert never not in in_words(replace(HEALTH, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"expiring": 1, "oldest_age": timedelta(days=13)}, "SQS deletes 1 message within 3 days,"),
        ({"expiring": 3, "oldest_age": timedelta(days=13)}, "3 days, the first in 24 hours. What"),
        (
            {"expiring": 3, "oldest_age": timedelta(days=15)},
            "the first any moment now. What the parser rejects",
        ),
        (
            {"expiring": 3, "retention": timedelta(days=4)},
            "raise the MessageRetentionPeriod of the dead-letter queue: it is 4 days",
        ),
        ({"why_partial": "Late."}, "SQS deletes none of the 3 messages looked at within 3 days."),
        ({"looked_at": 0, "why_partial": "Late."}, "Nobody knows when SQS deletes them. Late."),
        ({}, "SQS deletes no message within 3 days."),
    ],
)
def test_what_sqs_deletes_soon_is_said_with_what_to_do(changes: dict[str, Any], said: str) -> None:
    assert said in expiring_in_words(replace(HEALTH, **changes))


def test_a_count_that_lags_does_not_hide_what_was_seen() -> None:
    assert replace(HEALTH, waiting=0).messages == 3
