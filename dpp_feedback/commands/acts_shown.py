"""What `dlq redrive` and `dlq discard` print: what would happen, how far it is, what became of it.

Everything that comes from a message is escaped.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from dpp_feedback.commands.look_shown import SHORT_TIME, kinds_shown, span
from dpp_feedback.dlq.reasons import IGNORED, READABLE
from dpp_feedback.dlq.redrive import progress
from dpp_feedback.feedback.escaped import printable
from dpp_feedback.messages import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import Console

    from dpp_feedback.dlq.discard import Discarded, Found
    from dpp_feedback.dlq.prospect import Prospect
    from dpp_feedback.move_tasks import MoveTask

_LOOKS_A_LINE = 10  # looks at a redrive, one a second, where no terminal shows a bar
_NAMED = 20  # messages that were not discarded, named one by one for each reason
_BECOMES = {READABLE: "stored", IGNORED: "acknowledged: it is no feedback"}


def prospect(console: Console, seen: Prospect, *, source: str, destination: str) -> None:
    """Print what would become of the messages, by what became of a sample.

    Args:
        console: where.
        seen: what is known.
        source: the dead-letter queue's name.
        destination: the queue's name.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    sampled = f"{seen.sampled:,} of them" if seen.sampled < seen.messages else "all"
    click.echo(f"{counted(seen.messages)} in {source}, {sampled} looked at.")
    click.echo(f"A redrive moves them to {destination}.")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("messages", justify="right")
    table.add_column("now")
    table.add_column("after a redrive")
    for reason, number in seen.reasons.items():
        good = reason in _BECOMES
        becomes = _BECOMES.get(reason, "back in the dead-letter queue")
        table.add_row(f"{number:,}", reason, Text(becomes, style="green" if good else "red"))
    if seen.reasons:
        console.print()
        console.print(table)
        console.print()
    if seen.in_flight:
        click.echo(
            f"{counted(seen.in_flight)} of them in flight: somebody else holds them, and a "
            "redrive does not move them."
        )


@contextmanager
def redriving(console: Console) -> Iterator[Callable[[MoveTask], None]]:
    """Show how far a redrive is: a bar in a terminal, elsewhere a line every ten seconds.

    Yields:
        What is to be called with each look at it.
    """
    if not console.is_terminal:
        looks = 0

        def line(task: MoveTask) -> None:
            nonlocal looks
            if looks % _LOOKS_A_LINE == 0:
                click.echo(f"{task.status}: {progress(task)}")
            looks += 1

        yield line
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        bar = bars.add_task("RUNNING", total=None, said="")

        def draw(task: MoveTask) -> None:
            bars.update(
                bar,
                description=task.status,
                total=task.to_move,
                completed=task.moved,
                said=progress(task),
            )

        yield draw


def found(console: Console, several: Sequence[Found]) -> None:
    """Print the messages that are to go."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    now = datetime.now(UTC)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("message id", no_wrap=True)
    table.add_column("received (UTC)", no_wrap=True)
    table.add_column("age", no_wrap=True, justify="right")
    table.add_column("kind", overflow="fold")
    table.add_column("reason now", overflow="fold")
    for each in several:
        readable = each.reason == READABLE
        table.add_row(
            Text(printable(each.id)),
            f"{each.sent_at:{SHORT_TIME}}",
            span(now - each.sent_at),
            Text(kinds_shown(each.kinds)),
            Text(
                "readable: are you sure?" if readable else each.reason,
                style="bold" if readable else "",
            ),
        )
    console.print(table)


def discarded(done: Discarded) -> None:
    """Print what became of the messages."""
    click.echo(f"{counted(len(done.gone))} discarded.")
    not_discarded(done.left)
    if done.not_recorded:
        click.echo(
            "They are recorded as discarded; how the act ended is not recorded: "
            f"{done.not_recorded}",
            err=True,
        )


def not_discarded(whys: Mapping[str, str]) -> None:
    """Print on standard error which messages stay, and why."""
    by_why: dict[str, list[str]] = {}
    for id_, why in whys.items():
        by_why.setdefault(why, []).append(printable(id_))
    for why, ids in by_why.items():
        click.echo(f"Not discarded: {why}", err=True)
        for id_ in ids[:_NAMED]:
            click.echo(f"  {id_}", err=True)
        if len(ids) > _NAMED:
            click.echo(f"  and {len(ids) - _NAMED:,} more", err=True)
