"""Several calls at the same time, each on its own and all within a time. Nothing else."""

from __future__ import annotations

from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from dpp_feedback.errors import FeedbackError, PassingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


def answers(
    calls: Mapping[str, Callable[[], T]], within_seconds: float
) -> dict[str, T | FeedbackError]:
    """Make all calls at once; none hides or delays another.

    Args:
        calls: by name.
        within_seconds: a call that takes longer counts as failed; its thread is left to end by
            itself, and keeps no process alive.

    Returns:
        What each returned, or why it did not. An error that is no sentence for a person is named
        by its class alone.
    """
    came: dict[str, T | FeedbackError] = {}

    def make(name: str, call: Callable[[], T]) -> None:
        try:
            came[name] = call()
        except FeedbackError as error:
            came[name] = error
        except Exception as error:  # no failure of one may hide another
            came[name] = FeedbackError(f"{name} failed: {type(error).__name__}.")

    threads = [Thread(target=make, args=item, daemon=True) for item in calls.items()]
    for thread in threads:
        thread.start()
    end = monotonic() + within_seconds
    for thread in threads:
        thread.join(max(0.0, end - monotonic()))
    late = f"did not answer within {within_seconds:g} seconds."
    return {name: came.get(name, PassingError(f"{name} {late}")) for name in calls}
