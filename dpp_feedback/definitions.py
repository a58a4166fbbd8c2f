"""What Dagster loads. It only assembles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from dpp_feedback.ingest import process_feedback, ses_feedback_events
from dpp_feedback.resources import FeedbackQueue, FeedbackStore
from dpp_feedback.sensors import feedback_queue_sensor

if TYPE_CHECKING:
    from collections.abc import Mapping


def build_definitions(resources: Mapping[str, object]) -> dg.Definitions:
    """Put everything together over other resources; tests rewire it so."""
    return dg.Definitions(
        assets=[ses_feedback_events],
        jobs=[process_feedback],
        sensors=[feedback_queue_sensor],
        # In memory: op outputs hold mail addresses, which must not be pickled to disk.
        resources={"io_manager": dg.mem_io_manager, **resources},
        # In one process: four ops take 0.1 s so, 15 s with a process each.
        executor=dg.in_process_executor,
    )


defs = build_definitions({"queue": FeedbackQueue(), "store": FeedbackStore()})
