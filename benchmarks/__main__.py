"""The benchmark: `python -m benchmarks [--quick] [--only NAME ...]`.

It measures one after the other, writes a file of results for each, and then docs/performance.md
from all the files that are there. A goal that is missed is said, and no error.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from benchmarks import machine, report, results
from benchmarks.bench import Bench
from benchmarks.results import FOLDER, Result

if TYPE_CHECKING:
    from benchmarks.results import Measurement

NAMES = (
    "throughput",
    "memory",
    "parallel",
    "growth",
    "migrations",
    "backlog",
    "arrival",
    "idle",
    "cost",
)
"""Modules of this package, each with a function `measure`, in the order of the page."""

QUICK_FOLDER = FOLDER / "quick"


@click.command()
@click.option("--quick", is_flag=True, help="Smaller sizes, under 3 minutes; not for the page.")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Measure this; repeatable.")
def main(quick: bool, only: tuple[str, ...]) -> None:
    """Measure, and write the page."""
    console, began = Console(), perf_counter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    folder = QUICK_FOLDER if quick else FOLDER
    measured = []
    with Bench.started(folder) as bench:
        on = machine.describe(bench.postgres.url())
        for name in [name for name in NAMES if not only or name in only]:
            console.print(f"[bold]{name}")
            measurement = import_module(f"benchmarks.{name}").measure(bench, quick=quick)
            results.write(Result(measurement, on, quick), folder)
            measured.append(measurement)
    console.print(_goals(measured))
    page = folder / "performance.md" if quick else report.PAGE
    report.write(results.read_all(NAMES, folder), page)
    console.print(f"{page} is written, after {perf_counter() - began:.0f} seconds.")


def _goals(measured: list[Measurement]) -> Table:
    table = Table("measured", "goal", "found", "met", title="Goals")
    for measurement in measured:
        for goal in measurement.goals:
            table.add_row(goal.what, goal.goal, goal.measured, "yes" if goal.met else "NO")
    return table


if __name__ == "__main__":
    main()
