"""A transaction pooler before Postgres: pgbouncer with two connections to the server.

Each transaction may go to another of them, so nothing may hang on a session.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from dpp_feedback.definitions import defs
from dpp_feedback_tests.faults.conftest import MAX_RECEIVES, numbers
from dpp_feedback_tests.faults.pgbouncer import PgBouncer
from dpp_feedback_tests.faults.postgres import Front, Naps, front

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import dagster as dg

    from dpp_feedback_tests.faults.conftest import Drain, Queues

    Database = psycopg.Connection[tuple[Any, ...]]

MESSAGES = 400
BATCH = 50  # of rows: more statements than psycopg sends before it would prepare one


@pytest.fixture
def pooler(tmp_path: Path, queues: Queues) -> Iterator[PgBouncer]:
    folder = tmp_path / "pgbouncer"
    folder.mkdir()
    pooler = PgBouncer(folder, queues.database_url)
    pooler.start()
    yield pooler
    pooler.stop()


@pytest.fixture
def way(queues: Queues, pooler: PgBouncer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """The product's way to the pooler."""
    monkeypatch.setattr("dpp_feedback.store.BATCH", BATCH)
    with front(pooler.url(queues.database_url)) as own:
        monkeypatch.setenv("DATABASE_URL", own.url)
        yield own


@pytest.mark.usefixtures("way")
def test_a_drain_through_a_transaction_pooler_is_exact_and_prepares_nothing(
    queues: Queues, drain: Drain, pooler: PgBouncer
) -> None:
    queues.publish(MESSAGES, poison=0.05, duplicates=0.05, ignored=0.01)
    for _ in range(MAX_RECEIVES + 1):
        numbers(drain())
    queues.assert_nothing_lost()
    url = pooler.url(queues.database_url)
    with closing(psycopg.connect(url)) as one, closing(psycopg.connect(url)) as other:
        for connection in (one, other):  # in two transactions at once: on both of its connections
            rejects = connection.execute("SELECT count(*) FROM public.ses_feedback_rejects")
            assert rejects.fetchone() == (queues.published.poison,)
            prepared = connection.execute("SELECT count(*) FROM pg_prepared_statements")
            assert prepared.fetchone() == (0,)


@pytest.mark.usefixtures("way")
def test_dead_letters_are_rehearsed_and_reprocessed_through_a_pooler(
    queues: Queues, drain: Drain, database: Database, instance: dg.DagsterInstance
) -> None:
    database.execute(
        "ALTER TABLE public.ses_feedback_events ADD CONSTRAINT no "
        "CHECK (notification_type <> 'Bounce') NOT VALID"
    )
    queues.publish(MESSAGES, poison=0.02)
    for _ in range(MAX_RECEIVES + 1):
        numbers(drain())
    found = queues.account()
    assert found.dead > queues.published.poison
    assert found.left == 0
    database.execute("ALTER TABLE public.ses_feedback_events DROP CONSTRAINT no")
    reprocess = defs.resolve_job_def("reprocess_dlq")
    for dry_run in (True, False):
        assert reprocess.execute_in_process({"dry_run": dry_run}, instance=instance).success
    queues.assert_nothing_lost()
    acts = database.execute(
        "SELECT dry_run, moved, (counts->>'stored')::int, (counts->>'rejected')::int "
        "FROM public.ses_feedback_dlq_actions ORDER BY moved"
    )
    storable, poison = found.dead - queues.published.poison, queues.published.poison
    assert acts.fetchall() == [(True, 0, storable, poison), (False, storable, storable, poison)]


@pytest.mark.parametrize("statement", ["COMMIT", "BEGIN"])
def test_a_pooler_that_is_restarted_in_the_middle_costs_nothing(
    queues: Queues, drain: Drain, pooler: PgBouncer, way: Front, naps: Naps, statement: str
) -> None:
    queues.publish(MESSAGES, ignored=0.01)
    way.before(statement, pooler.stop, nth=5)
    naps.meanwhile = pooler.start
    counted = numbers(drain())
    assert naps.seconds == [2]
    assert counted["new_rows"] == len(queues.published.keys)
    queues.assert_nothing_lost()


def test_a_server_that_drops_the_poolers_connections_inside_a_batch_costs_nothing(
    queues: Queues, drain: Drain, way: Front, naps: Naps, database: Database
) -> None:
    queues.publish(MESSAGES)

    def drop() -> None:
        database.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    way.before("COMMIT", drop, nth=3)
    counted = numbers(drain())
    assert naps.seconds == [2]
    assert counted["new_rows"] == len(queues.published.keys)
    queues.assert_nothing_lost()
