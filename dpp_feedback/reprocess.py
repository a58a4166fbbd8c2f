"""The job reprocess_dlq: the four ops of process_feedback, on the dead-letter queue."""

# No `from __future__ import annotations`: Dagster reads the annotations of the config mapping.

from collections.abc import Mapping

import dagster as dg

from dpp_feedback.drain_config import ReceiveConfig, ReprocessConfig
from dpp_feedback.ingest import MAX_RUNTIME, drain, receive_messages

NAME = "reprocess_dlq"

_LONGEST_SECONDS = 600  # to go through 100,000 messages for a few takes minutes


@dg.config_mapping
def _receiving(val: ReprocessConfig) -> dg.RunConfig:
    """Hand the launchpad's fields to the first op, which passes on what the others need."""
    return dg.RunConfig(
        ops={receive_messages.name: ReceiveConfig(max_seconds=_LONGEST_SECONDS, reprocess=val)}
    )


@dg.graph(
    name=NAME,
    description="Drain the dead-letter queue into Postgres, by hand. Without config it is a dry "
    "run: it says what would be stored, is there already, would be ignored and is still rejected, "
    "and changes nothing. With `dry_run: false` it stores and deletes what can be read now, and "
    "leaves the rest where it is.",
)
def _dead_letters() -> None:
    drain()


def reprocess_dlq(resources: Mapping[str, object]) -> dg.JobDefinition:
    """Make the job; the queue of its ops is the resource `dead_letter_queue`."""
    return _dead_letters.to_job(
        name=NAME,
        config=_receiving,
        resource_defs={**resources, "queue": resources["dead_letter_queue"]},
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": str(int(MAX_RUNTIME.total_seconds()))},
    )
