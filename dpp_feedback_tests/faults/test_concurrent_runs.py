"""Runs at the same time, each in a process of its own: the daemon's, a person's, a backfill.

They share the queue, the tables and Dagster's storage. No run takes so many messages that nothing
is left for the others.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg
import pytest

from benchmarks.loopback_sqs.faults import Fault
from dpp_feedback_tests.faults.conftest import numbers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpp_feedback_tests.faults.conftest import Drain, Queues

# Waits until it is told to go, runs one job several times, and says what it received and stored.
_RUNS = """
import json, sys
import dagster as dg
from dpp_feedback.definitions import defs

job, times, config, tags = json.loads(sys.argv[1])
definition = defs.resolve_job_def(job) if job else defs.resolve_implicit_global_asset_job_def()
wanted = None if job else [dg.AssetKey("ses_feedback_events")]
said = {"received": [], "stored": [], "success": []}
with dg.DagsterInstance.get() as instance:
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(times):
        result = definition.execute_in_process(
            run_config=config, instance=instance, tags=tags, asset_selection=wanted,
            raise_on_error=False,
        )
        said["success"].append(result.success)
        for event in result.get_asset_materialization_events():
            metadata = event.materialization.metadata
            for name in ("received", "stored"):
                if name in metadata:
                    said[name].append(metadata[name].value)
print(json.dumps(said), flush=True)
"""
_DAYS = {
    "dagster/asset_partition_range_start": "2026-02-10",
    "dagster/asset_partition_range_end": "2026-02-17",
}


class Side:
    """A process that runs a job when it is told to.

    Args:
        job: its name; "": the asset is materialized, as from Dagster's asset graph.
        times: one after another.
        max_messages: of a drain; None: the job drains nothing.
        tags: of its runs.
    """

    def __init__(
        self,
        job: str,
        times: int = 1,
        max_messages: int | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        ops = {"receive_messages": {"config": {"max_messages": max_messages}}}
        config = {"ops": {"ses_feedback_events": {"ops": ops}}} if max_messages else {}
        # A pipe that nobody reads would stop it.
        self._log = TemporaryFile("w+")  # noqa: SIM115 - `end` closes it
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RUNS, json.dumps([job, times, config, tags or {}])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", self._said()

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, list[Any]]:
        said, _ = self._process.communicate(timeout=300)
        assert self._process.returncode == 0, self._said()
        found: dict[str, list[Any]] = json.loads(said.splitlines()[-1])
        assert all(found["success"]), self._said()
        return found

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()


@contextmanager
def at_the_same_time(*sides: Side) -> Iterator[list[dict[str, list[Any]]]]:
    """Start them when each is ready; what they say, when all have ended."""
    try:
        for side in sides:
            side.ready()
        for side in sides:
            side.go()
        yield [side.result() for side in sides]
    finally:
        for side in sides:
            side.end()


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster's storage for all of them, on disk, as the daemon and its runs have it."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(home)):
        pass  # several at once that make its tables would fail, in Dagster
    monkeypatch.setenv("DAGSTER_HOME", str(home))


def test_two_runs_at_once_over_messages_that_sqs_delivers_twice_are_exact(
    queues: Queues, drain_until_empty: Drain
) -> None:
    queues.publish(600)
    queues.server.latency(10)
    queues.server.faults([Fault("duplicate", action="ReceiveMessage")])
    sides = [Side("process_feedback", max_messages=400) for _ in range(2)]
    with at_the_same_time(*sides) as said:
        received = [sum(one["received"]) for one in said]
    assert min(received) > 0
    assert queues.server.stats().received > 600
    drain_until_empty()
    found = queues.assert_nothing_lost()
    assert (found.stored, found.ignored) == (599, 1)


def test_sensor_runs_a_manual_run_a_backfill_and_the_nightly_recount_at_the_same_time_are_exact(
    queues: Queues, drain: Drain, drain_until_empty: Drain
) -> None:
    queues.publish(200)
    assert numbers(drain())["stored"] == 199
    with psycopg.connect(queues.database_url, autocommit=True) as database:
        # What the recount has to mend, while the others count.
        for table in ("counts", "totals"):
            database.execute(
                f"UPDATE public.ses_feedback_daily_{table} SET count = count + 7 "  # noqa: S608
                "WHERE notification_type = 'Delivery'"
            )
    queues.publish(3_000, seed=1, duplicates=0.1, poison=0.01)
    queues.server.latency(10)
    queues.server.faults([Fault("duplicate", action="ReceiveMessage", rate=0.2)])
    sides = [
        Side("process_feedback", 2, max_messages=400),  # the sensor's
        Side("process_feedback", 2, max_messages=400),
        Side("process_feedback", 2, max_messages=400),  # by hand
        Side("", 2, max_messages=400),  # the asset, as a backfill materializes it
        Side("daily_rollup", 2, tags=_DAYS),
    ]
    with at_the_same_time(*sides) as said:
        received = [sum(one["received"]) for one in said[:4]]
    assert min(received) > 0
    drain_until_empty()
    found = queues.assert_nothing_lost()
    assert (found.stored, found.duplicates, found.dead) == (2_863, 300, 30)
    assert found.ignored == 7
