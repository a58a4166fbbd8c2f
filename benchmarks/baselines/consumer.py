"""(b) PyPI's aws-sqs-consumer in batch mode: its handler stores ten messages in one transaction.

    python -m benchmarks.baselines.consumer MESSAGES [CONSUMERS]

PyPI's sqs-consumer itself is of 2015, needs Pyramid, and deletes one by one. This one is the
consumer there that has a batch mode: it receives up to ten, hands them to its handler, and deletes
them in one request. It starts no threads: with CONSUMERS so many of it run in threads of ours, each
with a client and a connection of its own.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from threading import Lock, Thread

from aws_sqs_consumer import Consumer, Message

from benchmarks.accounting import Clock
from benchmarks.baselines.script import INSERT, client, database, queue_url, report, row
from dpp_feedback.feedback.glance import events_of
from dpp_feedback.feedback.parser import parse


class Left:
    """How many messages are left, for consumers in several threads."""

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._lock = Lock()

    def take(self, messages: int) -> bool:
        """Say that so many are done; return whether all are."""
        with self._lock:
            self._messages -= messages
            return self._messages <= 0


class Storing(Consumer):  # type: ignore[misc] # it has no types
    """Stores what it is handed, and stops when nothing is left."""

    def __init__(self, left: Left) -> None:
        # The queue has what is left or nothing: no wait, so that the last consumer ends at once.
        super().__init__(
            queue_url=queue_url(), sqs_client=client(), batch_size=10, wait_time_seconds=0
        )
        self._left = left
        self._connection = database()
        self.all: list[Storing] = [self]

    def handle_message_batch(self, messages: list[Message]) -> None:
        """Store a batch in one transaction."""
        events = [
            event
            for message in messages
            for event in events_of(parse(message.Body, datetime.now(UTC)))
        ]
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(INSERT, [row(event) for event in events])
        if self._left.take(len(messages)):
            for one in self.all:
                one.stop()


def main(messages: int, consumers: int) -> None:
    """Drain the queue."""
    left = Left(messages)
    everyone = [Storing(left) for _ in range(consumers)]
    for one in everyone:
        one.all = everyone
    clock = Clock()
    threads = [Thread(target=one.start) for one in everyone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report(messages, clock)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
