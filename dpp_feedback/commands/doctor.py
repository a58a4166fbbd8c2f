"""The command `dpp-feedback doctor`: what it prints, and its exit code."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from dpp_feedback.doctor.finding import Finding

_COLOURS = {"pass": "green", "warn": "yellow", "fail": "bold red"}
_PIPED = 100  # columns


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def doctor(as_json: bool) -> None:
    """Check settings, login, AWS, database and Dagster, and say what to do next.

    It changes nothing, receives no message, and shows no key, password or mail address. Run it
    where the product runs, in a pod or on a laptop. Exit code: 0, or 1 if a check fails; a
    warning is none.
    """
    from dpp_feedback.doctor.examine import examinations, examine

    areas = examine(examinations())
    verdicts = [finding.verdict for findings in areas.values() for finding in findings]
    counts = {name: verdicts.count(name) for name in ("pass", "warn", "fail")}
    if as_json:
        click.echo(json.dumps(_as_json(areas, counts), indent=2))
    else:
        from rich.console import Console

        console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED)
        console.print(_table(areas))
        console.print(", ".join(f"{number} {name}" for name, number in counts.items()))
    sys.exit(1 if counts["fail"] else 0)


def _as_json(areas: dict[str, list[Finding]], counts: dict[str, int]) -> dict[str, object]:
    checks = [
        {
            "area": area,
            "check": finding.check,
            "verdict": finding.verdict,
            "found": finding.found,
            "next_step": finding.next_step,
        }
        for area, findings in areas.items()
        for finding in findings
    ]
    return {"checks": checks, "counts": counts}


def _table(areas: dict[str, list[Finding]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from dpp_feedback.feedback.escaped import printable

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=True)
    table.add_column("", width=4)
    table.add_column("check", width=22, overflow="fold")
    table.add_column("found, and what to do next", ratio=1, overflow="fold")
    told_by: dict[str, str] = {}
    for area, findings in areas.items():
        table.add_row("", Text(area, style="bold"), "")
        for finding in findings:
            # One fault, as a login that is missing, stops many checks: its sentence stands once.
            place = f"{area}, {finding.check}"
            first = place if finding.next_step else told_by.setdefault(finding.found, place)
            again = finding.verdict != "pass" and first != place
            told = Text(f"As said at {first}." if again else printable(finding.found))
            if finding.next_step:
                told.append(f"\n→ {printable(finding.next_step)}", style="bold")
            colour = _COLOURS[finding.verdict]
            table.add_row(Text(finding.verdict, style=colour), Text(printable(finding.check)), told)
        table.add_section()
    return table
