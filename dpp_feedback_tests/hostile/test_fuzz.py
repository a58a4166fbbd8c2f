"""The fuzz target for as long as there is time: half a minute here, an hour by `make fuzz`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from dpp_feedback.store import Store
from dpp_feedback_tests.hostile.bodies import Body, bodies
from dpp_feedback_tests.hostile.target import check

if TYPE_CHECKING:
    import psycopg
    import pytest

    from dpp_feedback.feedback.events import FeedbackEvent

_ROUND = 500  # bodies between two looks at the clock, and two inserts
_MINUTES = 0.5


@dataclass
class _Read:
    """What was read so far.

    Attributes:
        bodies: how many.
        slowest: seconds that one took, all ways to read it together.
        events: those not yet inserted.
    """

    bodies: int = 0
    slowest: float = 0.0
    events: list[FeedbackEvent] = field(default_factory=list)

    def round(self, number: int) -> None:
        """Read as many bodies as a round has; the number is its seed."""

        @seed(number)
        @settings(
            max_examples=_ROUND,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(bodies())
        def read(body: Body) -> None:
            began = time.monotonic()
            # A key of its own each, of the same length: Postgres is to see every one.
            for event in check(body):
                key = f"{event.dedupe_key[:-16]}{len(self.events):016x}"
                self.events.append(replace(event, dedupe_key=key))
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.bodies += 1

        read()


def test_no_body_at_all_breaks_a_promise_and_postgres_takes_every_event(
    pytestconfig: pytest.Config, database: psycopg.Connection[Any], database_url: str
) -> None:
    """Each round has a seed of its own, counted up from `--fuzz-seed`; a failure names it."""
    assert not database.closed  # it is migrated
    first: int = pytestconfig.getoption("--fuzz-seed")
    end = time.monotonic() + 60 * (pytestconfig.getoption("--fuzz-minutes") or _MINUTES)
    number, rows, seen = first, 0, _Read()
    with Store.connect(database_url) as store:
        while number == first or time.monotonic() < end:
            try:
                seen.round(number)
                inserted = store.insert(seen.events)
                assert inserted.refused == {}
            except BaseException as error:
                error.add_note(f"after {seen.bodies:,} bodies; again with --fuzz-seed {number}")
                raise
            assert len(inserted.new) == len(seen.events)
            rows += len(inserted.new)
            database.execute("TRUNCATE public.ses_feedback_events")
            seen.events.clear()
            number += 1
    said = f"{seen.bodies:,} bodies, {rows:,} rows, slowest body {1000 * seen.slowest:.0f} ms"
    print(f"{said}; seeds {first} to {number - 1}")  # noqa: T201 - for `make fuzz`
    assert rows
