"""How a run of Dagster's failed, as a person is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The sentence of the step that failed; it comes without a stack trace."""
    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    error = failed.step_failure_data.error
    assert error
    assert error.stack == []
    return error.message.removeprefix("dagster._core.definitions.events.Failure: ").strip()
