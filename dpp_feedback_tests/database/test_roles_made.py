"""How the migration makes the roles: once for a server, by whoever may, also two at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dpp_feedback.migrate import MigrationError, migrate, migrations_directory
from dpp_feedback_tests.database.guarded import fill
from dpp_feedback_tests.database.logins import login
from dpp_feedback_tests.database.servers import PROGRAMS, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES = "20261129_create_ses_feedback_roles.sql"
NAMES = ["ses_feedback_maintainer", "ses_feedback_reader", "ses_feedback_writer"]


@pytest.fixture(scope="module", params=[15, 18])
def untouched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of its own, whose roles a test may drop: the oldest and the newest version."""
    assert request.param in PROGRAMS
    server = Server(request.param, tmp_path_factory.mktemp("untouched"))
    yield server
    server.stop()


@pytest.fixture
def url(untouched: Server) -> Iterator[str]:
    """An empty database on a server that has none of the roles."""
    url = untouched.new_database()
    yield url
    with closing(psycopg.connect(url, autocommit=True)) as db:
        databases = [name for (name,) in db.execute("SELECT datname FROM pg_database")]
    own = conninfo_to_dict(url)["dbname"]
    with closing(psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True)) as db:
        for name in databases:
            if str(name).startswith("test_"):
                db.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
        assert own in databases
        db.execute(f"DROP ROLE IF EXISTS {', '.join(NAMES)}".encode())


def roles(url: str) -> list[str]:
    with closing(psycopg.connect(url)) as db:
        found = db.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^ses_' ORDER BY 1")
        return [name for (name,) in found]


def access(url: str) -> list[tuple[Any, ...]]:
    """Grants, policies and the view."""
    with closing(psycopg.connect(url)) as db:
        return db.execute("""
            SELECT relname::text, relacl::text, coalesce(pg_get_viewdef(oid), '') FROM pg_class
            WHERE relname ~ '^ses_' OR relnamespace = 'dpp_feedback'::regnamespace
            UNION ALL SELECT policyname, concat(tablename, roles, cmd), concat(qual, with_check)
            FROM pg_policies ORDER BY 1
        """).fetchall()


def test_two_databases_of_a_server_are_migrated_at_the_same_time(
    untouched: Server, url: str
) -> None:
    urls = [url, *(untouched.new_database() for _ in range(3))]
    with ThreadPoolExecutor(len(urls)) as threads:
        applied = list(threads.map(migrate, urls))
    assert all(names == applied[0] and ROLES in names for names in applied)
    assert roles(url) == NAMES
    assert len({str(access(each)) for each in urls}) == 1


def test_running_the_file_again_restores_what_it_made_and_touches_no_row(url: str) -> None:
    migrate(url)
    with closing(psycopg.connect(url, autocommit=True)) as db:
        fill(db)
        made = access(url)
        db.execute("""
            GRANT ALL ON public.ses_feedback_events TO ses_feedback_writer, ses_feedback_reader;
            GRANT ALL ON dpp_feedback.ses_feedback_events_masked TO PUBLIC;
            GRANT ALL ON SCHEMA dpp_feedback TO PUBLIC;
            ALTER VIEW dpp_feedback.ses_feedback_events_masked
              SET (security_barrier = false, security_invoker = true);
            DROP POLICY ses_feedback_events_writer_insert ON public.ses_feedback_events;
            ALTER POLICY ses_feedback_rejects_reader_select ON public.ses_feedback_rejects TO PUBLIC
        """)
        assert access(url) != made
        db.execute((migrations_directory() / ROLES).read_bytes())
        options = db.execute(
            "SELECT reloptions FROM pg_class WHERE relname = 'ses_feedback_events_masked'"
        )
        assert options.fetchone() == (["security_barrier=true"],)
        assert db.execute("SELECT count(*) FROM public.ses_feedback_events").fetchone() == (2,)
    assert access(url) == made


def test_an_owner_who_may_not_create_roles_is_told_what_somebody_else_has_to_run(
    untouched: Server, url: str
) -> None:
    guard = "20260220_fix_ses_feedback_events_rls_and_guard.sql"
    harder = "20261201_harden_ses_feedback_guard.sql"
    with closing(psycopg.connect(url, autocommit=True)) as superuser, login(url) as own:
        owner, database = (conninfo_to_dict(own)[name] for name in ("user", "dbname"))
        superuser.execute(f'ALTER DATABASE "{database}" OWNER TO {owner}'.encode())
        with pytest.raises(MigrationError, match=guard):
            migrate(own)
        superuser.execute((migrations_directory() / guard).read_bytes())

        with pytest.raises(MigrationError, match="may not create the role") as raised:
            migrate(own)
        assert "`create role ses_feedback_writer nologin; " in str(raised.value)
        assert roles(url) == []
        superuser.execute(str(raised.value).split("`")[1].encode())

        with pytest.raises(MigrationError, match=harder):
            migrate(own)
        superuser.execute((migrations_directory() / harder).read_bytes())
        migrate(own)
        of_the_owner = access(url)
        superuser.execute(f"REASSIGN OWNED BY {owner} TO CURRENT_USER".encode())
    another = untouched.new_database()
    migrate(another)
    superuser_s = str(access(another))
    assert roles(url) == NAMES
    assert str(of_the_owner).replace(str(owner), "postgres") == superuser_s
