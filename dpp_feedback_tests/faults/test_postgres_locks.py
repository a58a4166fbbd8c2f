"""Others hold locks on the tables: a run waits so long and no longer, and nothing counts twice.

A lock timeout of seconds is made one of milliseconds here; naps are not slept.
"""

from __future__ import annotations

from contextlib import closing
from time import sleep
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from dpp_feedback_tests.failures import failure
from dpp_feedback_tests.faults.conftest import BATCH, MAX_RECEIVES, numbers
from dpp_feedback_tests.faults.postgres import INSERT, Front, Naps, beside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback_tests.faults.conftest import Drain, Queues

    Database = psycopg.Connection[tuple[Any, ...]]

MESSAGES = 200
LAST_COUNTER = """
UPDATE public.ses_feedback_daily_totals SET count = count WHERE ctid = (
  SELECT ctid FROM public.ses_feedback_daily_totals ORDER BY notification_type DESC LIMIT 1
)
"""
EVERY_COUNTER = "UPDATE public.ses_feedback_daily_counts SET count = count"


@pytest.fixture
def other(queues: Queues) -> Iterator[Database]:
    """Another's session, which opens a transaction with its first statement.

    Where a run would wait for ever, it ends after half a minute, and the test fails.
    """
    with closing(psycopg.connect(queues.database_url)) as connection:
        connection.execute("SET idle_in_transaction_session_timeout = '30s'")
        connection.commit()
        yield connection


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("store", "rejects.table"):
        monkeypatch.setattr(
            f"dpp_feedback.{module}.LOCK_TIMEOUT", "SET LOCAL lock_timeout = '100ms'"
        )


def _until_ours_waits(database_url: str) -> None:
    """Return when a statement of the product waits for a lock."""
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        for _ in range(3_000):
            if connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'dpp_feedback' AND wait_event_type = 'Lock'"
            ).fetchone():
                return
            sleep(0.01)
    raise AssertionError("nothing of ours waits for a lock")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("table", ["events", "daily_counts", "daily_totals", "rejects"])
def test_while_a_table_is_locked_no_message_is_received(
    queues: Queues, drain: Drain, other: Database, table: str
) -> None:
    queues.publish(MESSAGES, duplicates=0.05)
    other.execute(f"LOCK TABLE public.ses_feedback_{table}")
    for _ in range(MAX_RECEIVES + 1):
        assert "waited too long for a lock" in failure(drain())
        queues.tick()
    assert set(queues.server.contents(queues.queue).waiting.values()) == {0}
    other.rollback()
    numbers(drain())
    queues.assert_nothing_lost()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("table", ["events", "daily_counts", "daily_totals", "rejects"])
def test_a_lock_that_is_held_for_less_than_the_tries_last_costs_nothing(
    queues: Queues, drain: Drain, way: Front, naps: Naps, other: Database, table: str
) -> None:
    queues.publish(MESSAGES)
    way.before(INSERT, lambda: _lock(other, table), nth=3)
    naps.meanwhile = lambda: other.rollback() if len(naps.seconds) == 3 else None
    counted = numbers(drain())
    assert naps.seconds == [2, 4, 8]
    assert counted["new_rows"] == len(queues.published.keys)
    queues.assert_nothing_lost()


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_stays_ends_the_run_and_costs_one_receive(
    queues: Queues, drain: Drain, way: Front, naps: Naps, other: Database
) -> None:
    queues.publish(MESSAGES)
    way.before(INSERT, lambda: _lock(other, "events"), nth=3)
    said = failure(drain())
    assert said == (
        "Inserting into public.ses_feedback_events waited too long for a lock: see "
        "pg_stat_activity, and end what holds it."
    )
    assert naps.seconds == [2, 4, 8]
    other.rollback()
    found = queues.account()
    assert (found.left, found.rows, found.counted) == (MESSAGES, BATCH, BATCH)
    queues.tick()
    numbers(drain())
    queues.assert_nothing_lost()


@pytest.mark.usefixtures("impatient")
def test_one_counter_that_another_session_holds_delays_and_loses_nothing(
    queues: Queues, drain: Drain, way: Front, naps: Naps, other: Database
) -> None:
    queues.publish(MESSAGES)
    way.before(INSERT, lambda: _run(other, LAST_COUNTER), nth=3)
    naps.meanwhile = other.rollback
    counted = numbers(drain())
    assert naps.seconds == [2]
    assert counted["new_rows"] == len(queues.published.keys)
    queues.assert_nothing_lost()


def test_a_lock_that_outlasts_the_statement_timeout_is_waited_for_twice_a_try(
    queues: Queues, drain: Drain, way: Front, naps: Naps, other: Database
) -> None:
    queues.publish(MESSAGES)
    inserts: list[str] = []
    for nth in range(1, 50):
        way.before(INSERT, lambda: inserts.append("one"), nth=nth)
    way.before(INSERT, lambda: _lock(other, "events"), nth=3)
    with closing(psycopg.connect(queues.database_url, autocommit=True)) as connection:
        connection.execute(
            f"ALTER DATABASE {connection.info.dbname} SET statement_timeout = '200ms'"
        )
    assert "statement_timeout" in failure(drain())
    assert naps.seconds == [2, 4, 8]
    probe, first_batch, tries = 1, 1, 4
    assert len(inserts) == probe + first_batch + 2 * tries
    other.rollback()
    queues.tick()
    numbers(drain())
    queues.assert_nothing_lost()


def test_a_deadlock_with_one_who_counts_in_another_order_ends_and_counts_once(
    queues: Queues, drain: Drain, way: Front, naps: Naps, other: Database
) -> None:
    """Ours is the victim: the other looks for deadlocks only after an hour."""
    queues.publish(MESSAGES)
    other.execute("SET deadlock_timeout = '1h'")
    other.commit()
    way.before(INSERT, lambda: _run(other, LAST_COUNTER), nth=3)
    naps.meanwhile = other.rollback

    def counts_in_another_order() -> None:
        _until_ours_waits(queues.database_url)
        # Of the counts ours holds some already: it takes them before the totals.
        other.execute(EVERY_COUNTER)

    with beside(counts_in_another_order):
        counted = numbers(drain())
    assert naps.seconds == [2]
    assert counted["new_rows"] == len(queues.published.keys)
    queues.assert_nothing_lost()


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_a_failure_to_serialize_is_tried_again(
    queues: Queues, drain: Drain, way: Front, naps: Naps, other: Database, isolation: str
) -> None:
    queues.publish(MESSAGES)
    with closing(psycopg.connect(queues.database_url, autocommit=True)) as connection:
        connection.execute(
            f"ALTER DATABASE {connection.info.dbname} "
            f"SET default_transaction_isolation = '{isolation}'"
        )
    way.before(INSERT, lambda: _run(other, LAST_COUNTER), nth=3)

    def commits_first() -> None:
        _until_ours_waits(queues.database_url)
        other.commit()

    with beside(commits_first):
        counted = numbers(drain())
    assert naps.seconds == [2]
    assert counted["new_rows"] == len(queues.published.keys)
    queues.assert_nothing_lost()


def _lock(other: Database, table: str) -> None:
    _run(other, f"LOCK TABLE public.ses_feedback_{table}")


def _run(other: Database, statement: str) -> None:
    other.execute(statement.encode())
