"""(a) The worker of every tutorial: one thread; receive ten, then store and delete one by one.

python -m benchmarks.baselines.tutorial MESSAGES
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from benchmarks.accounting import Clock
from benchmarks.baselines.script import INSERT, client, database, queue_url, report, row
from dpp_feedback.feedback.glance import events_of
from dpp_feedback.feedback.parser import parse


def main(messages: int) -> None:
    """Drain the queue."""
    sqs, url, done = client(), queue_url(), 0
    with database() as connection:
        clock = Clock()
        while done < messages:
            received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=20)
            for message in received.get("Messages", []):
                for event in events_of(parse(message["Body"], datetime.now(UTC))):
                    connection.execute(INSERT, row(event))
                connection.commit()
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                done += 1
        report(done, clock)


if __name__ == "__main__":
    main(int(sys.argv[1]))
