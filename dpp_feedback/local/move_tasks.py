"""StartMessageMoveTask, ListMessageMoveTasks and CancelMessageMoveTask for the AWS stand-in.

ministack lacks them; this is ours, written after AWS's API reference, its page on DLQ redrives,
and answers that AWS gave. It runs in ministack's process, in its event loop, on its queues.

What it does as AWS does: the source must be the dead-letter queue of another queue; one task at a
time for a source; without `DestinationArn` a message goes back to the queue that it came from; it
arrives as a new message (id, time sent, receive count 0); messages in flight stay; the limit holds
within each tenth of a second; up to ten tasks are listed, with a handle only while they run; the
codes and words of errors.

What it does not do: FIFO queues (UnsupportedOperation), permissions and keys, the 36 hours and 100
tasks that AWS allows at most, and memory: a task ends with the process, its messages stay where
they are. A message that was sent straight into the dead-letter queue has no origin. AWS then fails
with CouldNotDetermineMessageSource; here it goes to the source queue if there is but one.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, NoReturn
from uuid import uuid4

from ministack.services.sqs import (  # type: ignore[import-untyped]
    _HANDLERS,
    _ensure_msg_fields,
    _Err,
    _expire_retained,
    _queue_by_arn,
    _queues,
    _queues_lock,
    esm_wake,
    queue_delay,
)

_FASTEST = 500  # messages per second, and how fast a task without a limit goes
_LISTED = 10
_TICK = 0.1  # seconds

_NO_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"
_NO_ORIGIN = "CouldNotDetermineMessageSource"

_Queue = dict[str, Any]
_Message = dict[str, Any]


@dataclass
class _Task:
    """One redrive, as ListMessageMoveTasks tells it."""

    source: str
    destination: str | None
    per_second: int | None
    to_move: int
    handle: str = field(default_factory=lambda: str(uuid4()))
    started: float = field(default_factory=time.time)
    status: str = "RUNNING"
    moved: int = 0
    failure: str | None = None

    def told(self) -> dict[str, Any]:
        told = {
            "TaskHandle": self.handle if self.status == "RUNNING" else None,
            "Status": self.status,
            "SourceArn": self.source,
            "DestinationArn": self.destination,
            "MaxNumberOfMessagesPerSecond": self.per_second,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "FailureReason": self.failure,
            "StartedTimestamp": int(self.started * 1000),
        }
        return {name: value for name, value in told.items() if value is not None}


_tasks: list[_Task] = []  # the oldest first
_running: set[asyncio.Task[None]] = set()  # the event loop itself keeps no hold of them


def register() -> None:
    """Give the stand-in the three calls; before it serves."""
    _HANDLERS.update(
        {
            "StartMessageMoveTask": _start,
            "ListMessageMoveTasks": _list,
            "CancelMessageMoveTask": _cancel,
        }
    )


def _start(request: dict[str, Any], _url: str) -> dict[str, Any]:
    source, queue = _queue_of(request, "SourceArn")
    destination = request.get("DestinationArn") or None
    per_second = request.get("MaxNumberOfMessagesPerSecond")
    if per_second is not None and not 1 <= int(per_second) <= _FASTEST:
        _refuse(
            f"Value {per_second} for parameter MaxNumberOfMessagesPerSecond is invalid. "
            f"Reason: Must be between 1 and {_FASTEST}, if provided."
        )
    if not _sources(source):
        _refuse("Source queue must be configured as a Dead Letter Queue.")
    if queue["is_fifo"]:
        raise _Err("UnsupportedOperation", "This stand-in moves no messages of FIFO queues.")
    if destination:
        _queue_of(request, "DestinationArn")
    if any(t.source == source and t.status in ("RUNNING", "CANCELLING") for t in _tasks):
        _refuse(
            "There is already a task running. "
            "Only one active task is allowed for a source queue arn at a given time."
        )
    _expire_retained(queue)
    to_move = len(_visible(queue))
    task = _Task(source, destination, None if per_second is None else int(per_second), to_move)
    _tasks.append(task)
    moving = asyncio.get_running_loop().create_task(_move(task))
    _running.add(moving)
    moving.add_done_callback(_running.discard)
    return {"TaskHandle": task.handle}


def _list(request: dict[str, Any], _url: str) -> dict[str, Any]:
    source, _ = _queue_of(request, "SourceArn")
    number = int(request.get("MaxResults") or 1)
    if not 1 <= number <= _LISTED:
        _refuse(
            f"Value {number} for parameter MaxResults is invalid. "
            f"Reason: Must be between 1 and {_LISTED}, if provided."
        )
    newest = [task for task in reversed(_tasks) if task.source == source]
    return {"Results": [task.told() for task in newest[:number]]}


def _cancel(request: dict[str, Any], _url: str) -> dict[str, Any]:
    handle = request.get("TaskHandle")
    if not handle:
        _refuse("Value for parameter TaskHandle is invalid.")
    # A handle stands only for a task that runs, as ListMessageMoveTasks says.
    task = next((t for t in _tasks if t.handle == handle and t.status == "RUNNING"), None)
    if task is None:
        raise _Err("ResourceNotFoundException", "Task does not exist.", 404)
    task.status = "CANCELLING"
    return {"ApproximateNumberOfMessagesMoved": task.moved}


async def _move(task: _Task) -> None:
    while task.status == "RUNNING":
        await asyncio.sleep(_TICK)
        if task.status != "RUNNING":
            break
        allowed = int((time.time() - task.started) * (task.per_second or _FASTEST)) - task.moved
        with _queues_lock:
            _move_some(task, min(allowed, task.to_move - task.moved))
    if task.status == "CANCELLING":
        await asyncio.sleep(_TICK)
        task.status = "CANCELLED"


def _move_some(task: _Task, number: int) -> None:
    """Move so many of the oldest; without `await`, so that a stop loses and doubles none."""
    queue = _queue_by_arn(task.source)
    if queue is None:
        task.status, task.failure = "FAILED", _NO_QUEUE
        return
    _expire_retained(queue)
    waiting = _visible(queue)
    sources = _sources(task.source)
    only = sources[0] if len(sources) == 1 else None
    gone = set()
    for message in waiting[:number]:
        arn = task.destination or message["sys"].get("DeadLetterQueueSourceArn") or only
        target = arn and _queue_by_arn(arn)
        if not target:
            task.status, task.failure = "FAILED", _NO_QUEUE if arn else _NO_ORIGIN
            break
        target["messages"].append(_renewed(message, queue_delay(target)))
        gone.add(message["id"])
    queue["messages"] = [m for m in queue["messages"] if m["id"] not in gone]
    task.moved += len(gone)
    esm_wake.set()
    if task.status == "RUNNING" and (task.moved >= task.to_move or not waiting):
        task.status = "COMPLETED"


def _visible(queue: _Queue) -> list[_Message]:
    now = time.time()
    for message in queue["messages"]:
        _ensure_msg_fields(message)
    return sorted(
        (message for message in queue["messages"] if message["visible_at"] <= now),
        key=lambda message: float(message["sent_at"]),
    )


def _renewed(message: _Message, delay: int) -> _Message:
    now = time.time()
    kept = {k: v for k, v in message.items() if k != "enqueued_at"}
    said = {k: v for k, v in message["sys"].items() if k != "DeadLetterQueueSourceArn"}
    return kept | {
        "id": str(uuid4()),
        "receipt_handle": None,
        "sent_at": now,
        "visible_at": now + delay,
        "receive_count": 0,
        "first_receive_at": None,
        "sys": said | {"SentTimestamp": str(int(now * 1000))},
    }


def _sources(arn: str) -> list[str]:
    """ARNs of the queues whose redrive policy names this one."""
    found = []
    for _, queue in _queues.all_items():
        policy = json.loads(queue["attributes"].get("RedrivePolicy") or "{}")
        if policy.get("deadLetterTargetArn") == arn:
            found.append(str(queue["attributes"]["QueueArn"]))
    return found


def _queue_of(request: dict[str, Any], parameter: str) -> tuple[str, _Queue]:
    arn = request.get(parameter) or ""
    queue = _queue_by_arn(arn)
    if queue is None:
        raise _Err(
            "ResourceNotFoundException",
            f"The resource that you specified for the {parameter} parameter doesn't exist.",
            404,
        )
    return arn, queue


def _refuse(why: str) -> NoReturn:
    raise _Err("InvalidParameterValue", why)
