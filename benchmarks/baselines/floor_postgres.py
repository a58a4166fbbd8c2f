"""(d) Postgres alone: the product's own insert, daily counters and all, of events already parsed.

python -m benchmarks.baselines.floor_postgres MESSAGES SEED
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from benchmarks.accounting import Clock
from benchmarks.baselines.script import report
from benchmarks.bodies import bodies
from dpp_feedback.feedback.glance import events_of
from dpp_feedback.feedback.parser import parse
from dpp_feedback.store import Store


def main(messages: int, seed: int) -> None:
    """Insert the events of so many messages."""
    now = datetime.now(UTC)
    events = [
        event for body in bodies(messages, seed=seed) for event in events_of(parse(body.text, now))
    ]
    with Store.connect(os.environ["DATABASE_URL"]) as store:
        clock = Clock()
        store.insert(events)
        report(messages, clock)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
