"""`dpp-feedback dlq list`, `dlq show` and `dlq export`: they look, and hand everything back."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dpp_feedback.commands.dlq_options import filters
from dpp_feedback.commands.signals import INTERRUPTED, handing_back
from dpp_feedback.errors import FeedbackError
from dpp_feedback.messages import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TextIO

    from dpp_feedback.dlq.listing import Entry, Listing
    from dpp_feedback.dlq.selection import Selection
    from dpp_feedback.feedback.events import Outcome
    from dpp_feedback.feedback.parser import Admit
    from dpp_feedback.move_tasks import MoveTask
    from dpp_feedback.queue import Look, Message, Queue
    from dpp_feedback.rejects import RejectRow
    from dpp_feedback.store import Inserted

_PAGE = 100  # messages that are laid out, and sorted, at a time


@click.command("list")
@filters
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object a message.")
def list_(
    reasons: tuple[str, ...],
    kinds: tuple[str, ...],
    since: datetime | None,
    contains: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List what lies in the dead-letter queue, and why.

    SQS cannot peek: for the time of the look the messages are in flight. They are handed back at
    its end, on Ctrl-C too; their receive count goes up. Bodies and addresses are not shown.
    """
    from dpp_feedback.commands import look_shown
    from dpp_feedback.feedback.escaped import json_text

    selection = _selection(reasons, kinds, since)
    console = look_shown.console()
    with _looking(selection, contains, limit) as (queue, look, listing):
        page = []
        pages = 0
        for entry, _ in listing:
            if as_json:
                click.echo(json_text(entry.as_json()))
                continue
            page.append(entry)
            if len(page) == _PAGE:
                console.print(look_shown.page(page, console.width, _now(), header=pages == 0))
                page.clear()
                pages += 1
        if page:
            console.print(look_shown.page(page, console.width, _now(), header=pages == 0))
    filtered = not selection.everything or contains is not None
    _remark(queue, look, listing, filtered=filtered, err=as_json)


@click.command()
@click.argument("message_id", metavar="ID")
@click.option("--reveal", is_flag=True, help="Show mail addresses; they are masked otherwise.")
@click.option(
    "--body",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the body to a new FILE, byte for byte, WITH all mail addresses. Only you can "
    "read it; delete it when you are done.",
    metavar="FILE",
)
def show(message_id: str, reveal: bool, file: Path | None) -> None:
    """Show one message of the dead-letter queue: what it is, why it is here, how it begins.

    A message that is no longer there is shown from the database, if its body is kept there
    (SES_FEEDBACK_REJECT_KEY).

    Exit code: 0 if it is shown, 1 if it is not found.
    """
    from dpp_feedback.commands import look_shown
    from dpp_feedback.dlq.selection import Selection

    message_id = message_id.strip()
    selection = Selection.of(message_ids=[message_id])
    with _looking(selection, None, 0, warn=False) as (queue, look, listing):
        entry, message = next(iter(listing), (None, None))
    row, kept, why_not = _recorded(message_id, with_body=message is None)
    if why_not:
        click.echo(f"What is recorded about it cannot be read: {why_not}", err=True)
    recorded = {} if why_not else look_shown.recorded(row)
    told = entry or row
    body = message.body if message else kept
    if told is None or body is None:
        raise click.ClickException(_not_found(queue, look, row, why_not))
    if file:
        with _new_file(file) as out:
            out.buffer.write(encoded(body))
    if row and not entry:
        became = look_shown.became(row)
        click.echo(f"It is not in {queue.name} now. {became}; this is the body kept there.\n")
    _show(told, body, recorded, reveal=reveal)
    if file:
        click.echo(f"\nThe body is in {file} as it is, mail addresses included.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@filters
def export(
    file: Path,
    reasons: tuple[str, ...],
    kinds: tuple[str, ...],
    since: datetime | None,
    contains: str | None,
    limit: int,
) -> None:
    """Write messages of the dead-letter queue to a new FILE, one JSON object a line; - for stdout.

    For bug reports. Mail addresses are masked: j***@example.com. Not masked are names, subjects,
    domains, and whatever else stands in a body: read the file before you pass it on.
    """
    from dpp_feedback.feedback.escaped import json_text

    selection = _selection(reasons, kinds, since)
    with _looking(selection, contains, limit) as (queue, look, listing), _new_file(file) as out:
        for entry, message in listing:
            out.write(json_text(_exported(entry.as_json(), message)) + "\n")
            out.flush()
    filtered = not selection.everything or contains is not None
    written_to = "standard output" if str(file) == "-" else str(file)
    _remark(queue, look, listing, filtered=filtered, err=True, written_to=written_to)


def _selection(
    reasons: tuple[str, ...], kinds: tuple[str, ...], since: datetime | None
) -> Selection:
    from dpp_feedback.dlq.selection import Selection

    return Selection.of(reasons=reasons, kinds=kinds, received_after=since)


@contextmanager
def _looking(
    selection: Selection, contains: str | None, limit: int, *, warn: bool = True
) -> Iterator[tuple[Queue, Look, Listing]]:
    """Look at the dead-letter queue; what is held is handed back when the block is left.

    Ctrl-C, SIGTERM and a closed terminal end the command with 130, 143 and 129.
    """
    from dpp_feedback.dlq.listing import Listing
    from dpp_feedback.resources import FeedbackQueue, sns_check

    try:
        admit = sns_check()
        queue = FeedbackQueue(setting="SQS_DLQ_URL").connect()
        retention = queue.retention()
        refused = _refused() if warn else frozenset[str]()
        with handing_back(), queue.look() as look:
            listing = Listing(
                look,
                selection,
                refused=refused,
                retention=retention,
                contains=contains,
                limit=limit,
                admit=admit,
            )
            yield queue, look, listing
    except KeyboardInterrupt:
        click.echo("Stopped; what was looked at is handed back.", err=True)
        sys.exit(INTERRUPTED)


def _refused() -> frozenset[str]:
    """Ask the database which messages it refused; if it does not say, say so."""
    from dpp_feedback.resources import FeedbackStore

    try:
        with FeedbackStore().connect() as store:
            return store.rejects.refused()
    except FeedbackError as error:
        click.echo(f"refused_by_database cannot be told from readable: {error}", err=True)
        return frozenset()


def _recorded(message_id: str, *, with_body: bool) -> tuple[RejectRow | None, str | None, str]:
    """Read the row of a message, its body if it is kept, and why that cannot be read."""
    from dpp_feedback.resources import FeedbackStore

    row = None
    try:
        with FeedbackStore().connect() as store:
            row = store.rejects.find([message_id]).get(message_id)
            return row, store.rejects.body(message_id) if row and with_body else None, ""
    except FeedbackError as error:
        return row, None, str(error)


def _remark(
    queue: Queue,
    look: Look,
    listing: Listing,
    *,
    filtered: bool,
    err: bool,
    written_to: str | None = None,
) -> None:
    from dpp_feedback.commands import look_shown

    task: MoveTask | None = None
    try:
        task = queue.move_tasks.latest()
    except FeedbackError as error:
        click.echo(f"Whether a redrive is running is not known: {error}", err=True)
    said = look_shown.remarks(
        listing, look, queue, filtered=filtered, task=task, now=_now(), written_to=written_to
    )
    if listing.shown and not err:
        click.echo()
    click.echo("\n".join(said), err=err)


def _show(told: Entry | RejectRow, body: str, recorded: Mapping[str, str], *, reveal: bool) -> None:
    from rich.text import Text

    from dpp_feedback.commands import look_shown
    from dpp_feedback.explain import explain
    from dpp_feedback.masking import masked
    from dpp_feedback.resources import sns_check
    from dpp_feedback.show import explanation

    console = look_shown.console()
    console.print(look_shown.facts(told, body, recorded, _now()))
    console.print()
    admit = sns_check()
    verdict = look_shown.verdict(*_rehearsed(body, told.sent_at, admit))
    explained = explain(body, told.sent_at, admit)
    console.print(explanation(explained, mask=not reveal, verdict=verdict))
    hidden = "" if reveal else ", addresses masked (--reveal shows them)"
    console.print(Text(f"\nbody{hidden}:", style="bold"))
    console.print(Text(look_shown.body_shown(body if reveal else masked(body)), overflow="fold"))


def _rehearsed(body: str, sent_at: datetime, admit: Admit) -> tuple[Outcome, Inserted | None, str]:
    """Read a body, insert its rows and take them back; say why that is not possible."""
    from dpp_feedback.feedback.glance import events_of
    from dpp_feedback.feedback.parser import parse
    from dpp_feedback.resources import FeedbackStore

    outcome = parse(body, sent_at, admit)
    try:
        with FeedbackStore().connect() as store:
            return outcome, store.insert(events_of(outcome), rehearse=True), ""
    except FeedbackError as error:
        return outcome, None, str(error)


def _not_found(queue: Queue, look: Look, row: RejectRow | None, why_not: str) -> str:
    from dpp_feedback.commands.look_shown import became

    elsewhere = "it is gone, somebody else holds it, or the id is another"
    said = [f"{queue.name} shows no such message: {elsewhere}."]
    if look.why_partial:
        said.append(f"Not all could be seen: {look.why_partial}")
    if row:
        said.append(f"{became(row)}; its body is not {'readable' if why_not else 'kept'}.")
    return " ".join(said)


def _exported(entry: dict[str, Any], message: Message) -> dict[str, Any]:
    from dpp_feedback.masking import masked

    names = ("message_id", "sent_at", "receive_count", "reason", "detail", "kinds", "topic_arn")
    return {name: entry[name] for name in names} | {"body": masked(message.body)}


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """Open a file that only its owner can read; one that stays empty is removed."""
    if str(path) == "-":
        yield sys.stdout
        return
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.ClickException(f"{path} exists: name a new file.") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}.") from None
    try:
        with os.fdopen(number, "w", encoding="utf-8") as out:
            yield out
    finally:
        if not path.stat().st_size:
            path.unlink()


def _now() -> datetime:
    return datetime.now(UTC)
