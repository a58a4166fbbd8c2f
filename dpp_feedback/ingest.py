"""The main job: four ops that take messages from the queue to Postgres.

receive, parse, persist, acknowledge, in this order and in one process, because a message may be
acknowledged only after its rows are committed, and because handles and addresses must not be
written to disk between ops. How each step works is in queue.py, feedback/ and store.py.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of ops at run time.

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import dagster as dg
from pydantic import Field

from dpp_feedback.aws_errors import AwsRefused
from dpp_feedback.errors import PassingError
from dpp_feedback.feedback.events import FeedbackEvent, Ignored, Outcome, Rejected, RejectedReason
from dpp_feedback.feedback.kinds import KINDS
from dpp_feedback.feedback.parser import parse
from dpp_feedback.plainly import told_plainly
from dpp_feedback.queue import THREADS, Message
from dpp_feedback.resources import FeedbackQueue, FeedbackStore
from dpp_feedback.store import Inserted

MAX_MESSAGES = 10_000
MAX_RUNTIME = timedelta(minutes=15)  # a run takes seconds; beyond this its process is gone or hangs

_LOGGED = 20  # messages named one by one in a run's log; the metadata count them all
_MESSAGES_PER_THREAD = 50  # a few messages are not worth sixteen long polls


class ReceiveConfig(dg.Config):
    """How much one run takes."""

    max_messages: int = Field(
        default=MAX_MESSAGES, ge=1, le=100_000, description="Receive at most so many messages."
    )
    max_seconds: int = Field(
        default=60,
        ge=1,
        le=600,
        description="Receive for at most so long, and a third of the queue's visibility timeout.",
    )


@dataclass(frozen=True, slots=True)
class Received:
    """What `receive_messages` hands on."""

    messages: list[Message]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Parsed:
    """What `parse_messages` hands on: each message with what it says."""

    outcomes: list[tuple[Message, Outcome]]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Left:
    """A message that stays in the queue, and why."""

    message: Message
    reason: RejectedReason
    detail: str


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
        seconds: of each step so far.
    """

    done: list[Message]
    left: list[Left]
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    rows: Mapping[str, int]
    oldest: datetime | None
    seconds: Mapping[str, float]


@dg.op(description="Check that Postgres takes events, then receive from SQS.", tags={"kind": "sqs"})
def receive_messages(
    context: dg.OpExecutionContext,
    config: ReceiveConfig,
    queue: FeedbackQueue,
    store: FeedbackStore,
) -> Received:
    """Receive up to a number of messages, or for a number of seconds.

    The database comes first: while it is away no message is received, so none is counted as
    failed, and an outage of any length sends no good message to the DLQ.
    """
    with told_plainly():
        with store.connect() as database:
            database.check()
        source = queue.connect()
        depth = source.depth()
        context.log.info(f"{depth.waiting} messages wait, {depth.in_flight} are in flight")
        start = perf_counter()
        taken = source.receive(
            config.max_messages,
            # What comes first must be acknowledged before it comes again.
            min(config.max_seconds, depth.visibility_timeout / 3),
            threads=min(THREADS, 1 + depth.waiting // _MESSAGES_PER_THREAD),
        )
    context.log.info(f"received {len(taken.messages)} messages")
    for error in taken.errors:
        context.log.warning(f"receiving ended early: {error}")
    return Received(taken.messages, {"receive": perf_counter() - start})


@dg.op(description="Read each body: events, ignored, or rejected.", tags={"kind": "python"})
def parse_messages(received: Received) -> Parsed:
    """Parse every message; none stops another."""
    start = perf_counter()
    outcomes = [(message, parse(message.body, message.sent_at)) for message in received.messages]
    return Parsed(outcomes, {**received.seconds, "parse": perf_counter() - start})


@dg.op(description="Insert each event once; commit.", tags={"kind": "postgres"})
def persist_events(
    context: dg.OpExecutionContext, store: FeedbackStore, parsed: Parsed
) -> Persisted:
    """Commit the events of all messages; what Postgres refuses keeps only its own message back.

    A fault that may pass is tried again for a quarter of a minute: a restart or a fail-over takes
    seconds, and the messages stay ours meanwhile.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    start = perf_counter()
    events = [event for _, outcome in parsed.outcomes for event in _events(outcome)]
    inserted = Inserted()
    with told_plainly():
        for attempt in Retrying(
            retry=retry_if_exception_type(PassingError),
            wait=wait_exponential(multiplier=2),
            stop=stop_after_attempt(4),
            before_sleep=lambda tried: context.log.warning(
                f"{tried.outcome and tried.outcome.exception()} Trying again."
            ),
            reraise=True,
        ):
            with attempt, store.connect() as database:
                database.insert(events, inserted)
    persisted = _sorted_out(parsed, inserted, perf_counter() - start)
    for left in persisted.left[:_LOGGED]:
        context.log.warning(
            f"message {left.message.id}, received {left.message.receive_count} times, stays in "
            f"the queue: {left.reason}: {left.detail}"
        )
    if len(persisted.left) > _LOGGED:
        context.log.warning(f"{len(persisted.left) - _LOGGED} more messages stay in the queue")
    return persisted


@dg.op(
    description="Delete what is committed from SQS; hand back what is rejected.",
    tags={"kind": "sqs"},
)
def acknowledge_messages(
    context: dg.OpExecutionContext, queue: FeedbackQueue, persisted: Persisted
) -> dg.Output[None]:
    """Acknowledge what is committed.

    Rejected messages become visible at once, so that they are received again by the next runs
    and reach the DLQ in minutes instead of five visibility timeouts.
    """
    start = perf_counter()
    with told_plainly():
        source = queue.connect()
        failed = source.acknowledge(persisted.done)
        kept = source.release([left.message for left in persisted.left])
        if failed:
            if len(failed) == len(persisted.done):
                raise AwsRefused(
                    f"None of {len(failed)} messages could be acknowledged, though their rows are "
                    f"committed: they come again, and in the end reach the DLQ. {_why(failed)}"
                )
            context.log.warning(
                f"{len(failed)} messages are stored, but not acknowledged; if they come again, "
                f"they count as duplicates: {_why(failed)}"
            )
    if kept:
        context.log.warning(
            f"{len(kept)} rejected messages come again only after the visibility timeout: "
            f"{_why(kept)}"
        )
    seconds = {**persisted.seconds, "acknowledge": perf_counter() - start}
    return dg.Output(None, metadata=_metadata(persisted, len(failed), seconds))


@dg.graph_asset(
    name="ses_feedback_events",
    group_name="ses_feedback",
    kinds={"sqs", "postgres"},
    description="What SES says became of each mail: `public.ses_feedback_events`, one row for "
    "each notification and recipient. A materialization is one drain of the queue.",
    metadata={
        "dagster/table_name": "public.ses_feedback_events",
        "dagster/column_schema": dg.TableSchema(
            [
                dg.TableColumn("id", "uuid", "Version 7: grows with the time it was stored."),
                dg.TableColumn("notification_type", "text", "SES's kind of event."),
                dg.TableColumn("ses_message_id", "text", "The mail that it is about."),
                dg.TableColumn("feedback_id", "text", "Of a bounce or complaint."),
                dg.TableColumn("source", "text", "The address the mail was sent from."),
                dg.TableColumn("primary_recipient", "text", "Lower case, without display name."),
                dg.TableColumn("bounce_type", "text", "bounceType, verbatim."),
                dg.TableColumn("bounce_sub_type", "text", "bounceSubType, verbatim."),
                dg.TableColumn("type_data", "jsonb", "What only this kind of event has."),
                dg.TableColumn("configuration_set", "text", "Of the mail."),
                dg.TableColumn("event_at", "timestamptz", "When it happened, as SES says."),
                dg.TableColumn("received_at", "timestamptz", "When it was stored."),
                dg.TableColumn("sns_message_id", "text", "Of the notification."),
                dg.TableColumn("dedupe_key", "text", "The event's identity."),
            ]
        ),
    },
)
def ses_feedback_events() -> Any:
    """Drain the queue into the event table."""
    return acknowledge_messages(persist_events(parse_messages(receive_messages())))


process_feedback = dg.define_asset_job(
    "process_feedback",
    # Its checks are about time passing, and run by the hour.
    selection=dg.AssetSelection.assets(ses_feedback_events).without_checks(),
    description="Drain the SES feedback queue into Postgres. `feedback_queue_sensor` runs it when "
    "messages wait; by hand it does no harm.",
    executor_def=dg.in_process_executor,
    # Run monitoring then ends it, so that it blocks no other.
    tags={"dagster/max_runtime": str(int(MAX_RUNTIME.total_seconds()))},
)


def _why(failed: Mapping[str, str]) -> str:
    return ", ".join(sorted(set(failed.values())))


def _events(outcome: Outcome) -> tuple[FeedbackEvent, ...]:
    if isinstance(outcome, Rejected):
        return outcome.events
    return outcome if isinstance(outcome, tuple) else ()


def _sorted_out(parsed: Parsed, inserted: Inserted, seconds: float) -> Persisted:
    """Say of each message whether it is done, and why."""
    done: list[Message] = []
    left: list[Left] = []
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    times: list[datetime] = []
    new = set(inserted.new)
    for message, outcome in parsed.outcomes:
        events = _events(outcome)
        keys = {event.dedupe_key for event in events}
        rows.update(_kind(event) for event in events if event.dedupe_key in new)
        times += (event.event_at for event in events)
        refusals = [inserted.refused[key] for key in keys if key in inserted.refused]
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
        new -= keys  # of two messages with one event, the first has stored it
    counts["rejected"] = len(left)
    reasons.update(one.reason for one in left)
    return Persisted(
        done=done,
        left=left,
        counts=counts,
        reasons=reasons,
        rows=rows,
        oldest=min(times, default=None),
        seconds={**parsed.seconds, "persist": seconds},
    )


def _kind(event: FeedbackEvent) -> str:
    """Name a kind for the metadata; an unknown one's name comes from the body, and may be long."""
    return event.notification_type if event.notification_type in KINDS else "other"


def _metadata(
    persisted: Persisted, not_acknowledged: int, seconds: Mapping[str, float]
) -> dict[str, dg.MetadataValue]:
    """Numbers, which Dagster plots over the runs, and two tables."""
    received = len(persisted.done) + len(persisted.left)
    metadata: dict[str, dg.MetadataValue] = {"received": dg.MetadataValue.int(received)}
    for name in ("stored", "duplicates", "ignored", "rejected"):
        metadata[name] = dg.MetadataValue.int(persisted.counts.get(name, 0))
    metadata["not_acknowledged"] = dg.MetadataValue.int(not_acknowledged)
    metadata["new_rows"] = dg.MetadataValue.int(sum(persisted.rows.values()))
    if persisted.rows:
        metadata["new_rows_by_kind"] = _table("kind", "rows", persisted.rows)
    if persisted.reasons:
        metadata["ignored_and_rejected"] = _table("reason", "messages", persisted.reasons)
    if persisted.oldest:
        age = (datetime.now(UTC) - persisted.oldest).total_seconds()
        metadata["oldest_event_age_seconds"] = dg.MetadataValue.float(round(age, 1))
    for step, took in seconds.items():
        metadata[f"{step}_seconds"] = dg.MetadataValue.float(round(took, 3))
    return metadata


def _table(name: str, counted: str, counts: Mapping[str, int]) -> dg.MetadataValue:
    return dg.MetadataValue.table(
        [dg.TableRecord({name: str(key), counted: n}) for key, n in sorted(counts.items())],
        schema=dg.TableSchema([dg.TableColumn(name), dg.TableColumn(counted, "int")]),
    )
