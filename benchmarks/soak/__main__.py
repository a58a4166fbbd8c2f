"""`python -m benchmarks.soak`: soak, write benchmarks/results/soak.json, and say how it went."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table as Shown

from benchmarks import results
from benchmarks.bench import Bench
from benchmarks.machine import describe
from benchmarks.results import Goal, Measurement, Result, Table, rounded, shown
from benchmarks.soak.publishing import DUPLICATES, POISON
from benchmarks.soak.soaking import Soaking

if TYPE_CHECKING:
    from benchmarks.soak.soaking import Soaked

_HOW = (
    "Messages come at a steady rate, {poison:.0%} of them poison and {duplicates:.0%} repeats. "
    "Runs drain two at a time: those of one process that stays, and others that have a process "
    "of their own, each. Meanwhile things go wrong, one after another from a list "
    "in the order of a seed. In the end the faults stop, the queue is drained until it is empty, "
    "and every message is looked for in the table and the queues. What the process that stays "
    "holds is sampled after each of its runs, the connections to Postgres each second; flat is "
    "what has a median in the last third of the samples that exceeds that of the first third by "
    "no more than a tolerance."
)


@click.command()
@click.option("--minutes", default=30.0, show_default=True, help="For which messages come.")
@click.option("--rate", default=300, show_default=True, help="Messages a second.")
@click.option("--seed", default=1, show_default=True, help="Of messages and faults.")
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    default=results.FOLDER,
    help="Where soak.json goes.",
)
def main(minutes: float, rate: int, seed: int, folder: Path) -> None:
    """Soak; the exit code is 0 only if the account is exact and everything flat."""
    with Bench.started() as bench:
        soaked = Soaking(bench, minutes=minutes, rate=rate, seed=seed).soak()
        machine = describe(bench.postgres.url())
    measured = _measurement(soaked, minutes=minutes, rate=rate, seed=seed)
    results.write(Result(measured, machine, quick=minutes < 30), folder)
    _show(measured)
    sys.exit(0 if soaked.is_exact and soaked.is_flat else 1)


def _measurement(soaked: Soaked, *, minutes: float, rate: int, seed: int) -> Measurement:
    found = soaked.account
    wrong = len(found.lost) + found.left + len(found.rows_missing) + len(found.rows_unexpected)
    return Measurement(
        name="soak",
        title=f"Soak: {shown(rounded(minutes))} minutes at {rate} messages a second, seed {seed}",
        how=_HOW.format(poison=POISON, duplicates=DUPLICATES),
        goals=[
            Goal("messages or rows not where they belong", wrong, "", 0, at_least=False),
            Goal("rows twice", found.rows_twice, "", 0, at_least=False),
            Goal("counters that differ", len(found.counters_differ), "", 0, at_least=False),
            *(
                Goal(
                    f"{one.what}, last third",
                    rounded(one.last),
                    "",
                    rounded(one.most),
                    at_least=False,
                )
                for one in soaked.flat
            ),
        ],
        tables=[
            Table(
                "Where the messages are",
                ["", "messages"],
                [
                    ["published", found.published],
                    ["stored", found.stored],
                    ["duplicates", found.duplicates],
                    ["ignored", found.ignored],
                    ["in the dead-letter queue", found.dead],
                    ["of them good, before reprocess_dlq", soaked.good_in_dlq],
                    ["poison", soaked.poison],
                    ["left, or lost", found.left + len(found.lost)],
                    ["rows", found.rows],
                    ["counted", found.counted],
                ],
            ),
            Table(
                "What stays flat",
                ["median", "samples", "first third", "last third", "flat up to"],
                [
                    [
                        one.what,
                        one.samples,
                        rounded(one.first),
                        rounded(one.last),
                        rounded(one.most),
                    ]
                    for one in soaked.flat
                ],
            ),
            Table("Runs", ["how they ended", "runs"], [[*one] for one in soaked.runs.items()]),
            Table("What went wrong", ["fault", "times"], [[*one] for one in soaked.faults.items()]),
            Table(
                "Requests to SQS that a fault befell",
                ["fault", "requests"],
                [[*one] for one in soaked.requests_befallen.items()],
            ),
        ],
    )


def _show(measured: Measurement) -> None:
    console = Console()
    for table in measured.tables:
        drawn = Shown(title=table.title, title_justify="left")
        for number, name in enumerate(table.columns):
            drawn.add_column(name, justify="right" if number else "left")
        for row in table.rows:
            drawn.add_row(*(shown(cell) for cell in row))
        console.print(drawn)
    for goal in measured.goals:
        console.print(f"{goal.what}: {goal.measured}, {goal.goal}: {'yes' if goal.met else 'NO'}")


if __name__ == "__main__":
    main()
