"""What the local stack costs while nothing happens, against Dagster alone."""

from __future__ import annotations

import resource
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING

import psutil

from benchmarks.live import live, wait_for
from benchmarks.machine import REPOSITORY
from benchmarks.results import Goal, Measurement, Table, rounded
from dpp_feedback.local.process import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.live import Live

_FULL, _QUICK = 300, 20  # seconds
_SETTLING, _QUICK_SETTLING = 30, 5  # seconds, after the first runs
_ATTEMPTS = 3
_SECONDS = 300
_TIMES_DAGSTER = 1.1
_RUNS_AN_HOUR = 1 + 4 / 24  # feedback_checks; nightly counts and list, report, dlq_health
_EMPTY = "import dagster as dg\n\ndefs = dg.Definitions()\n"
_WORKSPACE = "load_from:\n  - python_file: empty.py\n"
# The words of a command line that tell which process it is; the first that fits.
_PARTS = [
    ("webserver", "web server"),
    ("daemon", "daemon"),
    ("code-server", "code server"),
    ("api grpc", "code server"),
]
_REST = "dagster dev"
_POSTGRES = "Postgres"
_HOW = """\
Two stacks of `dagster dev` (web server, daemon, code server) run side by side for {seconds} seconds
after their first runs, with the same dagster.yaml: one with this project, whose queues are empty,
the other with a module without definitions. Counted is what their processes used of a processor,
user and system, children that ended among them; with the project also its Postgres. Runs that the
project's schedules ask for while nothing happens, {runs} an hour, are not within these seconds: one
of them, `feedback_checks`, is executed by itself, and counted as often as they come. Requests to
AWS are those that the endpoint counted; other than GetQueueAttributes there are none.
"""
_BINDS = """\
Dagster's ticks. Each evaluation of a sensor is a call of the daemon to the code server, which
connects to the instance's storage anew, and three writes of the daemon's to that storage, whatever
the sensor does. With the project's four sensors there are {ticks} ticks an hour; Dagster alone has
none. It comes to {share} % of one processor.
"""


@dataclass(frozen=True, slots=True)
class Idle:
    """An hour of one stack, computed from the seconds that were measured.

    Attributes:
        cpu: seconds of a processor, by part.
        requests: to AWS.
    """

    cpu: dict[str, float]
    requests: float

    @property
    def total(self) -> float:
        """Seconds of a processor, of all parts."""
        return sum(self.cpu.values())


def measure(bench: Bench, *, quick: bool) -> Measurement:
    """Let two stacks idle side by side."""
    seconds = _QUICK if quick else _FULL
    bench.say(f"idle: two stacks for {seconds} seconds")
    ours, dagster = idle(bench, seconds, _QUICK_SETTLING if quick else _SETTLING)
    return summed_up(ours, dagster, seconds, quick=quick)


def idle(bench: Bench, seconds: float, settling: float) -> tuple[Idle, Idle]:
    """Measure the project's stack, and Dagster's without it.

    Raises:
        NotInTime: no run of the project's first ones came or ended.
    """
    queue, database_url = bench.load(0, latency_ms=0), bench.fresh_database()
    settings = {**queue.environment, "DATABASE_URL": database_url}
    empty = bench.folder / "workspace.yaml"
    empty.write_text(_WORKSPACE)
    empty.with_name("empty.py").write_text(_EMPTY)
    with ExitStack() as stack:
        ours = stack.enter_context(live(bench.folder, settings))
        bare = stack.enter_context(live(bench.folder, {}, empty))
        wait_for("the first run", lambda: bool(ours.runs()), seconds=_SECONDS, every=0.5)
        wait_for("it to end", ours.quiet, seconds=_SECONDS, every=0.5)
        sleep(settling)
        for _ in range(_ATTEMPTS):
            runs = ours.runs()
            bench.sqs.reset_stats()
            begin, before = monotonic(), [_used(bench, ours), _used(None, bare)]
            sleep(seconds)
            hours, after = (monotonic() - begin) / 3600, [_used(bench, ours), _used(None, bare)]
            requests = sum(bench.sqs.stats().requests.values())
            if ours.runs() == runs:  # a schedule's run would count as often as it fits into an hour
                break
    ours_cpu, bare_cpu = (
        {part: (new[part] - old.get(part, 0)) / hours for part in new}
        for old, new in zip(before, after, strict=True)
    )
    ours_cpu["runs of schedules"] = _RUNS_AN_HOUR * _run_seconds(
        bench.dagster_home(), bench.environment(queue, database_url)
    )
    return Idle(ours_cpu, requests / hours), Idle(bare_cpu, 0)


def summed_up(ours: Idle, dagster: Idle, seconds: float, *, quick: bool) -> Measurement:
    """Make the table, and say what binds."""
    goal = Goal(
        "CPU of the idle local stack, against Dagster without the project",
        rounded(ours.total / dagster.total, 3),
        "times",
        _TIMES_DAGSTER,
        at_least=False,
    )
    return Measurement(
        name="idle",
        title="While nothing happens",
        how=_HOW.format(seconds=seconds, runs=rounded(_RUNS_AN_HOUR)),
        goals=[] if quick else [goal],
        tables=[
            Table(
                "Seconds of one processor in an hour",
                ["part", "with the project", "Dagster alone"],
                [
                    *(
                        [part, rounded(ours.cpu[part]), rounded(dagster.cpu.get(part, 0))]
                        for part in sorted(ours.cpu)
                    ),
                    ["together", rounded(ours.total), rounded(dagster.total)],
                ],
            ),
            Table(
                "Requests to AWS in an hour",
                ["", "requests"],
                [["GetQueueAttributes", rounded(ours.requests)]],
            ),
        ],
        binds=""
        if goal.met or quick
        else _BINDS.format(ticks=_ticks(), share=rounded(ours.total / 36, 2)),
        figures={"requests_per_hour": ours.requests},
    )


def _ticks() -> int:
    from dpp_feedback.definitions import defs

    sensors = list(defs.sensors or [])
    return sum(3600 // (sensor.minimum_interval_seconds or 30) for sensor in sensors)


def _used(bench: Bench | None, stack: Live) -> dict[str, float]:
    """Sum up the seconds of a processor that each part has used so far."""
    used = _sums(stack.processes())
    if bench:
        record = Record.read(bench.postgres.folder / "process.json")
        server = record.process() if record else None
        assert server is not None  # noqa: S101 - the bench has started it
        used[_POSTGRES] = sum(_sums([server, *server.children()]).values())
    return used


def _sums(processes: Iterable[psutil.Process]) -> dict[str, float]:
    used: dict[str, float] = {}
    for process in processes:
        try:
            words, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.Error:
            continue
        part = next((name for sign, name in _PARTS if sign in words), _REST)
        used[part] = used.get(part, 0) + sum(times[:4])  # its children's that ended too
    return used


def _run_seconds(home: Path, environment: Mapping[str, str]) -> float:
    """Execute one run of feedback_checks in a process of its own; return what that used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [
            sys.executable, "-m", "dagster", "job", "execute",
            "-m", "dpp_feedback.definitions", "-j", "feedback_checks",
        ],
        cwd=REPOSITORY,
        env={**environment, "DAGSTER_HOME": str(home)},
        check=True,
        capture_output=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
