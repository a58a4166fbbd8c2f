"""What `dlq list`, `dlq show` and `dlq export` print.

Everything that comes from a message is escaped.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dpp_feedback.dlq.listing import Entry
from dpp_feedback.dlq.reasons import IGNORED, NOT_KNOWN, READABLE
from dpp_feedback.feedback.escaped import printable
from dpp_feedback.feedback.events import Ignored, Rejected, RejectedReason
from dpp_feedback.messages import counted, encoded, sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from dpp_feedback.dlq.listing import Listing
    from dpp_feedback.feedback.events import Outcome
    from dpp_feedback.move_tasks import MoveTask
    from dpp_feedback.queue import Look, Queue
    from dpp_feedback.rejects import RejectRow
    from dpp_feedback.store import Inserted

SOON = timedelta(days=3)
_URGENT = "bold red"
NARROW = 'See "A column is too narrow" in docs/runbook.md.'
BODY_SHOWN = 2000  # characters
_PIPED = 180  # columns: what is piped is searched, so ids and reasons stay on one line
_WIDE = 144  # columns for one line a message
_KINDS_SHOWN, _LONGEST_KIND = 3, 40  # the name of an unknown one comes from the body
_TIME = "%Y-%m-%d %H:%M"
SHORT_TIME = "%m-%d %H:%M"  # SQS keeps nothing for longer than 14 days
_COLOURS = {READABLE: "green", IGNORED: "yellow"}
_OF_REASONS = {
    RejectedReason.REFUSED_BY_DATABASE.value: "refused_by_database is what the last run met: "
    "`dpp-feedback dlq reprocess --reason refused_by_database` says whether it still holds.",
    NOT_KNOWN: f"{NOT_KNOWN}: SNS gives no certificate now to judge these by. `dpp-feedback "
    "doctor` says whether its host answers; with SNS_VERIFY=false they are listed without.",
}


def console() -> Console:
    """A console as wide as the terminal, or wide enough for one line a message."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED)


def page(entries: Sequence[Entry], width: int, now: datetime, *, header: bool) -> Table:
    """Lay out messages, the oldest first; pages of the same width stand in the same columns.

    Args:
        entries: the messages.
        width: of the terminal, in columns. A narrow one gets two lines a message.
        now: what ages are counted from.
        header: whether the names of the columns stand above.
    """
    table = _wide(header) if width >= _WIDE else _narrow(header)
    for entry in sorted(entries, key=lambda each: (each.sent_at, each.message_id)):
        table.add_row(*(_cells if width >= _WIDE else _stacked)(entry, now))
    return table


def remarks(
    listing: Listing,
    look: Look,
    queue: Queue,
    *,
    filtered: bool,
    task: MoveTask | None,
    now: datetime,
    written_to: str | None = None,
) -> list[str]:
    """Say what a list does not: how much was seen, why not all, and what to do next.

    Args:
        listing: gone through.
        look: left.
        queue: the dead-letter queue.
        filtered: whether a filter was set.
        task: the latest redrive; None if that is not known.
        now: what is counted from.
        written_to: where the messages are; None: they stand above.
    """
    said = []
    if not listing.seen:
        said.append(
            f"No message of {queue.name} could be seen."
            if look.why_partial
            else f"The dead-letter queue {queue.name} is empty."
        )
    elif listing.shown:
        said.append(
            f"{counted(listing.seen)} seen, {listing.shown:,} "
            f"{f'written to {written_to}' if written_to else 'shown'}: {_by(listing.reasons)}."
        )
    elif filtered:
        said.append(
            f"No message matches, of {counted(listing.seen)} seen. What is there: "
            f"{_by(listing.all_reasons)}."
        )
    if listing.limited:
        said.append(f"The limit of {listing.shown:,} was reached; --limit 0 shows all.")
    why_partial = look.troubles if listing.limited else look.why_partial
    if why_partial:
        said.append(f"This is not all: {why_partial}")
    if listing.first_expires_at:
        left = listing.first_expires_at - now
        of = "of these" if look.why_partial else "of all"
        said.append(f"The first {of} expires {_in(left)}: then SQS deletes it.")
    if task and task.under_way:
        said.append(
            f"A redrive is {task.status}, {counted(task.moved)} moved so far: what is listed may "
            "be gone the next moment. `dpp-feedback dlq redrive --cancel` cancels it."
        )
    said += [told for reason, told in _OF_REASONS.items() if listing.reasons[reason]]
    if listing.shown and not written_to:
        said.append(
            "Next: `dpp-feedback dlq show ID` says why a message is here; `dpp-feedback dlq "
            "reprocess` says what would become of all of them now, and moves nothing."
        )
    return said


def facts(told: Entry | RejectRow, body: str, recorded: Mapping[str, str], now: datetime) -> Table:
    """Lay out what is known about one message.

    Args:
        told: what the queue says of it; or, of one that is no longer there, the database.
        body: as it was sent.
        recorded: the lines of `recorded`.
        now: what is counted from.
    """
    from rich.table import Table
    from rich.text import Text

    received = f"{told.sent_at.astimezone(UTC):{_TIME}:%S}, {span(now - told.sent_at)} ago"
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    table.add_row("message id", Text(printable(told.message_id)))
    table.add_row("received (UTC)", received)
    if isinstance(told, Entry):
        table.add_row("expires (UTC)", _expires(told, now))
        table.add_row("receives", f"{told.receive_count}, this look included")
    table.add_row("size", f"{len(encoded(body)):,} bytes")
    table.add_row("SHA-256", sha256_of(body))
    table.add_row("topic", Text(printable(told.topic_arn or "none named")))
    for name, value in recorded.items():
        table.add_row(name, Text(printable(value)))
    return table


def recorded(row: RejectRow | None) -> dict[str, str]:
    """Say in lines for `facts` what `public.ses_feedback_rejects` says of a message."""
    if row is None:
        return {
            "recorded": "no: public.ses_feedback_rejects does not know it. That is harmless: it "
            "was sent straight into this queue, or rejected before there was that table"
        }
    first, last = (time.astimezone(UTC) for time in (row.first_seen_at, row.last_seen_at))
    return {
        "rejected (UTC)": f"first {first:{_TIME}}, last {last:{_TIME}}, "
        + ("once" if row.times_seen == 1 else f"{row.times_seen} times"),
        "last reason": f"{row.reason}: {row.detail}",
        "last run": row.last_run_id or "none",
        "resolution": became(row).partition(" knows it as ")[2],
    }


def verdict(outcome: Outcome, inserted: Inserted | None, why_not_known: str) -> Text:
    """Say what a run would make of a message now.

    Args:
        outcome: what the present parser says.
        inserted: what Postgres made of its rows, which are taken back; None if that is not known.
        why_not_known: why.
    """
    from rich.text import Text

    match outcome:
        case Rejected():
            said, colour = "rejected: a run leaves the message where it is", "red"
        case Ignored():
            said, colour = "ignored: a run deletes the message and stores nothing", "yellow"
        case _ if inserted is None:
            said = f"readable; whether Postgres takes its rows is not known: {why_not_known}"
            colour = "yellow"
        case _ if inserted.refused:
            said = f"refused by Postgres: {min(inserted.refused.values())}. {NARROW}"
            colour = "red"
        case _ if inserted.new:
            said, colour = "stored: a run inserts these rows, then deletes the message", "green"
        case _:
            said, colour = "there already: a run deletes the message and stores nothing", "green"
    return Text(f"now {said}", style=f"bold {colour}")


def became(row: RejectRow) -> str:
    """Say what `public.ses_feedback_rejects` says became of a message."""
    said = f"public.ses_feedback_rejects knows it as {row.resolution}"
    if row.resolved_at:
        said += f" since {row.resolved_at.astimezone(UTC):{_TIME}} UTC"
    if row.resolved_by:
        said += f", by {printable(row.resolved_by)}"
    if row.resolved_run_id:
        said += f", in run {printable(row.resolved_run_id)}"
    return said


def body_shown(text: str) -> str:
    """Return the beginning of a body, escaped line by line."""
    shown = "\n".join(printable(line) for line in text[:BODY_SHOWN].split("\n"))
    more = len(text) - BODY_SHOWN
    return shown + (f"\n({more:,} more characters: --body FILE writes all)" if more > 0 else "")


def kinds_shown(kinds: Sequence[str]) -> str:
    """Name the first kinds of a message, escaped and cut."""
    more = len(kinds) - _KINDS_SHOWN
    shown = ", ".join(printable(kind)[:_LONGEST_KIND] for kind in kinds[:_KINDS_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def span(length: timedelta) -> str:
    """Say how long, in one unit: `3 d`, `5 h`, `12 min`."""
    minutes = max(int(length.total_seconds()) // 60, 0)
    if minutes >= 48 * 60:
        return f"{minutes // (24 * 60)} d"
    return f"{minutes // 60} h" if minutes >= 120 else f"{minutes} min"


def _wide(header: bool) -> Table:
    table = _table(header)
    table.add_column("message id", width=36, overflow="fold")
    table.add_column("received (UTC)", width=16)
    table.add_column("age", width=6, justify="right")
    table.add_column("receives", width=8, justify="right")
    table.add_column("topic", ratio=1, overflow="fold")
    table.add_column("kind", ratio=1, overflow="fold")
    table.add_column("reason", width=19, overflow="fold")
    table.add_column("expires (UTC)", width=20)
    return table


def _narrow(header: bool) -> Table:
    table = _table(header)
    table.add_column("message id\nkind, topic", min_width=36, ratio=1, overflow="fold")
    table.add_column("received (UTC)\nage, receives", width=16)
    table.add_column("reason\nexpires (UTC)", width=20, overflow="fold")
    return table


def _table(header: bool) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        box=box.SIMPLE_HEAD, show_header=header, show_edge=False, expand=True, pad_edge=False
    )


def _cells(entry: Entry, now: datetime) -> tuple[str | Text, ...]:
    from rich.text import Text

    return (
        Text(printable(entry.message_id)),
        f"{entry.sent_at:{_TIME}}",
        span(now - entry.sent_at),
        str(entry.receive_count),
        Text(_topic(entry)),
        Text(kinds_shown(entry.kinds)),
        Text(entry.reason, style=_COLOURS.get(entry.reason, "")),
        _expires(entry, now),
    )


def _stacked(entry: Entry, now: datetime) -> tuple[str | Text, ...]:
    from rich.text import Text

    what = ", ".join(part for part in (kinds_shown(entry.kinds), _topic(entry)) if part)
    return (
        Text.assemble(printable(entry.message_id), "\n", (what, "dim")),
        f"{entry.sent_at:{_TIME}}\n{span(now - entry.sent_at)}, {entry.receive_count}",
        Text.assemble((entry.reason, _COLOURS.get(entry.reason, "")), "\n", _expires(entry, now)),
    )


def _expires(entry: Entry, now: datetime) -> Text:
    from rich.text import Text

    left = entry.expires_at - now
    return Text(f"{entry.expires_at:{SHORT_TIME}}, {_in(left)}", style=_urgency(left))


def _urgency(left: timedelta) -> str:
    return _URGENT if left < SOON else ""


def _in(left: timedelta) -> str:
    return f"in {span(left)}" if left > timedelta(minutes=1) else "now"


def _topic(entry: Entry) -> str:
    return printable((entry.topic_arn or "").rpartition(":")[2])


def _by(reasons: Mapping[str, int]) -> str:
    ordered = sorted(reasons.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{number:,} {reason}" for reason, number in ordered)
