"""The process of a run: Dagster's own `dagster api execute_run`, and what it costs.

    python -m benchmarks.run_worker FILE ARGUMENTS

The K8sRunLauncher's pods execute that very command; the DefaultRunLauncher has the code server
start a process for the same function. This one says "ready" when Dagster is imported, begins when
a line comes in, and notes in FILE when RUN_START and RUN_SUCCESS were logged and how much of the
processor the whole process had used by then.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import click
import dagster as dg
from dagster._cli.api import api_cli

from benchmarks.accounting import Clock, peak_mb

if TYPE_CHECKING:
    from collections.abc import Callable

_STEPS = ("receive", "parse", "persist", "acknowledge")
_NOTED = {dg.DagsterEventType.RUN_START: "start", dg.DagsterEventType.RUN_SUCCESS: "success"}


def main(file: Path, arguments: str) -> None:
    """Execute a run, and write its costs."""
    costs: dict[str, Any] = {"steps": {}}
    _listen(costs)
    click.echo("ready")
    sys.stdin.readline()
    clock = Clock()
    api_cli.main(["execute_run", arguments], standalone_mode=False)
    costs["process_seconds"] = clock.spent().seconds
    costs["process_cpu_seconds"] = process_time()
    costs["peak_mb"] = peak_mb()
    file.write_text(json.dumps(costs))


def _listen(costs: dict[str, Any]) -> None:
    """See each event before it is stored: a watcher of the storage would cost a thread."""
    store: Callable[..., None] = dg.DagsterInstance.handle_new_event

    def handle(instance: dg.DagsterInstance, event: dg.EventLogEntry, **options: Any) -> None:
        told = event.dagster_event
        if told and (name := _NOTED.get(told.event_type)):
            costs[name] = {"at": event.timestamp, "cpu": process_time()}
        materialization = event.asset_materialization
        if materialization:
            for step in _STEPS:
                costs["steps"][step] = materialization.metadata[f"{step}_seconds"].value
        store(instance, event, **options)

    setattr(dg.DagsterInstance, "handle_new_event", handle)  # noqa: B010 - mypy forbids the other


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
