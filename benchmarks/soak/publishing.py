"""Puts SES's traffic into the queue at a steady rate, and remembers what must become of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import islice
from random import Random
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID

from dpp_feedback.local.traffic import traffic
from dpp_feedback_tests.faults.accounting import Fate, Published, Sent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from threading import Event

    from benchmarks.loopback_sqs.control import Control
    from dpp_feedback.local.traffic import Expected

POISON = 0.01
DUPLICATES = 0.02
_AT = datetime(2026, 2, 17, 12, tzinfo=UTC)
_EVERY = 0.2  # seconds between two loads
_TOPIC = "arn:aws:sns:ap-northeast-2:123456789012:ses-feedback"
_FATES: Mapping[Expected, Fate] = {
    "stored": "events",
    "duplicate": "events",
    "ignored": "ignored",
    "rejected": "poison",
}


class Publishing:
    """Publishes until it has published all, or until the end.

    Args:
        sqs: a control of its own.
        queue: the queue's name.
        rate: messages a second.
        number: of messages in all.
        seed: which.
    """

    def __init__(self, sqs: Control, queue: str, *, rate: int, number: int, seed: int) -> None:
        self._sqs = sqs
        self._queue = queue
        self._rate = rate
        self._traffic = traffic(number, seed=seed, at=_AT, poison=POISON, duplicates=DUPLICATES)
        self._random = Random(seed)  # noqa: S311 - nothing secret hangs on it
        self._sent: list[Sent] = []

    @property
    def published(self) -> Published:
        """What was put into the queue so far."""
        return Published(tuple(self._sent))

    def go_on(self, ended: Event) -> None:
        """Publish at the rate; what a stall held up follows at once."""
        began = monotonic()
        while not ended.is_set():
            due = int((monotonic() - began) * self._rate) - len(self._sent)
            some = list(islice(self._traffic, due))
            if due and not some:
                return
            ids = self._sqs.load(self._queue, [self._in_sns(one.body) for one in some])
            self._sent += [
                Sent(name, _FATES[one.expected], frozenset(one.dedupe_keys))
                for name, one in zip(ids, some, strict=True)
            ]
            ended.wait(_EVERY)

    def _in_sns(self, body: str) -> str:
        return json.dumps(
            {
                "Type": "Notification",
                "MessageId": str(UUID(int=self._random.getrandbits(128), version=4)),
                "TopicArn": _TOPIC,
                "Message": body,
                "Timestamp": "2026-02-17T12:00:00.250Z",
            }
        )
