"""How an explanation looks in a terminal.

Everything that comes from a message is escaped: a body may hold control characters that would
steer the terminal, and right-to-left marks that would turn the text around.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dpp_feedback.feedback.escaped import printable
from dpp_feedback.masking import masked

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from dpp_feedback.explain import ExplainedRecord, Explanation
    from dpp_feedback.feedback.events import FeedbackEvent

_VERDICTS = {
    "events": ("green", "stored: the job inserts these rows once, then acknowledges the message"),
    "ignored": ("yellow", "ignored: the job acknowledges the message and stores nothing"),
    "rejected": ("red", "rejected: the message stays in the queue and ends in the DLQ"),
}
_ROW = (
    "notification_type",
    "primary_recipient",
    "event_at",
    "source",
    "bounce_type",
    "bounce_sub_type",
    "configuration_set",
    "ses_message_id",
    "feedback_id",
    "sns_message_id",
    "dedupe_key",
)


def explanation(
    explained: Explanation, *, mask: bool = False, verdict: Text | None = None
) -> RenderableType:
    """Lay out what becomes of a body, record by record.

    Args:
        explained: what the parser says of it.
        mask: hide mail addresses.
        verdict: what becomes of the message, where more is known than the parser says.
    """
    told = _masked if mask else printable
    colour, meaning = _VERDICTS[explained.outcome]
    parts: list[RenderableType] = [verdict or Text(meaning, style=f"bold {colour}")]
    if explained.detail:
        parts.append(Text(f"{explained.reason}: {told(explained.detail)}"))
    several = len(explained.records) > 1
    for number, record in enumerate(explained.records, 1):
        if several:
            parts.append(Text(f"\nrecord {number} of {len(explained.records)}", style="bold"))
        parts.append(_record(record, told, several=several))
    return Group(*parts)


def _masked(text: str) -> str:
    return printable(masked(text))


def _record(
    record: ExplainedRecord, told: Callable[[str], str], *, several: bool
) -> RenderableType:
    parts: list[RenderableType] = []
    if record.envelopes is not None:
        carried = " > ".join(record.envelopes) or "none (raw delivery)"
        parts.append(Text(f"envelope: {carried}"))
    if record.format:
        parts.append(Text(f"format: {record.format}"))
    if several and record.reason:
        parts.append(Text(f"{record.outcome}: {record.reason}: {told(record.detail or '')}"))
    parts += [_row(event, told) for event in record.events]
    return Group(*parts)


def _row(event: FeedbackEvent, told: Callable[[str], str]) -> Table:
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name in _ROW:
        value = getattr(event, name)
        shown = Text("NULL", style="dim") if value is None else Text(told(str(value)))
        table.add_row(name, shown)
    type_data = json.dumps(event.type_data, ensure_ascii=False, indent=1)
    table.add_row("type_data", Text("\n".join(map(told, type_data.split("\n")))))
    return table
