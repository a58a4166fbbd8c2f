"""What the four ops of a drain hand to one another, and how the last one sums it up.

Values and counting; what is done with the messages stands in ingest.py.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from dpp_feedback.feedback.events import FeedbackEvent, Ignored, Outcome, Rejected, RejectedReason
from dpp_feedback.feedback.glance import events_of, glance, topic_of
from dpp_feedback.feedback.kinds import KINDS
from dpp_feedback.feedback.parser import anything, parse
from dpp_feedback.masking import masked
from dpp_feedback.messages import sha256_of, size_of
from dpp_feedback.rejects import Reject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self
    from uuid import UUID

    from dpp_feedback.dlq.selection import Selection
    from dpp_feedback.feedback.parser import Admit
    from dpp_feedback.messages import Message
    from dpp_feedback.store import Inserted


@dataclass(frozen=True, slots=True)
class Reprocessing:
    """What an operator asked for when dead letters are drained.

    Attributes:
        selection: which messages.
        dry_run: nothing is stored, acknowledged or recorded.
        actor: who.
        action: the record of it in `ses_feedback_dlq_actions`.
    """

    selection: Selection
    dry_run: bool
    actor: str = field(repr=False)
    action: UUID


@dataclass(frozen=True, slots=True)
class Source:
    """Where the messages of a run come from.

    Attributes:
        queue: the queue's name.
        passed_over: messages that were received, not selected, and handed back.
        in_flight: messages that others held when the receiving began, roughly.
        reprocessing: None where the main queue is drained.
        not_reached: messages that are left for another run, roughly, because `max_messages` or
            the time for receiving was used up.
    """

    queue: str
    passed_over: int = 0
    in_flight: int = 0
    reprocessing: Reprocessing | None = None
    not_reached: int = 0

    @property
    def dry_run(self) -> bool:
        """Whether everything is handed back in the end."""
        return self.reprocessing is not None and self.reprocessing.dry_run

    @property
    def actor(self) -> str:
        """Who takes messages off the list of rejects."""
        return self.reprocessing.actor if self.reprocessing else "process_feedback"


@dataclass(frozen=True, slots=True)
class Read:
    """A message that has been parsed, without its body unless somebody may want to keep that.

    A run may hold a hundred thousand. What a message says takes half of the memory that its body
    does.

    Attributes:
        id: as all up to the receipt handle, see `Message`.
        outcome: what it says.
        sha256: of the body's UTF-8.
        size: bytes of that.
        topic_arn: SNS topic that the body names, if any.
        body: None if it is not kept.
    """

    id: str
    sent_at: datetime
    receive_count: int
    receipt_handle: str = field(repr=False)
    outcome: Outcome = field(repr=False)
    sha256: str
    size: int
    topic_arn: str | None
    body: str | None = field(repr=False)

    @classmethod
    def of(cls, message: Message, *, keep_body: bool, admit: Admit = anything) -> Self:
        """Parse a message; a body that is rejected is kept in any case."""
        outcome = parse(message.body, message.sent_at, admit)
        kept = keep_body or isinstance(outcome, Rejected)
        return cls(
            id=message.id,
            sent_at=message.sent_at,
            receive_count=message.receive_count,
            receipt_handle=message.receipt_handle,
            outcome=outcome,
            sha256=sha256_of(message.body),
            size=size_of(message.body),
            topic_arn=topic_of(message.body),
            body=message.body if kept else None,
        )

    def kinds(self) -> Sequence[str]:
        """Name the kinds of its events; of one that is rejected, what its text names too."""
        if self.body is not None:
            return glance(self.body, self.sent_at).kinds
        return sorted({event.notification_type for event in events_of(self.outcome)})


@dataclass(frozen=True, slots=True)
class Received:
    """What `receive_messages` hands on.

    Attributes:
        messages: `parse_messages` takes them out, so that their bodies go as they are parsed.
            Those beyond 16 MiB of bodies are parsed already.
        source: where they come from.
        keep_bodies: whether rejected bodies are kept in the database.
        seconds: of each step so far.
    """

    messages: list[Message | Read]
    source: Source
    keep_bodies: bool
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Parsed:
    """What `parse_messages` hands on: each message with what it says."""

    messages: list[Read]
    source: Source
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Left:
    """A message that stays in the queue, and why."""

    message: Read
    reason: RejectedReason
    detail: str

    def reject(self, queue: str) -> Reject:
        """Make the record of it; `queue` is where it was received."""
        message = self.message
        return Reject(
            message_id=message.id,
            body_sha256=message.sha256,
            body_bytes=message.size,
            body=message.body,
            reason=self.reason.value,
            detail=self.detail,
            # A kind that a body names is any text, and may hold an address.
            kind=masked(", ".join(message.kinds())) or None,
            topic_arn=message.topic_arn,
            queue=queue,
            sent_at=message.sent_at,
        )


@dataclass(frozen=True, slots=True)
class Persisted:
    """What `persist_events` hands on: which messages are done, and which stay.

    Attributes:
        done: their rows are committed, or they are no feedback: to be acknowledged.
        left: rejected by the parser or by Postgres: to be handed back.
        counts: messages `stored`, `duplicates`, `ignored` and `rejected`.
        reasons: messages by reason of being ignored or rejected.
        rows: new rows by kind.
        oldest: time of the oldest event received, stored now or before.
        source: where they come from. In a dry run all the above is what would be.
        seconds: of each step so far.
    """

    done: list[Read]
    left: list[Left]
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    rows: Mapping[str, int]
    oldest: datetime | None
    source: Source
    seconds: Mapping[str, float]


def sorted_out(parsed: Parsed, inserted: Inserted) -> Persisted:
    """Say of each message whether it is done, and why."""
    done: list[Read] = []
    left: list[Left] = []
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    oldest: datetime | None = None
    new = set(inserted.new)
    for message in parsed.messages:
        outcome = message.outcome
        events = {event.dedupe_key: event for event in events_of(outcome)}
        keys = events.keys()
        rows.update(_kind(event) for key, event in events.items() if key in new)
        for event in events.values():
            oldest = min(oldest or event.event_at, event.event_at)
        refusals = [inserted.refused[key] for key in sorted(keys) if key in inserted.refused]
        if isinstance(outcome, Rejected):
            left.append(Left(message, outcome.reason, outcome.detail))
        elif refusals:
            left.append(Left(message, RejectedReason.REFUSED_BY_DATABASE, refusals[0]))
        elif isinstance(outcome, Ignored):
            done.append(message)
            counts["ignored"] += 1
            reasons[outcome.reason] += 1
        else:
            done.append(message)
            counts["duplicates" if new.isdisjoint(keys) else "stored"] += 1
        new.difference_update(keys)  # of two messages with one event, the first has stored it
    counts["rejected"] = len(left)
    reasons.update(one.reason for one in left)
    return Persisted(
        done=done,
        left=left,
        counts=counts,
        reasons=reasons,
        rows=rows,
        oldest=oldest,
        source=parsed.source,
        seconds=parsed.seconds,
    )


def metadata(
    persisted: Persisted, not_acknowledged: int, seconds: Mapping[str, float]
) -> dict[str, dg.MetadataValue]:
    """Sum up a run: numbers, which Dagster plots over the runs, and two tables."""
    received = len(persisted.done) + len(persisted.left)
    said: dict[str, dg.MetadataValue] = {"received": dg.MetadataValue.int(received)}
    for name in ("stored", "duplicates", "ignored", "rejected"):
        said[name] = dg.MetadataValue.int(persisted.counts.get(name, 0))
    said["not_acknowledged"] = dg.MetadataValue.int(not_acknowledged)
    said["new_rows"] = dg.MetadataValue.int(sum(persisted.rows.values()))
    if persisted.rows:
        said["new_rows_by_kind"] = _table("kind", "rows", persisted.rows)
    if persisted.reasons:
        said["ignored_and_rejected"] = _table("reason", "messages", persisted.reasons)
    if persisted.oldest:
        age = (datetime.now(UTC) - persisted.oldest).total_seconds()
        said["oldest_event_age_seconds"] = dg.MetadataValue.float(round(age, 1))
    for step, took in seconds.items():
        said[f"{step}_seconds"] = dg.MetadataValue.float(round(took, 3))
    return said


def _kind(event: FeedbackEvent) -> str:
    """Name a kind for the metadata; an unknown one's name comes from the body, and may be long."""
    return event.notification_type if event.notification_type in KINDS else "other"


def _table(name: str, counted: str, counts: Mapping[str, int]) -> dg.MetadataValue:
    return dg.MetadataValue.table(
        [dg.TableRecord({name: str(key), counted: n}) for key, n in sorted(counts.items())],
        schema=dg.TableSchema([dg.TableColumn(name), dg.TableColumn(counted, "int")]),
    )
