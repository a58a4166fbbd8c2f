"""The native redrive: start it, watch it, cancel it; each recorded.

SQS itself moves the messages (StartMessageMoveTask), to the queues that they came from. Whether
that would help is prospect.py's business; how the command asks, commands/dlq_act.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING

from dpp_feedback.errors import FeedbackError, PassingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias
    from uuid import UUID

    from dpp_feedback.move_tasks import MoveTask, MoveTasks
    from dpp_feedback.queue import Queue
    from dpp_feedback.store import Store

    Connect: TypeAlias = Callable[[], Store]

CANCEL = "`dpp-feedback dlq redrive --cancel`"

_NO_SOURCE = "CouldNotDetermineMessageSource"
_PAUSE = 1.0  # seconds between two looks at a redrive under way
_LOOKS_UNTIL_SHOWN = 60  # a new redrive may take a moment until SQS lists it
_LOOKS_WITHOUT_ANSWER = 10


class RedriveRefused(FeedbackError):
    """A redrive that would do harm, or nothing at all."""


@dataclass(frozen=True, slots=True)
class Started:
    """A redrive that was started here.

    Attributes:
        handle: SQS's name of it.
        before: SQS's latest redrive until then.
        record: the record of the act; None: there is none.
        not_recorded: why it is not, or not wholly, recorded; "" if it is.
    """

    handle: str
    before: MoveTask | None
    record: UUID | None
    not_recorded: str


def refuse_second(tasks: MoveTasks) -> None:
    """Refuse a redrive while one is under way.

    Raises:
        RedriveRefused: one is.
        AwsUnavailable: SQS does not answer, or not now.
    """
    task = tasks.latest()
    if task is not None and task.under_way:
        raise RedriveRefused(
            f"A redrive is {task.status} already: {progress(task)}. Wait for it to end, or cancel "
            f"it with {CANCEL}."
        )


def refuse_elsewhere(dead_letters: Queue, main: Queue) -> None:
    """Refuse a redrive that would not bring the messages to the main queue.

    Raises:
        RedriveRefused: the main queue's redrive policy names another queue, or none.
        AwsRefused, AwsUnavailable: one of the queues cannot be asked.
    """
    policy = main.redrive_policy()
    if policy is None or policy.target_arn != dead_letters.arn():
        raise RedriveRefused(
            f"The redrive policy of SQS_QUEUE_URL ({main.name}) does not name this dead-letter "
            f"queue ({dead_letters.name}), so a redrive would not bring its messages there: "
            "correct SQS_DLQ_URL, SQS_QUEUE_URL, or the queue's RedrivePolicy."
        )


def start(
    dead_letters: Queue,
    connect: Connect,
    *,
    actor: str,
    max_per_second: int | None,
    force: bool = False,
    why: str | None = None,
) -> Started:
    """Record the act, mark what the rejects table knows, and start.

    The marks come first, so that a message that is parsed again before this returns is known by
    its body: SQS gives it a new id.

    Args:
        dead_letters: the queue.
        connect: opens the database, for as long as it takes to write.
        actor: who, as `actor.actor` says.
        max_per_second: messages; None: as fast as SQS can.
        force: start also if it cannot be recorded.
        why: goes into the record.

    Raises:
        RedriveRefused: one is under way.
        AwsRefused, AwsUnavailable: SQS does not start it; that is recorded.
        SettingError, DatabaseRefused, DatabaseUnavailable: it cannot be recorded, and is not
            forced; nothing is started.
    """
    tasks = dead_letters.move_tasks
    refuse_second(tasks)  # again: asking a person takes a while
    before = tasks.latest()
    record, not_recorded = None, ""
    try:
        with connect() as store:
            record = store.dlq_actions.begin("redrive", actor=actor, selection={}, why=why)
            store.rejects.mark_redriven(dead_letters.name)
    except FeedbackError as error:
        if not force:
            raise
        not_recorded = str(error)
    try:
        handle = tasks.start(max_per_second)
    except FeedbackError as error:
        finish(connect, record, moved=0, error=str(error))
        raise
    return Started(handle, before, record, not_recorded)


def watch(tasks: MoveTasks, started: Started) -> Iterator[MoveTask]:
    """Yield how it stands, each second, until it is over; its last state comes last.

    It ends early where SQS does not show it: the role may not ask, or another redrive has begun
    since.

    Raises:
        AwsUnavailable: SQS has not answered for a while; the redrive goes on.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

    patiently = Retrying(
        retry=retry_if_exception_type(PassingError),
        wait=wait_fixed(_PAUSE),
        stop=stop_after_attempt(_LOOKS_WITHOUT_ANSWER),
        reraise=True,
    )
    for_nothing = 0
    while for_nothing < _LOOKS_UNTIL_SHOWN:
        task = patiently(tasks.latest)
        if task is None:
            return
        if _is_older(task, started):
            for_nothing += 1
        elif _is_another(task, started):
            return
        else:
            yield task
            if not task.under_way:
                return
        sleep(_PAUSE)


def look_again(tasks: MoveTasks, started: Started, last: MoveTask | None) -> MoveTask | None:
    """Look at a redrive once more, as the watching ends; `last` where that shows nothing newer."""
    try:
        task = tasks.latest()
    except FeedbackError:
        return last
    if task is None or _is_older(task, started) or _is_another(task, started):
        return last
    return task if last is None or task.started_at == last.started_at else last


def finish(connect: Connect, record: UUID | None, *, moved: int, error: str | None = None) -> str:
    """Finish the record of an act, if there is one.

    Args:
        connect: opens the database.
        record: as `start` returned it.
        moved: messages, as far as is known.
        error: how it ended otherwise than it should.

    Returns:
        Why that was not possible; "" if it was.
    """
    if record is None:
        return ""
    try:
        with connect() as store:
            store.dlq_actions.finish(record, moved=moved, counts={"moved": moved}, error=error)
    except FeedbackError as failed:
        return str(failed)
    return ""


def cancel(dead_letters: Queue, connect: Connect, *, actor: str) -> tuple[int, str]:
    """Cancel the redrive under way; what it has moved stays moved.

    It is cancelled without a record rather than not at all.

    Args:
        dead_letters: the queue.
        connect: opens the database.
        actor: who, as `actor.actor` says.

    Returns:
        Messages moved until then, roughly; and why the act is not recorded, or "".

    Raises:
        RedriveRefused: there is none, or it is being cancelled already.
        AwsRefused, AwsUnavailable: SQS does not cancel it; that is recorded.
    """
    dead_letters.arn()  # says in its own words what is wrong with the queue
    tasks = dead_letters.move_tasks
    task = tasks.latest()
    if task is None:
        raise RedriveRefused(
            "SQS does not say whether a redrive is running: let the role call "
            "sqs:ListMessageMoveTasks on the dead-letter queue."
        )
    if task.status == "CANCELLING":
        raise RedriveRefused(f"The redrive is being cancelled already: {progress(task)}.")
    if task.status != "RUNNING" or not task.handle:
        raise RedriveRefused("No redrive is running, so there is nothing to cancel.")
    record, not_recorded = None, ""
    try:
        with connect() as store:
            record = store.dlq_actions.begin("cancel_redrive", actor=actor, selection={})
    except FeedbackError as error:
        not_recorded = str(error)
    try:
        moved = tasks.cancel(task.handle)
    except FeedbackError as error:
        finish(connect, record, moved=0, error=str(error))
        raise
    return moved, finish(connect, record, moved=moved) or not_recorded


def unfinished(task: MoveTask | None) -> str:
    """Say how a redrive ended otherwise than by moving everything; "" if it has.

    Args:
        task: as it was last seen; None: never.
    """
    if task is None:
        return (
            "SQS does not show how it stands, so nobody knows whether it has ended: let the role "
            "call sqs:ListMessageMoveTasks."
        )
    match task.status:
        case "COMPLETED":
            return ""
        case "FAILED":
            why = f"SQS ended it: {task.failure or 'it does not say why'}"
            if task.failure == _NO_SOURCE:
                why += (
                    " (somebody sent a message straight into the dead-letter queue; "
                    "`dpp-feedback dlq reprocess` takes those too)"
                )
        case "CANCELLED":
            why = "It was cancelled"
        case _:
            return f"It goes on in SQS, and is watched no longer: {progress(task)} so far."
    return f"{why}. {progress(task)}; the others are still in the dead-letter queue."


def progress(task: MoveTask) -> str:
    """Say how far a redrive is."""
    of = "" if task.to_move is None else f" of {task.to_move:,}"
    return f"{task.moved:,}{of} messages moved"


def _is_another(task: MoveTask, started: Started) -> bool:
    return bool(task.handle) and task.handle != started.handle


def _is_older(task: MoveTask, started: Started) -> bool:
    """Whether SQS still shows the redrive before the one that was started."""
    before = started.before
    if before is None or task.started_at is None:
        return task.status == "NONE"
    return task.started_at == before.started_at
