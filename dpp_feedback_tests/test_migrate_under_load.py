"""Migrating while others use the tables, through a pooler, and cut short at any moment."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
import pytest

from dpp_feedback import migrate as migrate_module
from dpp_feedback.daily_counts import DailyCounts
from dpp_feedback.migrate import MigrationError, migrate, migrations_directory, pending
from dpp_feedback_tests.faults.pgbouncer import PgBouncer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dpp_feedback.local.stack import Stack

    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

FILES = sorted(path.name for path in migrations_directory().glob("*.sql"))
GUARD = "20260220_fix_ses_feedback_events_rls_and_guard.sql"
VIEW = "20261126_create_ses_suppressed_recipients.sql"
SHRINK = "20261128_shrink_ses_feedback_recipient_index.sql"
ONE = "20010101_one.sql"
ROWS, DAY = 2_000, date(2026, 2, 17)

ADD_EVENTS = f"""
INSERT INTO public.ses_feedback_events
  (notification_type, primary_recipient, ses_message_id, event_at, dedupe_key)
SELECT 'Bounce', 'a' || n || '@example.com', 'm' || n, '2026-02-17T08:00:00Z', %s || n
FROM generate_series(1, {ROWS}) AS n
"""  # noqa: S608 - made of the constant above
INDEXES = """
SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index
WHERE indrelid = 'public.ses_feedback_events'::regclass ORDER BY 1
"""
BUILDING = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE 'create index concurrently%'
"""
WAITING_FOR_BUILD = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE 'SELECT 1 FROM pg_stat_progress_create_index%'
"""
INDEX = "SELECT to_regclass('public.ses_feedback_events_suppression_idx')::oid"
BUILD_NEW = """
CREATE INDEX ses_feedback_events_recipient_new_idx ON public.ses_feedback_events
  (primary_recipient) WHERE primary_recipient IS NOT NULL;
"""
# Nobody but a superuser may say by hand that an index is not valid.
LEFT_BEHIND = {
    "nothing": "",
    "no index": "DROP INDEX public.ses_feedback_events_recipient_idx",
    "the new one": BUILD_NEW,
    "the new one alone": f"DROP INDEX public.ses_feedback_events_recipient_idx; {BUILD_NEW}",
    "new ones that are not valid": f"""
        {BUILD_NEW}
        CREATE INDEX ses_feedback_events_suppression_idx ON public.ses_feedback_events (source);
        UPDATE pg_index SET indisvalid = false WHERE indexrelid IN (
          'public.ses_feedback_events_recipient_new_idx'::regclass,
          'public.ses_feedback_events_suppression_idx'::regclass
        )
    """,  # noqa: S608 - made of the constant above
    "a former one that is not valid": """
        UPDATE pg_index SET indisvalid = false
        WHERE indexrelid = 'public.ses_feedback_events_recipient_idx'::regclass
    """,
}
PROGRAM = "import sys; from dpp_feedback.migrate import migrate; migrate(sys.argv[1])"


def connected(url: str) -> closing[Connection]:
    return closing(psycopg.connect(url, autocommit=True))


def up_to(last: str, folder: Path) -> Path:
    """Make the folder that an earlier version came with; its last file is `last`."""
    folder.mkdir()
    for name in FILES[: FILES.index(last) + 1]:
        (folder / name).write_bytes((migrations_directory() / name).read_bytes())
    return folder


def shape(db: Connection) -> list[tuple[Any, ...]]:
    """What the migrations make: relations, columns, indexes, policies, grants."""
    return db.execute("""
        SELECT 'relation', relname::text, relkind::text, relacl::text
        FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'dpp_feedback'::regnamespace)
        UNION ALL SELECT 'column', attrelid::regclass || '.' || attname,
          format_type(atttypid, atttypmod), attnotnull::text
        FROM pg_attribute WHERE attnum > 0 AND attrelid IN (
          SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace
        )
        UNION ALL SELECT 'index', pg_get_indexdef(indexrelid), indisvalid::text, null
        FROM pg_index JOIN pg_class ON oid = indrelid
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT 'policy', tablename || '.' || policyname, roles::text, cmd FROM pg_policies
        UNION ALL SELECT 'migration', name, sha256, null FROM dpp_feedback.migrations
        ORDER BY 1, 2, 3, 4
    """).fetchall()


def count(db: Connection, of: str) -> int:
    ((number,),) = db.execute(f"SELECT {of}".encode()).fetchall()
    return int(number)


def counted(db: Connection) -> int:
    return count(db, "coalesce(sum(count), 0) FROM public.ses_feedback_daily_totals")


def applied(db: Connection, number: int) -> bool:
    return count(db, "count(*) FROM dpp_feedback.migrations") >= number


def until(told: Callable[[], Any]) -> Any:
    """Wait for something to be told; a minute is for ever here."""
    deadline = time.monotonic() + 60
    while not (found := told()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


@contextmanager
def a_snapshot(url: str) -> Iterator[None]:
    """A transaction that an index which is built concurrently has to wait for."""
    with connected(url) as old, old.transaction():
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM public.ses_feedback_events")
        yield


@pytest.fixture
def former(database_url: str, tmp_path: Path) -> Iterator[Connection]:
    """A database of the first version, with rows; the connection gives up rather than hang."""
    migrate(database_url, up_to(GUARD, tmp_path / "former"))
    with connected(database_url) as db:
        db.execute(ADD_EVENTS, ["old"])
        db.execute("SET statement_timeout = '60s'")
        yield db


@pytest.fixture(scope="module")
def fresh_shape(stack: Stack) -> list[tuple[Any, ...]]:
    """What a database without rows looks like when it is migrated at once."""
    stack.postgres.create_database("fresh_shape")
    migrate(stack.postgres.url("fresh_shape"))
    with connected(stack.postgres.url("fresh_shape")) as db:
        return shape(db)


# While others use the tables


@pytest.fixture
def in_use(database_url: str, tmp_path: Path) -> Iterator[Connection]:
    """A connection that reads a table, in a transaction that stays; the file `ONE` changes it."""
    (tmp_path / ONE).write_text("ALTER TABLE public.mine ADD more int")
    with connected(database_url) as db:
        db.execute("CREATE TABLE public.mine (a int)")
        db.execute("BEGIN; SELECT count(*) FROM public.mine")
        yield db


def test_a_table_in_use_is_not_waited_for_without_end(
    in_use: Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate_module, "_PATIENCE_SECONDS", 1)
    with pytest.raises(MigrationError) as caught:
        migrate(database_url, tmp_path)
    assert str(caught.value) == (
        f"{ONE} was not applied, nothing of it stays: a table that it changes was in use for 1 "
        "seconds. See pg_stat_activity, end what holds it, and run `dpp-feedback migrate` again."
    )
    in_use.execute("COMMIT")
    assert migrate(database_url, tmp_path) == [ONE]


def test_who_comes_meanwhile_gets_through_and_then_the_file_is_applied(
    in_use: Connection, database_url: str, tmp_path: Path
) -> None:
    waits = "SELECT 1 FROM pg_locks WHERE relation = 'public.mine'::regclass AND NOT granted"
    with ThreadPoolExecutor(1) as pool, connected(database_url) as other:
        other.execute("SET statement_timeout = '30s'")
        run = pool.submit(migrate, database_url, tmp_path)
        until(lambda: run.done() or other.execute(waits).fetchone())
        try:  # It is still in use, and the file's lock goes before ours.
            other.execute("INSERT INTO public.mine VALUES (1)")
            assert not run.done()
        finally:
            in_use.execute("COMMIT")
        assert run.result() == [ONE]


def test_an_index_is_built_while_others_insert(
    former: Connection, database_url: str, fresh_shape: list[tuple[Any, ...]]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with a_snapshot(database_url):
            run = pool.submit(migrate, database_url)
            until(lambda: run.done() or former.execute(BUILDING).fetchone())
            assert VIEW in pending(database_url)
            former.execute(ADD_EVENTS, ["new"])
            assert not run.done()
        assert run.result() == FILES[FILES.index(GUARD) + 1 :]
    assert shape(former) == fresh_shape
    assert count(former, "count(*) FROM public.ses_feedback_events") == 2 * ROWS
    # As the former version stored them, which counts nothing; the nightly recount sees to it.
    assert counted(former) == ROWS
    assert [found.missing for found in DailyCounts(former).mend(DAY, DAY)] == [ROWS]
    assert counted(former) == 2 * ROWS


# What is built beforehand


def test_a_table_with_rows_and_one_without_end_alike(
    former: Connection, database_url: str, fresh_shape: list[tuple[Any, ...]]
) -> None:
    migrate(database_url)
    assert shape(former) == fresh_shape
    assert counted(former) == ROWS


@pytest.mark.parametrize("left", LEFT_BEHIND.values(), ids=LEFT_BEHIND.keys())
def test_what_a_build_left_behind_that_was_cut_short_is_finished(
    former: Connection, database_url: str, fresh_shape: list[tuple[Any, ...]], left: str
) -> None:
    former.execute(left.encode())
    migrate(database_url)
    assert shape(former) == fresh_shape


def test_psql_does_beforehand_what_the_files_say(
    former: Connection, database_url: str, stack: Stack, fresh_shape: list[tuple[Any, ...]]
) -> None:
    built = []
    for name in (VIEW, SHRINK):
        text = (migrations_directory() / "concurrently" / name).read_text()
        psql = [str(stack.postgres.psql), database_url, "-X", "-v", "ON_ERROR_STOP=1"]
        subprocess.run(psql, input=f"{text}\n\\gexec\n", text=True, check=True)
        built.append(former.execute(INDEXES).fetchall())
    migrate(database_url)
    assert former.execute(INDEXES).fetchall() == built[-1]
    assert shape(former) == fresh_shape


@pytest.mark.parametrize("name", [VIEW, SHRINK])
def test_where_all_is_built_nothing_is_to_be_done_beforehand(
    database: Connection, name: str
) -> None:
    database.execute(ADD_EVENTS, ["new"])
    query = (migrations_directory() / "concurrently" / name).read_bytes()
    assert database.execute(query).fetchall() == []


# Cut short


def test_killed_in_each_file_it_is_finished_by_the_next_runner(
    former: Connection, database_url: str, fresh_shape: list[tuple[Any, ...]]
) -> None:
    moments = random.Random(8)  # noqa: S311
    for number in range(FILES.index(GUARD) + 2, len(FILES)):
        command = [sys.executable, "-c", PROGRAM, database_url]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as runner:
            until(partial(applied, former, number))
            time.sleep(moments.uniform(0, 0.05))
            runner.kill()
        assert len(pending(database_url)) <= len(FILES) - number
        assert count(former, "count(*) FROM public.ses_feedback_events") == ROWS
    migrate(database_url)
    assert shape(former) == fresh_shape
    assert counted(former) == ROWS


def test_killed_while_it_builds_an_index_it_builds_it_anew(
    former: Connection, database_url: str, fresh_shape: list[tuple[Any, ...]]
) -> None:
    command = [sys.executable, "-c", PROGRAM, database_url]
    with a_snapshot(database_url):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as runner:
            ((builder,),) = until(lambda: former.execute(BUILDING).fetchall())
            until(lambda: False in [valid for _, valid in former.execute(INDEXES)])
            runner.kill()
        former.execute("SELECT pg_terminate_backend(%s)", [builder])
        until(lambda: not former.execute(BUILDING).fetchall())
    assert False in [valid for _, valid in former.execute(INDEXES)]
    migrate(database_url)
    assert shape(former) == fresh_shape


def test_what_a_killed_runner_left_at_work_in_the_server_is_waited_for(
    former: Connection, database_url: str, fresh_shape: list[tuple[Any, ...]]
) -> None:
    command = [sys.executable, "-c", PROGRAM, database_url]
    with ThreadPoolExecutor(1) as pool:
        with a_snapshot(database_url):
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as runner:
                until(lambda: former.execute(BUILDING).fetchone())
                runner.kill()
            built = former.execute(INDEX).fetchone()
            run = pool.submit(migrate, database_url)
            until(lambda: run.done() or former.execute(WAITING_FOR_BUILD).fetchone())
            assert not run.done()
        assert run.result()
    assert former.execute(INDEX).fetchone() == built  # the one that the killed runner began
    assert shape(former) == fresh_shape


# Through a transaction pooler


def test_runners_through_a_transaction_pooler_do_the_same(
    former: Connection,
    database_url: str,
    fresh_shape: list[tuple[Any, ...]],
    tmp_path: Path,
) -> None:
    (tmp_path / "pgbouncer").mkdir()
    pooler = PgBouncer(tmp_path / "pgbouncer", database_url)
    pooler.start()
    try:
        with ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(migrate, pooler.url(database_url)) for _ in range(2)]
            applied = [name for run in runs for name in run.result()]
    finally:
        pooler.stop()
    assert applied == FILES[FILES.index(GUARD) + 1 :]
    assert shape(former) == fresh_shape
    assert count(former, "count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
