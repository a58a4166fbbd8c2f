"""All looks at once: each on its own, and all within a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dpp_feedback.concurrently import answers
from dpp_feedback.doctor import (
    clock,
    dagster_instance,
    database,
    dead_letter_queue,
    identity,
    queue,
    server_log,
    ses,
    settings,
    topics,
)
from dpp_feedback.doctor.aws import Aws
from dpp_feedback.doctor.finding import Examination, Finding
from dpp_feedback.doctor.surroundings import Surroundings
from dpp_feedback.errors import FeedbackError

if TYPE_CHECKING:
    from collections.abc import Sequence

WITHIN_SECONDS = 40
"""For everything: a call to AWS gives up after 16 seconds, a connection to Postgres after 10."""


def examinations() -> list[Examination]:
    """List all looks, area by area in the order in which they are told."""
    aws, where = Aws(), Surroundings.read()
    return [
        *settings.examinations(),
        *identity.examinations(aws, where),
        *clock.examinations(aws),
        *queue.examinations(aws),
        *dead_letter_queue.examinations(aws),
        *topics.examinations(aws),
        *ses.examinations(aws),
        *database.examinations(),
        *server_log.examinations(),
        *dagster_instance.examinations(where),
    ]


def examine(
    looks: Sequence[Examination], within_seconds: float = WITHIN_SECONDS
) -> dict[str, list[Finding]]:
    """Make all looks at the same time.

    Args:
        looks: what `examinations` lists.
        within_seconds: a look that takes longer is told as failed, with what it found so far.

    Returns:
        The findings by area, in the order of `looks`.
    """
    found: list[list[Finding]] = [[] for _ in looks]
    ended = answers(
        {
            f"{look.area}: {look.check}": partial(_make, look, into)
            for look, into in zip(looks, found, strict=True)
        },
        within_seconds,
    )
    areas: dict[str, list[Finding]] = {}
    for look, findings, outcome in zip(looks, found, ended.values(), strict=True):
        told = areas.setdefault(look.area, [])
        told += findings
        if isinstance(outcome, FeedbackError):
            told.append(Finding(look.check, look.unknown, str(outcome)))
    return areas


def _make(look: Examination, into: list[Finding]) -> None:
    for finding in look.look():
        into.append(finding)  # noqa: PERF402 - what comes before an error stays
