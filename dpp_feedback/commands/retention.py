"""`dpp-feedback retention`: options, and what is printed."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from dpp_feedback.commands.signals import handing_back

if TYPE_CHECKING:
    from dpp_feedback.removal.old import Removed


@click.command()
@click.option(
    "--days",
    type=click.IntRange(30),
    help="Remove what is older than so many days.  [default: SES_FEEDBACK_RETENTION_DAYS, or 400]",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def retention(days: int | None, dry_run: bool) -> None:
    """Remove events, resolved rejects and acts on the dead-letter queue that are too old.

    Counters stay, and so do bounces and complaints of whoever must not be mailed. It may be ended
    at any moment: the same command goes on from there. The job `retention` does it every night.
    """
    from dpp_feedback.connection import connect
    from dpp_feedback.dlq.actor import actor, without_address
    from dpp_feedback.removal.old import look, remove
    from dpp_feedback.resources import aws_region, database_url, retention_days

    days = days or retention_days()
    if days is None:
        click.echo(
            "SES_FEEDBACK_RETENTION_DAYS is never: nothing is removed. --days says otherwise."
        )
        return
    with closing(connect(database_url(), "dpp_feedback retention")) as connection:
        if dry_run:
            _echo(look(connection, days), dry_run=True)
            return
        with handing_back():
            acting = without_address(actor(aws_region()))
            _echo(remove(connection, days, actor=acting), dry_run=False)


def _echo(removed: Removed, *, dry_run: bool) -> None:
    said = "Would remove" if dry_run else "Removed"
    click.echo(f"{said} what is from before {removed.before:%Y-%m-%d} (UTC):")
    for number, what in (
        (removed.events, "events"),
        (removed.rejects, "resolved rejects"),
        (removed.dlq_actions, "acts on the dead-letter queue"),
    ):
        click.echo(f"{number:>12,}  {what}")
    click.echo(
        f"{removed.kept:>12,}  events stay, as the list of who must not be mailed rests on them"
    )
