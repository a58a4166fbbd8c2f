"""What would become of a message body, and why: for `dpp-feedback explain`.

Reads a body as the main job does and keeps what the job throws away: the envelopes, the format,
each record's own outcome. How it is printed is cli.py's business.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from dpp_feedback.feedback.envelope import Record, open_body, outermost
from dpp_feedback.feedback.events import FeedbackEvent, Ignored, Rejected
from dpp_feedback.feedback.parser import anything, parse, read_record
from dpp_feedback.feedback.values import Refused

if TYPE_CHECKING:
    from datetime import datetime

    from dpp_feedback.feedback.events import Outcome
    from dpp_feedback.feedback.parser import Admit

Verdict = Literal["events", "ignored", "rejected"]


@dataclass(frozen=True, slots=True)
class ExplainedRecord:
    """One record of a body; most bodies hold one.

    Attributes:
        outcome: what becomes of it.
        reason: why it is ignored or rejected, for counting; None for events.
        detail: the same for a person.
        envelopes: what carried it, outermost first; None where it could not be opened.
        format: the SES format; None where there is none.
        events: the rows.
    """

    outcome: Verdict
    reason: str | None
    detail: str | None
    envelopes: tuple[str, ...] | None
    format: str | None
    events: tuple[FeedbackEvent, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of a body.

    Attributes:
        outcome: of the message as a whole: one rejected record keeps it in the queue.
        reason: as in `ExplainedRecord`.
        detail: as in `ExplainedRecord`.
        records: each record, in order.
    """

    outcome: Verdict
    reason: str | None
    detail: str | None
    records: tuple[ExplainedRecord, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the explanation as JSON values; times in ISO 8601."""
        explained = asdict(self)
        for record in explained["records"]:
            for event in record["events"]:
                event["event_at"] = event["event_at"].isoformat()
        return explained


def explain(body: str | bytes, sent_at: datetime, admit: Admit = anything) -> Explanation:
    """Say what the main job would make of a body.

    Args:
        body: as it stands in the queue.
        sent_at: what stands for the queue's `SentTimestamp`; aware.
        admit: see `parser.Admit`. A body that may not come in is explained all the same.
    """
    outcome = parse(body, sent_at, admit)
    records = tuple(_record(opened, sent_at) for opened in _opened(body))
    return Explanation(*_told(outcome), records)


def _opened(body: str | bytes) -> list[Record | Ignored | Rejected]:
    try:
        return open_body(outermost(body))
    except Refused as refused:
        return [Rejected(refused.reason, refused.detail)]


def _record(opened: Record | Ignored | Rejected, sent_at: datetime) -> ExplainedRecord:
    if not isinstance(opened, Record):
        return ExplainedRecord(*_told(opened), None, None, ())
    outcome = read_record(opened, sent_at)
    return ExplainedRecord(
        *_told(outcome),
        opened.envelopes,
        _format(opened),
        outcome if isinstance(outcome, tuple) else (),
    )


def _told(outcome: Outcome) -> tuple[Verdict, str | None, str | None]:
    if isinstance(outcome, tuple):
        return "events", None, None
    verdict: Verdict = "ignored" if isinstance(outcome, Ignored) else "rejected"
    return verdict, outcome.reason.value, outcome.detail


def _format(record: Record) -> str | None:
    if "notificationType" in record.payload:
        return "notification"
    return "event publishing" if "eventType" in record.payload else None
