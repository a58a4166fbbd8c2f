"""`dpp-feedback dlq redrive` and `dlq discard`: options, questions, exit codes."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from dpp_feedback.commands.dlq_options import ids_option
from dpp_feedback.commands.signals import INTERRUPTED, handing_back
from dpp_feedback.errors import FeedbackError
from dpp_feedback.messages import counted
from dpp_feedback.move_tasks import FASTEST

if TYPE_CHECKING:
    from rich.console import Console

    from dpp_feedback.move_tasks import MoveTask
    from dpp_feedback.queue import Queue

_LONGEST_WHY = 500

yes_option = click.option("--yes", is_flag=True, help="Do not ask: for scripts.")


@click.command()
@click.option(
    "--max-per-second",
    type=click.IntRange(1, FASTEST),
    help="Move at most so many messages a second.  [default: as fast as SQS can]",
)
@click.option("--force", is_flag=True, help="Move everything, also what would come back.")
@click.option("--cancel", is_flag=True, help="Cancel the redrive that is running.")
@yes_option
def redrive(max_per_second: int | None, force: bool, cancel: bool, yes: bool) -> None:
    """Move everything in the dead-letter queue back to the queue it came from.

    SQS itself does it (StartMessageMoveTask), under new message ids. First a sample is read with
    the present parser and its rows are rehearsed in the database; while some of it would come
    back, nothing is moved unless forced. Ctrl-C ends the watching, not the redrive.

    Exit code: 0 if all is moved, or nothing was there.
    """
    from dpp_feedback.commands.look_shown import console
    from dpp_feedback.resources import FeedbackQueue

    dead_letters = FeedbackQueue(setting="SQS_DLQ_URL").connect()
    if cancel:
        if max_per_second or force or yes:
            raise click.UsageError("--cancel goes alone.")
        _cancel(dead_letters)
        return
    with handing_back():
        why_not = _prospect(console(), dead_letters, force=force)
        if why_not is None:
            click.echo("The dead-letter queue is empty: nothing to move.")
            return
        _confirm("Start the redrive?", yes=yes)
        _run(console(), dead_letters, max_per_second, force=force, why_not=why_not)


@click.command()
@ids_option(required=True)
@click.option("--why", required=True, help="The reason, for the record; at most 500 characters.")
@yes_option
def discard(message_ids: tuple[str, ...], why: str, yes: bool) -> None:
    """Delete single messages from the dead-letter queue, for good; at most 1000.

    Who does it, when, to which messages and why is recorded first. A message that would be stored
    now is marked: to discard it loses feedback.

    Exit code: 0 if all of them are discarded.
    """
    from dpp_feedback.commands import acts_shown
    from dpp_feedback.commands.look_shown import console
    from dpp_feedback.dlq.actor import actor
    from dpp_feedback.dlq.discard import NOT_THERE, find
    from dpp_feedback.dlq.discard import discard as do
    from dpp_feedback.dlq.reasons import READABLE
    from dpp_feedback.resources import FeedbackQueue, FeedbackStore, aws_region, sns_check

    why = _why(why)
    _look_through(message_ids)
    dead_letters, connect = FeedbackQueue(setting="SQS_DLQ_URL").connect(), FeedbackStore().connect
    admit = sns_check()
    with handing_back():
        found, why_partial = find(dead_letters, connect, message_ids, admit)
        there = [each.id for each in found]
        missing = set(message_ids) - set(there)
        if found:
            acts_shown.found(console(), found)
        acts_shown.not_discarded(
            {id_: f"{NOT_THERE} {why_partial}".strip() for id_ in message_ids if id_ in missing}
        )
        if not found:
            raise click.ClickException("None of these messages is there: nothing is discarded.")
        question = f"Delete {counted(len(found))} for good?"
        readable = sum(each.reason == READABLE for each in found)
        if readable:
            question = f"{readable} of them would be stored by `dlq reprocess`. {question}"
        _confirm(question, yes=yes)
        try:
            who = actor(aws_region())
            done = do(dead_letters, connect, there, actor=who, why=why, admit=admit)
        except (KeyboardInterrupt, SystemExit):
            with suppress(OSError):  # the terminal is gone
                click.echo(
                    "Stopped. Messages may be left that are recorded as discarded: the same "
                    "command again discards them.",
                    err=True,
                )
            raise
    acts_shown.discarded(done)
    sys.exit(1 if missing or done.left or done.not_recorded else 0)


def _prospect(console: Console, dead_letters: Queue, *, force: bool) -> str | None:
    """Show what a redrive would do.

    Returns:
        Why it should not be started, if it is forced; "" if it may; None if there is nothing.
    """
    from dpp_feedback.commands import acts_shown
    from dpp_feedback.dlq.prospect import examine
    from dpp_feedback.dlq.redrive import RedriveRefused, refuse_elsewhere, refuse_second
    from dpp_feedback.resources import FeedbackQueue, FeedbackStore, sns_check

    refuse_second(dead_letters.move_tasks)
    prospect = examine(dead_letters, FeedbackStore().connect, sns_check())
    if prospect.empty:
        return None
    destination, why_not = "the queue they came from", prospect.why_not
    try:
        main = FeedbackQueue().connect()
        destination = main.name
        refuse_elsewhere(dead_letters, main)
    except FeedbackError as error:
        why_not = f"{why_not} {error}".strip()
    acts_shown.prospect(console, prospect, source=dead_letters.name, destination=destination)
    if why_not and not force:
        raise RedriveRefused(f"{why_not} To move everything all the same, add --force.")
    return why_not


def _run(
    console: Console,
    dead_letters: Queue,
    max_per_second: int | None,
    *,
    force: bool,
    why_not: str,
) -> None:
    """Start a redrive, watch it to its end, and complete its record."""
    from dpp_feedback.commands import acts_shown
    from dpp_feedback.dlq.actor import actor
    from dpp_feedback.dlq.redrive import (
        CANCEL,
        finish,
        look_again,
        start,
        unfinished,
        watch,
    )
    from dpp_feedback.resources import FeedbackStore, aws_region

    connect = FeedbackStore().connect
    started = start(
        dead_letters,
        connect,
        actor=actor(aws_region()),
        max_per_second=max_per_second,
        force=force,
        why=f"forced, though: {why_not}" if why_not else None,
    )
    if started.not_recorded:
        click.echo(f"It has started, but is not recorded: {started.not_recorded}", err=True)
    last: MoveTask | None = None
    stopped: BaseException | None = None
    try:
        with acts_shown.redriving(console) as show:
            for task in watch(dead_letters.move_tasks, started):
                last = task
                show(task)
    except (KeyboardInterrupt, SystemExit, OSError, FeedbackError) as error:
        stopped = error  # OSError: the terminal is gone
    last = look_again(dead_letters.move_tasks, started, last)
    moved, why = last.moved if last else 0, unfinished(last)
    not_recorded = finish(connect, started.record, moved=moved, error=why or None)
    with suppress(OSError):
        if isinstance(stopped, FeedbackError):
            click.echo(str(stopped), err=True)
        if not_recorded:
            click.echo(f"How it ended is not recorded: {not_recorded}", err=True)
        click.echo(why or f"{counted(moved)} moved.", err=bool(why))
        if last is None or last.under_way:
            click.echo(f"To cancel it: {CANCEL}.", err=True)
    if isinstance(stopped, SystemExit):
        raise stopped
    if isinstance(stopped, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    if why or not_recorded or started.not_recorded:
        sys.exit(1)


def _cancel(dead_letters: Queue) -> None:
    from dpp_feedback.dlq.actor import actor
    from dpp_feedback.dlq.redrive import cancel
    from dpp_feedback.resources import FeedbackStore, aws_region

    moved, not_recorded = cancel(dead_letters, FeedbackStore().connect, actor=actor(aws_region()))
    click.echo(
        f"Cancelled. {counted(moved)} had been moved, and stay where they are; the "
        "others stay in the dead-letter queue."
    )
    if not_recorded:
        raise click.ClickException(f"This is not recorded: {not_recorded}")


def _confirm(question: str, *, yes: bool) -> None:
    """Ask; without a terminal only --yes answers."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.ClickException(
            "Nobody can be asked, as standard input is no terminal: add --yes. Nothing was done."
        )
    click.confirm(question, abort=True)


def _look_through(ids: tuple[str, ...]) -> None:
    """Refuse more ids than a person looks through."""
    from dpp_feedback.dlq.discard import MAX_IDS

    if len(ids) > MAX_IDS:
        raise click.BadParameter(
            f"{len(ids):,} ids; one act takes {MAX_IDS:,}: look them through in parts.",
            param_hint="--id",
        )


def _why(written: str) -> str:
    """Read the reason, without addresses."""
    from dpp_feedback.feedback.escaped import printable
    from dpp_feedback.masking import masked

    why = printable(masked(" ".join(written.split())))
    if not 0 < len(why) <= _LONGEST_WHY:
        raise click.BadParameter(
            f"say in 1 to {_LONGEST_WHY} characters why they may go.", param_hint="--why"
        )
    return why
