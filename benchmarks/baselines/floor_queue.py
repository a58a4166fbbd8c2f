"""(c) boto3 alone: receive ten and delete ten, in threads; nothing is parsed, nothing stored.

python -m benchmarks.baselines.floor_queue MESSAGES THREADS
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.accounting import Clock
from benchmarks.baselines.script import client, queue_url, report

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


def main(threads: int) -> None:
    """Empty the queue."""
    sqs = client(threads)
    clock = Clock()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(lambda _: _empty(sqs), range(threads)))
    report(done, clock)


def _empty(sqs: SQSClient) -> int:
    url, done = queue_url(), 0
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ],
        )
        done += len(messages)
    return done


if __name__ == "__main__":
    main(int(sys.argv[2]))
