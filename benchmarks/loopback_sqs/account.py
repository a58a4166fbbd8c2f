"""The queues of an account, who sends its dead letters where, and its move tasks. No I/O."""

from __future__ import annotations

import re
from itertools import count

from benchmarks.loopback_sqs import attributes
from benchmarks.loopback_sqs.errors import (
    SqsError,
    invalid,
    no_such_queue,
    no_such_resource,
    unsupported,
)
from benchmarks.loopback_sqs.messages import Message, encode
from benchmarks.loopback_sqs.moves import MoveTask
from benchmarks.loopback_sqs.queues import Queue

ID = "000000000000"
REGION = "us-east-1"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_REST = 60  # seconds after DeleteQueue in which nobody may create it again


class Account:
    """All queues of one account in one region.

    Attributes:
        tasks: move tasks, the oldest first.
    """

    def __init__(self) -> None:
        self.tasks: list[MoveTask] = []
        self._queues: dict[str, Queue] = {}
        self._deleted: dict[str, float] = {}
        self._queue_numbers = count(1)
        self._message_numbers = count(1)

    def create(self, name: str, wanted: dict[str, str], now: float) -> Queue:
        """Create a queue, or find the one that is the same.

        Raises:
            SqsError: the name or an attribute is wrong; another queue has the name, or had it
                less than 60 seconds ago.
        """
        if name.endswith(".fifo"):
            raise unsupported("This stand-in has no FIFO queues.")
        if not _NAME.fullmatch(name):
            raise invalid(
                "Can only include alphanumeric characters, hyphens, or underscores. "
                "1 to 80 in length"
            )
        attributes.check(wanted)
        if existing := self._queues.get(name):
            for attribute, value in wanted.items():
                if existing.attributes.get(attribute) != value:
                    raise SqsError(
                        "QueueNameExists",
                        f"A queue already exists with the same name and a different value for "
                        f"attribute {attribute}",
                        query_code="QueueAlreadyExists",
                    )
            return existing
        if now < self._deleted.get(name, -_REST) + _REST:
            raise SqsError(
                "QueueDeletedRecently",
                "You must wait 60 seconds after deleting a queue before you can create another "
                "with the same name.",
                query_code="AWS.SimpleQueueService.QueueDeletedRecently",
            )
        arn = f"arn:aws:sqs:{REGION}:{ID}:{name}"
        queue = Queue(name, next(self._queue_numbers), arn, attributes.DEFAULTS | wanted, now)
        self._wire(queue)
        self._queues[name] = queue
        for source in self.sources(queue):  # their policies may have named it all along
            self._wire(source)
        return queue

    def set(self, queue: Queue, wanted: dict[str, str], now: float) -> None:
        """Change attributes of a queue, all or none; raises as `create`."""
        attributes.check(wanted)
        before = dict(queue.attributes)
        queue.attributes.update(wanted)
        try:
            self._wire(queue)
        except SqsError:
            queue.attributes = before
            raise
        queue.modified = now

    def queue(self, name: str) -> Queue:
        """Find a queue by its name.

        Raises:
            SqsError: QueueDoesNotExist.
        """
        found = self._queues.get(name)
        if found is None:
            raise no_such_queue()
        return found

    def names(self, prefix: str = "") -> list[str]:
        """Give the names that begin so, in order."""
        return sorted(name for name in self._queues if name.startswith(prefix))

    def delete(self, queue: Queue, now: float) -> None:
        """Delete a queue, with its messages. Queues that sent it dead letters keep them."""
        del self._queues[queue.name]
        self._deleted[queue.name] = now
        for source in self.sources(queue):
            source.dead_letters = None

    def sources(self, queue: Queue) -> list[Queue]:
        """Give the queues whose redrive policy names this one, by name."""
        return [
            self._queues[name]
            for name in self.names()
            if (
                policy := attributes.redrive(self._queues[name].attributes.get("RedrivePolicy", ""))
            )
            and policy[0] == queue.arn
        ]

    def message(self, body: str, now: float) -> Message:
        """Make a message that is in no queue yet."""
        return encode(body, next(self._message_numbers), now)

    def start_task(
        self, source_arn: str, destination_arn: str | None, per_second: int | None, now: float
    ) -> MoveTask:
        """Start to move what waits in a dead-letter queue.

        Raises:
            SqsError: ResourceNotFoundException; InvalidParameterValue: it is no dead-letter
                queue, a task is running, or the rate is wrong.
        """
        source = self.by_arn(source_arn, "SourceArn")
        if destination_arn:
            self.by_arn(destination_arn, "DestinationArn")
        if not self.sources(source):
            raise invalid("Source queue must be configured as a Dead Letter Queue.")
        if any(task.source_arn == source_arn and task.is_active for task in self.tasks):
            raise invalid(
                "There is already a task running. "
                "Only one active task is allowed for a source queue arn at a given time."
            )
        source.look(now)
        task = MoveTask(source_arn, destination_arn, per_second, source.waiting, now)
        self.tasks.append(task)
        return task

    def by_arn(self, arn: str, parameter: str) -> Queue:
        """Find a queue by its ARN.

        Raises:
            SqsError: ResourceNotFoundException, which names the parameter.
        """
        queue = self._queues.get(arn.rpartition(":")[2])
        if queue is None or queue.arn != arn:
            raise no_such_resource(
                f"The resource that you specified for the {parameter} parameter doesn't exist."
            )
        return queue

    def move(self, now: float) -> None:
        """Let every running task move what it may until now."""
        for task in self.tasks:
            if task.is_active:
                self._advance(task, now)

    def _advance(self, task: MoveTask, now: float) -> None:
        source = self._named(task.source_arn)
        if source is None:
            task.fail("AWS.SimpleQueueService.NonExistentQueue")
        else:
            sources = self.sources(source)
            only = sources[0].arn if len(sources) == 1 else ""
            for _ in range(task.allowed(now)):
                self._move_one(task, source, only, now)
        task.settle(now, nothing_left=source is not None and source.waiting == 0)

    def _move_one(self, task: MoveTask, source: Queue, only: str, now: float) -> None:
        for message in source.take_oldest(1, now):
            arn = task.destination_arn or message.came_from or only
            target = self._named(arn)
            if target is None:
                source.add(message, now)  # it stays a dead letter, as on AWS
                known = "AWS.SimpleQueueService.NonExistentQueue"
                task.fail(known if arn else "CouldNotDetermineMessageSource")
                return
            delay = float(target.attributes["DelaySeconds"])
            target.add(self._renewed(message, now), now, delay)
            task.moved += 1

    def _renewed(self, message: Message, now: float) -> Message:
        renewed = encode("", next(self._message_numbers), now)
        renewed.size, renewed.tail = message.size, message.tail
        return renewed

    def _named(self, arn: str) -> Queue | None:
        queue = self._queues.get(arn.rpartition(":")[2])
        return queue if queue is not None and queue.arn == arn else None

    def _wire(self, queue: Queue) -> None:
        policy = attributes.redrive(queue.attributes.get("RedrivePolicy", ""))
        if policy is None:
            queue.dead_letters = None
            return
        target = self._named(policy[0])
        if target is None:
            raise invalid(
                f"Value {queue.attributes['RedrivePolicy']} for parameter RedrivePolicy is "
                "invalid. Reason: Dead letter target does not exist."
            )
        queue.dead_letters, queue.max_receives = target, policy[1]
