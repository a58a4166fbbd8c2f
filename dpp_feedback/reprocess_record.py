"""The record of a reprocess_dlq run: in `ses_feedback_dlq_actions`, as tags of the run, in words.

Whoever looks at the run, at the list of runs or at the table reads who did what, to which messages,
and how many moved. Nothing here names an address.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import chain
from typing import TYPE_CHECKING

import dagster as dg

from dpp_feedback.dlq.actor import without_address
from dpp_feedback.drained import Reprocessing
from dpp_feedback.errors import FeedbackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dpp_feedback.dlq.selection import Selection
    from dpp_feedback.drained import Persisted, Source
    from dpp_feedback.messages import Held
    from dpp_feedback.resources import FeedbackQueue, FeedbackStore
    from dpp_feedback.store import Store

_TAG = "dpp_feedback/"
ACTOR = f"{_TAG}actor"
"""Tag of a run: who started it. Dagster itself has no logins; set it when launching."""

ACTING: ContextVar[str | None] = ContextVar("acting", default=None)
"""Who runs the job in this process: for the table, as tags of a run must hold no address."""

_LONGEST_TAG = 200
COUNTS = ("stored", "duplicates", "ignored", "rejected")


def who(context: dg.OpExecutionContext) -> str:
    """Say who started the run, by `ACTING` or its tags; there an address is masked from now on."""
    tags = context.run.tags
    actor = ACTING.get() or tags.get(ACTOR) or tags.get("user") or "launched in Dagster"
    tag(context, actor=without_address(actor))
    return actor


def begin(
    context: dg.OpExecutionContext,
    selection: Selection,
    *,
    actor: str,
    dry_run: bool,
    store: Store,
) -> Reprocessing:
    """Record that a run begins, before it receives a message.

    Raises:
        DatabaseRefused, DatabaseUnavailable: it cannot be recorded.
    """
    action = store.dlq_actions.begin(
        "reprocess",
        actor=actor,
        selection=selection.as_json(),
        dry_run=dry_run,
        run_id=context.run_id,
    )
    tag(context, dry_run=str(dry_run).lower(), selection=in_short(selection))
    return Reprocessing(selection, dry_run, actor, action)


@contextmanager
def given_up(
    context: dg.OpExecutionContext,
    queue: FeedbackQueue,
    store: FeedbackStore,
    source: Source,
    *messages: Sequence[Held],
    acknowledging: Persisted | None = None,
) -> Iterator[None]:
    """Hand back what a failing or interrupted run holds, and finish its record; then go on failing.

    Only where dead letters are drained. On the main queue a message that is handed back at once is
    one receive nearer to the dead-letter queue; here nothing counts receives.

    Args:
        context: of the op.
        queue: of the messages.
        store: of the record. While it does not answer, the record stays open.
        source: tells whether dead letters are drained.
        messages: what the run holds; asked when it fails.
        acknowledging: what is committed, once messages may be gone: then nobody knows how many.
    """
    try:
        yield
    except BaseException as error:
        if source.reprocessing is None:
            raise
        with suppress(FeedbackError):
            queue.connect().release(list(chain(*messages)))
        said = "It was told to end."
        if isinstance(error, Exception):  # what is no FeedbackError may quote a body
            said = str(error) if isinstance(error, FeedbackError) else type(error).__name__
        moved = 0 if source.dry_run or acknowledging is None else None
        counts = acknowledging.counts if acknowledging else {}
        _close(context, store, source.reprocessing, moved, counts, said)
        raise


def finish(
    context: dg.OpExecutionContext, store: FeedbackStore, persisted: Persisted, not_deleted: int
) -> None:
    """Record how it ended; what cannot be recorded is only warned of, for the work is done."""
    reprocessing = persisted.source.reprocessing
    if reprocessing is None:
        return
    done = 0 if reprocessing.dry_run else len(persisted.done)
    moved = done - not_deleted
    result = ", ".join(" ".join(one) for one in told(persisted)) or "nothing"
    tag(context, moved=str(moved), result=result)
    context.log.info(in_words(persisted))
    error = f"{not_deleted} of {done} messages could not be deleted" if not_deleted else None
    _close(context, store, reprocessing, moved, persisted.counts, error)


def tag(context: dg.OpExecutionContext, **said: str) -> None:
    """Add tags to the run, by which Dagster's list of runs can be read; without addresses."""
    context.instance.add_run_tags(
        context.run_id, {_TAG + name: value[:_LONGEST_TAG] for name, value in said.items()}
    )


def metadata(persisted: Persisted) -> dict[str, dg.MetadataValue]:
    """Say in the run's metadata what was asked for, and how it ended."""
    if persisted.source.reprocessing is None:
        return {}
    said: dict[str, dg.MetadataValue] = {
        "dry_run": dg.MetadataValue.bool(persisted.source.dry_run),
        "passed_over": dg.MetadataValue.int(persisted.source.passed_over),
        "summary": dg.MetadataValue.text(in_words(persisted)),
    }
    if persisted.source.dry_run and persisted.done:
        said["next_step"] = dg.MetadataValue.text("Launch it again with dry_run: false.")
    return said


def in_short(selection: Selection) -> str:
    """Name a selection in a line; of message ids only how many there are."""
    if selection.everything:
        return "all"
    said = []
    for name, value in selection.as_json().items():
        many = f"{len(value)}" if name == "message_ids" else None
        said.append(f"{name}: {many or (', '.join(value) if isinstance(value, list) else value)}")
    return "; ".join(said)


def in_words(persisted: Persisted) -> str:
    """Say what a run has done, or would do."""
    source = persisted.source
    number = len(persisted.done) + len(persisted.left)
    said = [_received(source, number)]
    if number:
        said.append(", ".join(" ".join(one) for one in told(persisted)) + ".")
    asked = source.reprocessing.selection.message_ids if source.reprocessing else ()
    if len(asked) > number:
        said.append(
            f"Of the {len(asked)} message ids {len(asked) - number} are not in the queue, are in "
            "flight, or are not selected by the other filters."
        )
    if source.not_reached:
        said.append(
            f"About {source.not_reached:,} more messages of the queue were not looked at, for "
            "max_messages or the time was used up: they wait for another run."
        )
    if source.in_flight:
        said.append(
            f"{source.in_flight} were in flight before: another run or a look holds them, or held "
            "them when it died; they come back by themselves."
        )
    if source.dry_run:
        said.append("Nothing was changed.")
    return " ".join(said)


def told(persisted: Persisted) -> list[tuple[str, str]]:
    """Return how many messages, and what became of them or would become; without zeros."""
    dry_run = persisted.source.dry_run
    words = {
        "stored": "would be stored" if dry_run else "stored",
        "duplicates": "there already",
        "ignored": "would be ignored" if dry_run else "ignored",
        "rejected": "would still be rejected" if dry_run else "still rejected",
    }
    counts = [(persisted.counts.get(name, 0), words[name]) for name in COUNTS]
    return [(f"{number:,}", what) for number, what in counts if number]


def _close(
    context: dg.OpExecutionContext,
    store: FeedbackStore,
    reprocessing: Reprocessing,
    moved: int | None,
    counts: Mapping[str, int],
    error: str | None,
) -> None:
    try:
        with store.connect() as database:
            database.dlq_actions.finish(
                reprocessing.action,
                moved=moved,
                counts={name: counts.get(name, 0) for name in COUNTS} if counts else {},
                error=error,
            )
    except FeedbackError as failed:
        context.log.warning(f"the end of this run is not in ses_feedback_dlq_actions: {failed}")


def _received(source: Source, number: int) -> str:
    others = f"{source.passed_over:,} others were looked at and handed back"
    if number == 0 and source.passed_over:
        return f"No message is selected; {others}. `dpp-feedback dlq list` shows what there is."
    if number == 0:
        return "No message was received."
    what = "Dry run over" if source.dry_run else "Of"
    return f"{what} {number:,} messages" + (f" ({others})" if source.passed_over else "") + ":"
