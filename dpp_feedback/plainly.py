"""Ending an op or a sensor's tick with the sentence of an error for a person, and nothing else."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from dpp_feedback.errors import FeedbackError, unforeseen

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def told_plainly() -> Iterator[None]:
    """Let an error end the op with a sentence that is fit to be stored.

    Dagster stores and shows a stack trace with every failure. That of an error for a person would
    say nothing that its sentence does not, so Python's own setting leaves it out, until an op
    starts again. What follows a failure is the end of the run's process.

    Of any other error, which nobody foresaw, the class and the places in the code remain: its text,
    and those of its causes, may quote a body, an address or a row.

    Raises:
        dagster.Failure: an error came up inside.
    """
    sys.__dict__.pop("tracebacklimit", None)
    try:
        yield
    except dg.Failure:
        raise
    except FeedbackError as error:
        sys.tracebacklimit = 0
        raise dg.Failure(str(error)) from None
    except Exception as error:
        raise dg.Failure(unforeseen(error)).with_traceback(error.__traceback__) from None
