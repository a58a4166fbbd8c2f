"""Postgres is away, dies, or loses an answer: what is stored is stored once, the rest comes again.

Naps between tries are asked for and not slept: what happens to the server meanwhile happens there.
"""

from __future__ import annotations

from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from dpp_feedback.local import ports
from dpp_feedback_tests.failures import failure
from dpp_feedback_tests.faults.conftest import BATCH, MAX_RECEIVES, numbers
from dpp_feedback_tests.faults.postgres import INSERT, Front, Naps, Server, front

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback_tests.faults.conftest import Drain, Queues

MESSAGES = 400


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("postgres"), ports.free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def database_url(server: Server) -> str:
    """On the server that dies, instead of that of all tests."""
    server.start()
    name = f"test_{uuid4().hex}"
    server.create_database(name)
    return server.url(name)


def test_while_postgres_is_down_no_message_is_received_however_long_it_takes(
    queues: Queues, drain: Drain, server: Server
) -> None:
    queues.publish(MESSAGES, poison=0.01, duplicates=0.05, ignored=0.01)
    server.stop()
    for _ in range(MAX_RECEIVES + 2):
        said = failure(drain())
        assert said.startswith("The database of DATABASE_URL does not answer: ")
        queues.tick()
    waiting = queues.server.contents(queues.queue).waiting
    assert len(waiting) == MESSAGES
    assert set(waiting.values()) == {0}
    assert not queues.server.contents(queues.dead_letter_queue).waiting
    server.start()
    numbers(drain())
    assert queues.account().left == queues.published.poison


@pytest.mark.parametrize(
    ("end", "statement", "nth"),
    [
        pytest.param("kill", INSERT, 2, id="before the first batch"),
        pytest.param("crash", "COMMIT", 2, id="inside a batch"),
        pytest.param("kill", "COMMIT", 3, id="inside a later batch"),
        pytest.param("crash", "BEGIN", 5, id="between batches"),
        pytest.param("kill", "SELECT FROM unnest", 1, id="after the last batch"),
    ],
)
def test_a_server_that_dies_and_is_back_in_seconds_costs_nothing(
    queues: Queues,
    drain: Drain,
    server: Server,
    way: Front,
    naps: Naps,
    end: str,
    statement: str,
    nth: int,
) -> None:
    queues.publish(MESSAGES, duplicates=0.05, ignored=0.01)
    way.before(statement, getattr(server, end), nth=nth)
    naps.meanwhile = server.start
    counted = numbers(drain())
    assert naps.seconds == [2]
    assert counted["received"] == MESSAGES
    assert counted["new_rows"] == len(queues.published.keys)
    queues.assert_nothing_lost()


def test_a_server_that_stays_away_fails_the_run_and_the_next_one_stores_the_rest(
    queues: Queues, drain: Drain, server: Server, way: Front, naps: Naps
) -> None:
    queues.publish(MESSAGES, poison=0.01)
    way.before("COMMIT", server.kill, nth=3)
    said = failure(drain())
    assert said.startswith("The database of DATABASE_URL does not answer: ")
    assert naps.seconds == [2, 4, 8]
    server.start()
    found = queues.account()
    assert (found.left, found.rows, found.counted) == (MESSAGES, 2 * BATCH, 2 * BATCH)
    queues.tick()
    counted = numbers(drain())
    assert counted["received"] == MESSAGES
    assert counted["new_rows"] == len(queues.published.keys) - 2 * BATCH
    assert queues.account().left == queues.published.poison
    for _ in range(MAX_RECEIVES):
        drain()
    queues.assert_nothing_lost()


@pytest.mark.parametrize("nth", [1, 3])
def test_a_commit_whose_answer_is_lost_stores_and_counts_once(
    queues: Queues, drain: Drain, way: Front, naps: Naps, nth: int
) -> None:
    queues.publish(MESSAGES)
    way.cut_after("COMMIT", nth=nth)
    counted = numbers(drain())
    assert naps.seconds == [2]
    # The run cannot know that the batch was its own: its messages count as duplicates.
    assert counted["new_rows"] == len(queues.published.keys) - BATCH
    assert counted["stored"] + counted["duplicates"] + counted["ignored"] == MESSAGES
    queues.assert_nothing_lost()


def test_a_commit_that_never_arrives_is_done_again(
    queues: Queues, drain: Drain, way: Front, naps: Naps
) -> None:
    queues.publish(MESSAGES)
    way.cut_before("COMMIT", nth=2)
    counted = numbers(drain())
    assert naps.seconds == [2]
    assert counted["new_rows"] == len(queues.published.keys)
    queues.assert_nothing_lost()


def test_a_record_of_rejects_whose_answer_is_lost_counts_each_once(
    queues: Queues, drain: Drain, way: Front, naps: Naps
) -> None:
    queues.publish(MESSAGES, poison=0.05)
    batches = -(-len(queues.published.keys) // BATCH)
    # Rejects are recorded in two transactions: rows of redriven messages first, then the others.
    way.cut_after("COMMIT", nth=batches + 2)
    assert numbers(drain())["rejected"] == queues.published.poison
    assert naps.seconds == [2]
    with psycopg.connect(queues.database_url) as database:
        seen = database.execute("SELECT times_seen FROM public.ses_feedback_rejects").fetchall()
    assert seen == [(1,)] * queues.published.poison


def test_a_server_that_accepts_and_says_nothing_has_no_message_received(
    queues: Queues, drain: Drain, way: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.publish(MESSAGES)
    mended = Event()
    monkeypatch.setenv("DATABASE_URL", f"{way.url}?connect_timeout=2")
    way.before("user", lambda: _wait(mended))
    said = failure(drain())
    mended.set()
    assert "timeout expired" in said
    assert set(queues.server.contents(queues.queue).waiting.values()) == {0}
    numbers(drain())
    queues.assert_nothing_lost()


def test_a_password_that_is_changed_in_the_middle_ends_the_run_at_once(
    queues: Queues, drain: Drain, server: Server, naps: Naps, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.publish(MESSAGES)
    role = f"drainer_{uuid4().hex}"
    with closing(psycopg.connect(queues.database_url, autocommit=True)) as database:
        database.execute(f"CREATE ROLE {role} LOGIN BYPASSRLS PASSWORD 'first'")
        database.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        server.configure(f"host all {role} 127.0.0.1/32 scram-sha-256")
        login = queues.database_url.replace("postgres@", f"{role}:first@")
        with front(login) as own:
            monkeypatch.setenv("DATABASE_URL", own.url)
            own.cut_before(INSERT, nth=2)
            naps.meanwhile = lambda: database.execute(f"ALTER ROLE {role} PASSWORD 'second'")
            for _ in range(MAX_RECEIVES + 1):
                said = failure(drain())
                assert said.startswith("The server does not accept DATABASE_URL: password")
                queues.tick()
    assert naps.seconds == [2], "of the first run, and no other received anything"
    assert set(queues.server.contents(queues.queue).waiting.values()) == {1}
    monkeypatch.setenv("DATABASE_URL", login.replace(":first@", ":second@"))
    numbers(drain())
    queues.assert_nothing_lost()


def _wait(moment: Event) -> None:
    assert moment.wait(60)
