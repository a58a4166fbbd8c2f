"""pg_dump and pg_restore: into an empty server, a newer one, and one whose guard is at work."""

from __future__ import annotations

import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from dpp_feedback.migrate import MigrationError, migrate, migrations_directory
from dpp_feedback_tests.database.servers import (
    CLIENTS,
    PROGRAMS,
    VERIFY,
    as_role,
    migrate_as_postgres,
    psql,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dpp_feedback_tests.database.servers import Server, Supabase

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

ADD_EVENT = """
INSERT INTO public.ses_feedback_events
  (notification_type, primary_recipient, ses_message_id, event_at, dedupe_key)
VALUES ('Bounce', 'bounce@simulator.amazonses.com', '0100-m', '2026-02-17T08:00:00Z', '0100-m/b')
"""
KEYS = "SELECT dedupe_key FROM public.ses_feedback_events"


def connected(url: str) -> closing[Connection]:
    return closing(psycopg.connect(url, autocommit=True))


def run(version: int, program: str, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program that belongs to a server, or the newest where it brought none."""
    own = PROGRAMS[version] / program
    command = [own if own.exists() else CLIENTS / program, *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def done(outcome: subprocess.CompletedProcess[str]) -> str:
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def copy_roles(source: str, target: str, version: int, folder: Path) -> None:
    """What a dump of one database leaves out; roles that are there already are not made."""
    server = conninfo_to_dict(source)
    parts = ["-h", str(server["host"]), "-p", str(server["port"]), "-U", str(server["user"])]
    roles = done(run(version, "pg_dumpall", *parts, "--roles-only", "--no-role-passwords"))
    (folder / "roles.sql").write_text(roles)
    psql(target, folder / "roles.sql", "-v", "ON_ERROR_STOP=0")


def verified(url: str) -> str:
    outcome = psql(url, VERIFY)
    return outcome.stderr if outcome.returncode else ""


def open_tables(db: Connection) -> list[str]:
    query = """
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
          AND relkind IN ('r', 'p') AND NOT relrowsecurity
    """
    return [name for (name,) in db.execute(query)]


@pytest.mark.parametrize(
    ("version", "newer", "kind"),
    [(15, 15, None), (16, 17, None), (15, 18, "new"), (17, 18, "new"), (18, 18, "new")],
)
def test_a_dump_that_is_restored_into_an_empty_server_passes_verify(
    servers: dict[int, Server],
    version: int,
    newer: int,
    kind: Supabase,
    tmp_path: Path,
) -> None:
    source, target = servers[version].new_database(kind), servers[newer].new_database(kind)
    if kind:
        migrate_as_postgres(source)
        with connected(target) as db:  # the dump brings them
            for schema in ("auth", "extensions", "graphql_public"):
                db.execute(f"DROP SCHEMA {schema} CASCADE".encode())
            db.execute("DROP PUBLICATION supabase_realtime")
    else:
        migrate(source)
    with connected(source) as db:
        db.execute(ADD_EVENT)
        db.execute("CREATE TABLE public.other AS SELECT generate_series(1, 3) AS a")
    dump = tmp_path / "dump"
    # The server's own: a newer one may have come out before the server's minor release, and writes
    # what 15.20 keeps in pg_attribute (pg_attver) as an option, which no server takes.
    done(run(version, "pg_dump", "-d", source, "-Fc", "-f", dump))
    copy_roles(source, target, newer, tmp_path)
    done(run(newer, "pg_restore", "--exit-on-error", "-d", target, dump))
    assert verified(target) == ""
    assert migrate(target) == []
    with connected(target) as db:
        assert db.execute(KEYS).fetchall() == [("0100-m/b",)]
        assert db.execute("SELECT sum(a) FROM public.other").fetchone() == (6,)
        db.execute("CREATE TABLE public.later ()")
        assert open_tables(db) == []


def test_a_dump_is_restored_over_a_database_whose_guard_is_at_work(
    server: Server, tmp_path: Path
) -> None:
    source, target = server.new_database("new"), server.new_database("old")
    migrate_as_postgres(source)
    migrate_as_postgres(target)
    with connected(source) as db:
        db.execute(ADD_EVENT)
        # As a dump of somebody who had no guard: it does not say that row level security is on.
        db.execute("CREATE TABLE public.other AS SELECT generate_series(1, 3) AS a")
        db.execute("ALTER EVENT TRIGGER dpp_feedback_row_level_security DISABLE")
        db.execute("ALTER TABLE public.other DISABLE ROW LEVEL SECURITY")
        db.execute("ALTER EVENT TRIGGER dpp_feedback_row_level_security ENABLE ALWAYS")
    version, dump = server.version, tmp_path / "dump"
    done(run(version, "pg_dump", "-d", source, "-Fc", "-f", dump))

    # Beside what is there: another's table alone, by `postgres`, which is no superuser.
    restore = ["pg_restore", "--exit-on-error", "-d"]
    done(run(version, *restore, as_role(target, "postgres"), "--no-owner", "-t", "other", dump))
    with connected(target) as db:
        assert open_tables(db) == []
        assert db.execute("SELECT sum(a) FROM public.other").fetchone() == (6,)
        db.execute("DROP TABLE public.other")

    # Rows alone, into tables that have their policies.
    ours = [*restore, target, "--data-only", "-t", "ses_feedback_events"]
    done(run(version, *ours, dump))
    with connected(target) as db:
        assert db.execute(KEYS).fetchall() == [("0100-m/b",)]
    assert verified(target) == ""

    # In place of all. pg_dump does not write down that a role has nothing, so that the default
    # privileges of the target count: verify tells, and the migrations mend it.
    done(run(version, *restore, target, "--clean", "--if-exists", dump))
    assert "- anon holds SELECT on public.ses_feedback_events" in verified(target)
    for file in sorted(migrations_directory().glob("*.sql")):
        assert psql(target, file).returncode == 0
    with connected(target) as db:
        db.execute("REVOKE ALL ON dpp_feedback.migrations FROM anon, authenticated, service_role")
        db.execute("ALTER TABLE public.other ENABLE ROW LEVEL SECURITY")
    assert verified(target) == ""


def test_an_owner_without_bypassrls_dumps_and_restores_tables_and_rows_apart(
    server: Server, tmp_path: Path
) -> None:
    url = server.new_database()
    owner_url = as_role(url, "ordinary")
    with connected(url) as db:
        db.execute("DROP ROLE IF EXISTS ordinary")
        db.execute("CREATE ROLE ordinary LOGIN")
        db.execute(f"ALTER DATABASE {db.info.dbname} OWNER TO ordinary".encode())
        with pytest.raises(MigrationError, match="may not set up the guard"):
            migrate(owner_url)
        migrate(url)
        db.execute(ADD_EVENT)
        events = ["-d", owner_url, "-t", "public.ses_feedback_events"]
        refused = run(server.version, "pg_dump", *events)
        assert refused.returncode != 0
        assert "query would be affected by row-level security policy" in refused.stderr

        # Row level security is forced as soon as the table is made, its policies come last, and
        # COPY does not obey policies: so first all of the table, and then INSERT statements.
        made, rows = tmp_path / "table.sql", tmp_path / "rows.sql"
        done(run(server.version, "pg_dump", *events, "--schema-only", "-f", made))
        apart: list[str | Path] = ["--data-only", "--inserts", "--enable-row-security", "-f", rows]
        done(run(server.version, "pg_dump", *events, *apart))
        db.execute("DROP TABLE public.ses_feedback_events CASCADE")
        assert psql(owner_url, made).returncode == 0
        assert psql(owner_url, rows).returncode == 0
        assert db.execute(KEYS).fetchall() == [("0100-m/b",)]
        db.execute("REASSIGN OWNED BY ordinary TO postgres")
        db.execute("DROP OWNED BY ordinary")
        db.execute("DROP ROLE ordinary")
