"""`dpp-feedback dlq reprocess`: the job reprocess_dlq from a terminal."""

from __future__ import annotations

from contextlib import contextmanager, redirect_stderr
from datetime import datetime
from io import StringIO
from typing import TYPE_CHECKING, Any

import click

from dpp_feedback.commands.dlq_look import Since

if TYPE_CHECKING:
    from collections.abc import Iterator

    import dagster as dg


@click.command(short_help="Store what can be stored now, and leave the rest.")
@click.option("--reason", "reasons", multiple=True, help="Only messages with this reason; repeat.")
@click.option("--kind", "kinds", multiple=True, help="Only this kind of event; repeat.")
@click.option("--id", "message_ids", multiple=True, help="Only this message; repeat.")
@click.option(
    "--since",
    "--received-after",
    "received_after",
    type=Since(),
    help="Only messages received then or later: an ISO 8601 time, or how long ago (3h, 2d).",
)
@click.option("--received-before", type=Since(), help="Only messages received before.")
@click.option("--max-messages", type=int, help="At most so many.  [default: 10000]")
@click.option("--dry-run/--no-dry-run", default=True, show_default=True)
def reprocess(dry_run: bool, **config: Any) -> None:
    """Store what can be stored now, and leave the rest: the job reprocess_dlq, run here.

    Without --no-dry-run it only says what would become of the messages. Where DAGSTER_HOME is set
    the run is in Dagster's list like any other.
    """
    from dpp_feedback.definitions import defs
    from dpp_feedback.dlq.actor import actor
    from dpp_feedback.reprocess import NAME
    from dpp_feedback.reprocess_record import ACTOR
    from dpp_feedback.resources import aws_region

    given = {name: value for name, value in config.items() if value not in (None, ())}
    given = {name: list(v) if isinstance(v, tuple) else v for name, v in given.items()}
    given = {name: v.isoformat() if isinstance(v, datetime) else v for name, v in given.items()}
    tags = {ACTOR: actor(aws_region())}
    with _instance() as instance:
        with redirect_stderr(StringIO()):  # a line for each step; Dagster keeps them with the run
            ended = defs.resolve_job_def(NAME).execute_in_process(
                run_config={**given, "dry_run": dry_run},
                instance=instance,
                tags=tags,
                raise_on_error=False,
            )
        _echo(instance, ended)


@contextmanager
def _instance() -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of DAGSTER_HOME, or one that is forgotten afterwards."""
    import dagster as dg
    from dagster._core.errors import DagsterHomeNotSetError

    try:
        instance = dg.DagsterInstance.get()
    except DagsterHomeNotSetError:
        instance = dg.DagsterInstance.ephemeral()
    with instance:
        yield instance


def _echo(instance: dg.DagsterInstance, ended: dg.ExecuteInProcessResult) -> None:
    """Print what the run says of itself; exit with 1 if it failed."""
    import dagster as dg
    from rich.console import Console
    from rich.table import Table

    from dpp_feedback.alert_inputs import failure_sentence
    from dpp_feedback.ingest import acknowledge_messages

    if not ended.success:
        raise click.ClickException(failure_sentence(instance, ended.run_id))
    (told,) = (
        event.step_output_data.metadata
        for event in ended.events_for_node(acknowledge_messages.name)
        if event.is_successful_output
    )
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(str(told["summary"].value))
    reasons = told.get("ignored_and_rejected")
    if isinstance(reasons, dg.TableMetadataValue):
        table = Table("messages", "reason", box=None)
        table.columns[0].justify = "right"
        for record in reasons.records:
            table.add_row(f"{record.data['messages']:,}", str(record.data["reason"]))
        console.print(table)
