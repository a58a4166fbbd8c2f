"""A process that executes process_feedback again and again: once for each line that comes in.

    python -m benchmarks.soak.worker

After each run it prints a line of JSON: whether the run succeeded, and what the process holds then.
The instance is that of DAGSTER_HOME. In production each run has a process of its own; here what a
run leaves behind would add up, and be seen.
"""

from __future__ import annotations

import gc
import json
import sys

import click
import dagster as dg
import psutil

from dpp_feedback.definitions import defs
from dpp_feedback.ingest import process_feedback


def main() -> None:
    """Execute a run for each line of standard input, until that ends."""
    job, this = defs.resolve_job_def(process_feedback.name), psutil.Process()
    with dg.DagsterInstance.get() as instance:
        for _ in sys.stdin:
            result = job.execute_in_process(instance=instance, raise_on_error=False)
            gc.collect()  # boto3's clients hold themselves, and wait for it
            held = {
                "success": result.success,
                "memory_mb": this.memory_info().rss / 1e6,
                "threads": this.num_threads(),
                "files": this.num_fds(),
            }
            click.echo(json.dumps(held))


if __name__ == "__main__":
    main()
