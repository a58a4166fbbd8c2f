"""Ending an op with the sentence of an error for a person, and nothing else."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from dpp_feedback.errors import FeedbackError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def told_plainly() -> Iterator[None]:
    """Let an error for a person end the op with its sentence alone.

    Dagster stores and shows a stack trace with every failure. This one would say nothing that the
    sentence does not, so Python's own setting leaves it out, until an op starts again. What
    follows a failure is the end of the run's process.

    Raises:
        dagster.Failure: a FeedbackError came up inside.
    """
    sys.__dict__.pop("tracebacklimit", None)
    try:
        yield
    except FeedbackError as error:
        sys.tracebacklimit = 0
        raise dg.Failure(str(error)) from None
