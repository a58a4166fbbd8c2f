"""Postgres answers, and does not take what it is given: a row, a batch, or all for a while."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack, closing, suppress
from time import sleep
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from dpp_feedback_tests.bounces import bounce
from dpp_feedback_tests.failures import failure
from dpp_feedback_tests.faults.conftest import MAX_RECEIVES, numbers
from dpp_feedback_tests.faults.postgres import INSERT, Front, Naps, front

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dpp_feedback_tests.faults.conftest import Drain, Queues

    Database = psycopg.Connection[tuple[Any, ...]]

MESSAGES = 400
BAD = "bad@example.org"
EVENTS = "public.ses_feedback_events"


@pytest.fixture
def role(queues: Queues, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The product's login: one without a superuser's privileges, as in production."""
    name = f"drainer_{uuid4().hex}"
    database.execute(f"""
        CREATE ROLE {name} LOGIN BYPASSRLS;
        GRANT ALL ON ALL TABLES IN SCHEMA public TO {name};
    """)
    monkeypatch.setenv("DATABASE_URL", queues.database_url.replace("postgres@", f"{name}@"))
    yield name
    database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.mark.parametrize(
    ("damage", "mended", "why"),
    [
        pytest.param(
            f"ALTER TABLE {EVENTS} ADD CONSTRAINT no CHECK (primary_recipient <> '{BAD}')",
            f"ALTER TABLE {EVENTS} DROP CONSTRAINT no",
            "CheckViolation (23514, no)",
            id="a constraint",
        ),
        pytest.param(
            f"""
            DROP VIEW dpp_feedback.ses_feedback_events_masked;
            ALTER TABLE {EVENTS} ALTER configuration_set TYPE varchar(40)
            """,
            f"ALTER TABLE {EVENTS} ALTER configuration_set TYPE text",
            "StringDataRightTruncation (22001)",
            id="a narrow column",
        ),
        pytest.param(
            f"""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.primary_recipient = '{BAD}' THEN RAISE 'no'; END IF; RETURN NEW; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON {EVENTS} FOR EACH ROW EXECUTE FUNCTION refuse();
            """,
            "DROP FUNCTION refuse CASCADE",
            "RaiseException (P0001)",
            id="a trigger",
        ),
        pytest.param(
            f"""
            ALTER TABLE {EVENTS} RENAME TO whole;
            CREATE TABLE {EVENTS} (LIKE whole INCLUDING DEFAULTS, UNIQUE (dedupe_key))
              PARTITION BY RANGE (dedupe_key);
            CREATE TABLE before PARTITION OF {EVENTS} FOR VALUES FROM (MINVALUE) TO ('02');
            CREATE TABLE after PARTITION OF {EVENTS} FOR VALUES FROM ('03') TO (MAXVALUE);
            """,
            f"CREATE TABLE between PARTITION OF {EVENTS} FOR VALUES FROM ('02') TO ('03')",
            "CheckViolation (23514)",
            id="a partition that is missing",
        ),
    ],
)
def test_one_row_refused_among_a_thousand_keeps_only_its_own_message(
    queues: Queues, drain: Drain, database: Database, damage: str, mended: str, why: str
) -> None:
    database.execute(damage.encode())
    body = bounce(1, BAD).replace("0100019c00000001", "0200019c00000001")
    body = body.replace(
        '"source"', '"tags": {"ses:configuration-set": ["' + "c" * 41 + '"]}, "source"'
    )
    queues.publish(999, duplicates=0.02, bodies=[body])
    counted = numbers(drain())
    assert counted["rejected"] == 1
    assert counted["new_rows"] == len(queues.published.keys) - 1
    with closing(psycopg.connect(queues.database_url)) as connection:
        recorded = connection.execute("SELECT reason, detail FROM public.ses_feedback_rejects")
        assert recorded.fetchall() == [("refused_by_database", why)]
    assert queues.account().left == 1
    database.execute(mended.encode())
    numbers(drain())
    queues.assert_nothing_lost()


def test_a_fail_over_to_read_only_in_the_middle_is_waited_for(
    queues: Queues, drain: Drain, way: Front, naps: Naps, database: Database
) -> None:
    queues.publish(MESSAGES)

    def read_only(on: str) -> None:
        name = database.info.dbname
        database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {on}".encode())

    def fail_over() -> None:
        read_only("on")
        _end_ours(database)

    way.before("BEGIN", fail_over, nth=5)
    naps.meanwhile = lambda: read_only("off") if len(naps.seconds) == 3 else None
    counted = numbers(drain())
    assert naps.seconds == [2, 4, 8]
    assert counted["new_rows"] == len(queues.published.keys)
    queues.assert_nothing_lost()


def test_a_database_that_stays_read_only_has_no_further_message_received(
    queues: Queues, drain: Drain, way: Front, naps: Naps, database: Database
) -> None:
    queues.publish(MESSAGES)
    name = database.info.dbname
    database.execute("SET default_transaction_read_only = off")

    def fail_over() -> None:
        database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        _end_ours(database)

    way.before("BEGIN", fail_over, nth=5)
    for _ in range(MAX_RECEIVES + 2):
        assert "is read-only, as a standby is" in failure(drain())
        queues.tick()
    assert set(queues.server.contents(queues.queue).waiting.values()) == {1}
    assert naps.seconds == [2, 4, 8], "of the first run alone"
    database.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
    numbers(drain())
    queues.assert_nothing_lost()


@pytest.mark.parametrize("statement", [INSERT, "INSERT INTO public.ses_feedback_rejects"])
def test_a_connection_cut_for_idling_in_a_transaction_is_no_refusal(
    queues: Queues, drain: Drain, way: Front, naps: Naps, database: Database, statement: str
) -> None:
    """As when this machine stands still: the error means neither the row nor the database."""
    queues.publish(bodies=[bounce(1), "poison"])

    def stand_still() -> None:
        for _ in range(3_000):
            if not database.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'dpp_feedback'"
            ).fetchone():
                return
            sleep(0.01)

    name = database.info.dbname
    database.execute(
        f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '500ms'".encode()
    )
    way.before(statement, stand_still, nth=2)
    counted = numbers(drain())
    assert naps.seconds == [2]
    assert (counted["stored"], counted["rejected"]) == (1, 1)
    found = queues.account()
    assert (found.rows, found.counted, found.left) == (1, 1, 1)


def test_a_statement_timeout_too_short_for_a_batch_halves_it(
    queues: Queues, drain: Drain, naps: Naps, database: Database
) -> None:
    database.execute(f"""
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$;
        CREATE TRIGGER dawdle BEFORE INSERT ON {EVENTS}
        FOR EACH ROW EXECUTE FUNCTION dawdle();
        ALTER DATABASE {database.info.dbname} SET statement_timeout = '1s';
    """)
    queues.publish(MESSAGES)
    counted = numbers(drain())
    assert naps.seconds == []
    assert counted["new_rows"] == len(queues.published.keys)
    queues.assert_nothing_lost()


@pytest.mark.parametrize("limit", ["the server's", "the role's"])
def test_while_all_connections_are_taken_no_message_is_received(
    queues: Queues, drain: Drain, database: Database, role: str, limit: str
) -> None:
    queues.publish(MESSAGES)
    with ExitStack() as taken:
        if limit == "the role's":
            database.execute(f"ALTER ROLE {role} CONNECTION LIMIT 3")
        _take_all(os.environ["DATABASE_URL"], taken)
        for _ in range(MAX_RECEIVES + 1):
            assert "connections for role" in (said := failure(drain())) or "slots" in said
            queues.tick()
    assert set(queues.server.contents(queues.queue).waiting.values()) == {0}
    numbers(drain())
    queues.assert_nothing_lost()


def test_connections_that_are_used_up_in_the_middle_are_waited_for(
    queues: Queues,
    drain: Drain,
    naps: Naps,
    database: Database,
    role: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queues.publish(MESSAGES)
    database.execute(f"ALTER ROLE {role} CONNECTION LIMIT 3")
    with front(os.environ["DATABASE_URL"]) as own, ExitStack() as taken:
        direct = os.environ["DATABASE_URL"]
        monkeypatch.setenv("DATABASE_URL", own.url)
        own.cut_before(INSERT, nth=2)

        def others() -> None:
            if len(naps.seconds) == 1:
                _take_all(direct, taken)
            else:
                taken.close()

        naps.meanwhile = others
        numbers(drain())
    assert naps.seconds == [2, 4]
    queues.assert_nothing_lost()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB, which only root can make."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", folder],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here: that takes root")
    yield folder
    subprocess.run(["/bin/umount", folder], check=True)


@pytest.mark.usefixtures("naps")
def test_a_disk_that_is_full_loses_nothing(
    queues: Queues, drain: Drain, database: Database, small_disk: Path
) -> None:
    space = f"small_{uuid4().hex}"
    (small_disk / "space").mkdir(mode=0o777)
    database.execute(f"CREATE TABLESPACE {space} LOCATION '{small_disk / 'space'}'".encode())
    database.execute(f"ALTER TABLE {EVENTS} SET TABLESPACE {space}".encode())
    queues.publish(MESSAGES)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):  # no space left
        while file.write(bytes(4096)):
            pass
    said = failure(drain())
    assert said.startswith("The database of DATABASE_URL fails: DiskFull (53100)")
    filler.unlink()
    queues.tick()
    numbers(drain())
    queues.assert_nothing_lost()
    database.execute(f"ALTER TABLE {EVENTS} SET TABLESPACE pg_default".encode())
    database.execute(f"DROP TABLESPACE {space}".encode())


def _end_ours(database: Database) -> None:
    """End the product's sessions, as a server that becomes a standby does."""
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'dpp_feedback' AND datname = current_database()"
    )


def _take_all(database_url: str, taken: ExitStack) -> None:
    """Open connections until the server refuses one."""
    with suppress(psycopg.OperationalError):
        while True:
            taken.enter_context(closing(psycopg.connect(database_url)))
