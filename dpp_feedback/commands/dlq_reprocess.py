"""`dpp-feedback dlq reprocess`: the job reprocess_dlq from a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager, redirect_stderr, suppress
from datetime import datetime
from io import StringIO
from typing import TYPE_CHECKING, Any

import click

from dpp_feedback.commands.dlq_options import Since, ids_option, kind_option, reason_option
from dpp_feedback.commands.signals import INTERRUPTED, handing_back, like_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Iterator

    import dagster as dg


@click.command(short_help="Store what can be stored now, and leave the rest.")
@reason_option
@kind_option
@ids_option()
@click.option(
    "--since",
    "--received-after",
    "received_after",
    type=Since(),
    help="Only messages received then or later: an ISO 8601 time, or how long ago (3h, 2d).",
)
@click.option("--received-before", type=Since(), help="Only messages received before.")
@click.option("--max-messages", type=int, help="At most so many.  [default: 10000]")
@click.option(
    "--dry-run/--no-dry-run",
    default=True,
    show_default=True,
    help="Only say what would become of the messages, or do it.",
)
def reprocess(dry_run: bool, **config: Any) -> None:
    """Store what can be stored now, and leave the rest: the job reprocess_dlq, run here.

    Without --no-dry-run it only says what would become of the messages. Where DAGSTER_HOME is set
    the run is in Dagster's list like any other. Ended early, it hands back what it holds; what is
    stored by then and not deleted is "there already" the next time.
    """
    from dpp_feedback.definitions import defs
    from dpp_feedback.dlq.actor import actor, without_address
    from dpp_feedback.reprocess import NAME
    from dpp_feedback.reprocess_record import ACTING, ACTOR
    from dpp_feedback.resources import aws_region

    given = {name: value for name, value in config.items() if value not in (None, ())}
    given = {name: list(v) if isinstance(v, tuple) else v for name, v in given.items()}
    given = {name: v.isoformat() if isinstance(v, datetime) else v for name, v in given.items()}
    who = actor(aws_region())
    acting = ACTING.set(who)
    try:
        with handing_back(like_ctrl_c), _instance() as instance:
            with redirect_stderr(StringIO()):  # a line for each step; Dagster keeps them
                ended = defs.resolve_job_def(NAME).execute_in_process(
                    run_config={**given, "dry_run": dry_run},
                    instance=instance,
                    tags={ACTOR: without_address(who)},
                    raise_on_error=False,
                )
            _echo(instance, ended)
    except KeyboardInterrupt:  # before or after the run; within it Dagster makes it an end
        sys.exit(INTERRUPTED)
    finally:
        ACTING.reset(acting)


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
    from dagster._core.execution.plan.objects import ErrorSource
    from rich.console import Console
    from rich.table import Table

    from dpp_feedback.alert_inputs import failure_sentence
    from dpp_feedback.feedback.events import IgnoredReason
    from dpp_feedback.ingest import acknowledge_messages

    if any(
        event.step_failure_data.error_source is ErrorSource.INTERRUPT
        for event in ended.filter_events(lambda event: event.is_step_failure)
    ):
        with suppress(OSError):  # the terminal is gone
            click.echo("Stopped. What the run held and had not stored is in the queue.", err=True)
        sys.exit(INTERRUPTED)
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
            reason = str(record.data["reason"])
            ignored = "ignored: " if reason in set(IgnoredReason) else ""
            table.add_row(f"{record.data['messages']:,}", ignored + reason)
        console.print(table)
    if "next_step" in told:
        console.print("Again with --no-dry-run to do it.")
