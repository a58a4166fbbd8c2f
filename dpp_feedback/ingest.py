"""The main job: four ops that take messages from the queue to Postgres.

receive, parse, persist, acknowledge, in this order and in one process, because a message may be
acknowledged only after its rows are committed, and because handles and addresses must not be
written to disk between ops. How each step works is in queue.py, feedback/ and store.py.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of ops at run time.

from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from time import perf_counter
from typing import Any

import dagster as dg

from dpp_feedback import reprocess_record
from dpp_feedback.aws_errors import AwsRefused, AwsUnavailable
from dpp_feedback.dlq.selection import Selection
from dpp_feedback.drain_config import ReceiveConfig
from dpp_feedback.drained import (
    Parsed,
    Persisted,
    Read,
    Received,
    Source,
    metadata,
    sorted_out,
)
from dpp_feedback.errors import PassingError
from dpp_feedback.feedback.glance import events_of
from dpp_feedback.garbage import collected_again, uncollected
from dpp_feedback.look import holding_seconds
from dpp_feedback.messages import Depth, Message, Taken
from dpp_feedback.plainly import told_plainly
from dpp_feedback.queue import Queue
from dpp_feedback.resources import FeedbackQueue, FeedbackStore, sns_check
from dpp_feedback.sns.check import SnsCheck
from dpp_feedback.store import Inserted

MAX_RUNTIME = timedelta(minutes=15)  # a run takes seconds; beyond this its process is gone or hangs

_UNREAD = 16 * 1024 * 1024  # bytes of bodies that wait to be parsed, of some 6,000 messages
_LOGGED = 20  # messages named one by one in a run's log; the metadata count them all


@dg.op(description="Check that Postgres takes events, then receive from SQS.", tags={"kind": "sqs"})
def receive_messages(
    context: dg.OpExecutionContext,
    config: ReceiveConfig,
    queue: FeedbackQueue,
    store: FeedbackStore,
) -> Received:
    """Receive up to a number of messages, or for a number of seconds.

    The database comes first, and SNS's certificates if signatures are verified: while one of them
    is away no message is received, so none is counted as failed, and an outage of any length sends
    no good message to the DLQ.
    """
    with told_plainly(), uncollected():
        actor = reprocess_record.who(context) if config.reprocess else ""
        selection = config.reprocess.selection() if config.reprocess else Selection.of()
        source, check = queue.connect(), sns_check()
        check.require_reachable()
        if config.reprocess and source.redrive_policy():
            raise AwsRefused(
                f"The queue of {queue.setting} has a redrive policy, as a main queue has and a "
                "dead-letter queue has not: each look would bring its messages nearer to another "
                f"queue. Correct {queue.setting}, or remove that policy."
            )
        with store.connect() as database:
            database.check()
            refused = database.rejects.refused() if selection.reasons else frozenset[str]()
            keep_bodies = database.rejects.keeps_bodies
            reprocessing = (
                reprocess_record.begin(
                    context,
                    selection,
                    actor=actor,
                    dry_run=config.reprocess.dry_run,
                    store=database,
                )
                if config.reprocess
                else None
            )
        origin = Source(source.name, reprocessing=reprocessing)
        start = perf_counter()
        reader = _Reader(selection, refused, keep_bodies, check)
        with reprocess_record.given_up(context, queue, store, origin):
            taken, depth = _receive(context, config, source, reader)
    left = depth.waiting - len(taken.messages) - taken.passed_over
    full = len(taken.messages) >= (config.reprocess or config).max_messages
    context.log.info(f"received {len(taken.messages)} messages")
    if taken.passed_over:
        context.log.info(f"handed back {taken.passed_over} messages that were not selected")
    for error in taken.errors:
        context.log.warning(f"receiving ended early: {error}")
    return Received(
        taken.messages,
        replace(
            origin,
            passed_over=taken.passed_over,
            in_flight=depth.in_flight,
            not_reached=max(left, 0) if full or taken.late else 0,
        ),
        keep_bodies,
        {"receive": perf_counter() - start},
    )


@dg.op(description="Read each body: events, ignored, or rejected.", tags={"kind": "python"})
def parse_messages(
    context: dg.OpExecutionContext, queue: FeedbackQueue, store: FeedbackStore, received: Received
) -> Parsed:
    """Parse every message; none stops another, not by a SigningCertURL that gives nothing either.

    In the order in which SQS received them: of two messages with one event the first stores it,
    in a dry run as in the run that follows.
    """
    start = perf_counter()
    waiting, later, read = received.messages, list[Message | Read](), list[Read]()
    with (
        told_plainly(),
        reprocess_record.given_up(context, queue, store, received.source, waiting, later, read),
        uncollected(),
    ):
        check = sns_check()
        while waiting:
            try:
                read.append(_read(waiting[-1], received.keep_bodies, check))
            except (AwsRefused, AwsUnavailable):  # its certificate cannot be had
                later.append(waiting[-1])
            waiting.pop()  # last: at every moment it stands in one of them, to be handed back
        while later:  # by now it is known whether any certificate can be had
            read.append(_read(later[-1], received.keep_bodies, check))
            later.pop()
        read.sort(key=lambda message: (message.sent_at, message.id))
    return Parsed(read, received.source, {**received.seconds, "parse": perf_counter() - start})


@dg.op(
    description="Insert each event once, record what is rejected; commit.",
    tags={"kind": "postgres"},
)
def persist_events(
    context: dg.OpExecutionContext, queue: FeedbackQueue, store: FeedbackStore, parsed: Parsed
) -> Persisted:
    """Commit the events of all messages; what Postgres refuses keeps only its own message back.

    A fault that may pass is tried again for a quarter of a minute: a restart or a fail-over takes
    seconds, and the messages stay ours meanwhile.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    start = perf_counter()
    source = parsed.source
    events = [event for message in parsed.messages for event in events_of(message.outcome)]
    inserted = Inserted()
    with (
        told_plainly(),
        reprocess_record.given_up(context, queue, store, source, parsed.messages),
        uncollected(),
    ):
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
                database.insert(events, inserted, rehearse=source.dry_run)
                persisted = sorted_out(parsed, inserted)
                if not source.dry_run:
                    database.rejects.record(
                        [left.reject(source.queue) for left in persisted.left],
                        run_id=context.run_id,
                    )
                    database.rejects.resolve_stored(
                        [(message.id, message.sha256) for message in persisted.done],
                        by=source.actor,
                        run_id=context.run_id,
                    )
    for left in persisted.left[:_LOGGED]:
        context.log.warning(
            f"message {left.message.id}, received {left.message.receive_count} times, stays in "
            f"the queue: {left.reason}: {left.detail}"
        )
    if len(persisted.left) > _LOGGED:
        context.log.warning(f"{len(persisted.left) - _LOGGED} more messages stay in the queue")
    seconds = {**persisted.seconds, "persist": perf_counter() - start}
    return replace(persisted, seconds=seconds)


@dg.op(
    description="Delete what is committed from SQS; hand back what is rejected.",
    tags={"kind": "sqs"},
)
def acknowledge_messages(
    context: dg.OpExecutionContext,
    queue: FeedbackQueue,
    store: FeedbackStore,
    persisted: Persisted,
) -> dg.Output[None]:
    """Acknowledge what is committed.

    Rejected messages become visible at once, so that they are received again by the next runs
    and reach the DLQ in minutes instead of five visibility timeouts.
    """
    start = perf_counter()
    done = [] if persisted.source.dry_run else persisted.done
    handed_back = [left.message for left in persisted.left]
    if persisted.source.dry_run:
        handed_back += persisted.done
    with told_plainly(), uncollected():
        with reprocess_record.given_up(
            context, queue, store, persisted.source, [*done, *handed_back], acknowledging=persisted
        ):
            source = queue.connect()
            failed = source.acknowledge(done)
            kept = source.release(handed_back)
        if kept:
            context.log.warning(
                f"{len(kept)} messages come again only after the visibility timeout: {_why(kept)}"
            )
        if persisted.source.reprocessing:
            reprocess_record.finish(context, store, persisted, len(failed))
        if failed:
            if len(failed) == len(done):
                raise AwsRefused(
                    f"None of {len(failed)} messages could be acknowledged, though their rows are "
                    f"committed: they come again, and in the end reach the DLQ. {_why(failed)}"
                )
            context.log.warning(
                f"{len(failed)} messages are stored, but not acknowledged; if they come again, "
                f"they count as duplicates: {_why(failed)}"
            )
    collected_again()
    seconds = {**persisted.seconds, "acknowledge": perf_counter() - start}
    return dg.Output(
        None,
        metadata={
            **reprocess_record.metadata(persisted),
            **metadata(persisted, len(failed), seconds),
        },
    )


def _read(message: Message | Read, keep_body: bool, check: SnsCheck) -> Read:
    """Parse a message, if that was not done while receiving."""
    if isinstance(message, Read):
        return message
    return Read.of(message, keep_body=keep_body, admit=check)


class _Reader:
    """Decides what is kept of a message that comes, and so how much memory a run takes."""

    def __init__(
        self, selection: Selection, refused: Container[str], keep_bodies: bool, check: SnsCheck
    ) -> None:
        self.selection = selection
        self._check = check
        self._refused = refused
        self._keep_bodies = keep_bodies
        self._unread = 0

    def read(self, message: Message) -> Message | Read | None:
        """Leave it to be parsed, while there is room for bodies; None: it is not selected."""
        if not self.selection.matches(message, self._refused, self._check):
            return None
        if self._unread > _UNREAD:
            with suppress(AwsRefused, AwsUnavailable):  # then it is read when all are there
                return Read.of(message, keep_body=self._keep_bodies, admit=self._check)
        self._unread += len(message.body)
        return message


def _receive(
    context: dg.OpExecutionContext,
    config: ReceiveConfig,
    source: Queue,
    reader: _Reader,
) -> tuple[Taken[Message | Read], Depth]:
    """Receive what is selected; also return what the queue held before."""
    selection = reader.selection
    depth = source.depth()
    context.log.info(f"{depth.waiting} messages wait, {depth.in_flight} are in flight")
    limit = (config.reprocess or config).max_messages
    if selection.message_ids:  # the receiving may end when it has them all
        limit = min(limit, len(selection.message_ids))
    # A selection may have to go through the whole queue for a few messages.
    expected = min(depth.waiting, limit) if selection.everything else depth.waiting
    held_seconds = holding_seconds(depth.visibility_timeout, expected)
    taken: Taken[Message | Read] = source.receive(
        limit,
        # What comes first must be acknowledged before it comes again.
        min(config.max_seconds, held_seconds / 3),
        reader.read,
        selecting=not selection.everything,
        waiting=depth.waiting,
        visibility_timeout=held_seconds,
    )
    return taken, depth


def drain() -> Any:
    """Compose the four ops, in a graph: the asset's, and that of reprocess_dlq."""
    return acknowledge_messages(persist_events(parse_messages(receive_messages())))


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
    return drain()


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
