"""The guard: each way a table can come into public ends with row level security on, or not at all.

On every version of PostgreSQL, with Supabase's roles and default privileges.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
import pytest
from psycopg import errors, sql

from dpp_feedback.migrate import migrate
from dpp_feedback_tests.database.servers import VERIFY, as_role, migrate_as_postgres, psql
from dpp_feedback_tests.database.ways_into_public import HOSTILE_NAMES, WAYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback_tests.database.servers import Server

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    """A migrated database with Supabase's roles, for its superuser."""
    url = server.new_database("old")
    migrate_as_postgres(url)
    with connected(url) as db:
        db.execute("GRANT CREATE ON SCHEMA public TO authenticated")
        # As on Supabase, where `postgres` may rename it.
        db.execute(sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(_name(db)))
    return url


@pytest.fixture
def db(url: str) -> Iterator[Connection]:
    """Its superuser, in a transaction that is rolled back."""
    with connected(url) as db, db.transaction(force_rollback=True):
        yield db


def connected(url: str) -> closing[Connection]:
    return closing(psycopg.connect(url, autocommit=True))


def _name(db: Connection) -> sql.Identifier:
    return sql.Identifier(db.info.dbname)


def tables(db: Connection, schema: str = "public") -> dict[str, bool]:
    """Tables that are not ours, and whether row level security is on."""
    query = """
        SELECT relname, relrowsecurity FROM pg_catalog.pg_class
        WHERE relnamespace = to_regnamespace(%s) AND relkind IN ('r', 'p')
          AND relname NOT LIKE 'ses\\_%%'
    """
    return dict(db.execute(query, [schema]).fetchall())


def open_tables(db: Connection) -> int:
    ((count,),) = db.execute("""
        SELECT count(*) FROM pg_catalog.pg_class
        WHERE relnamespace = to_regnamespace('public') AND relkind IN ('r', 'p')
          AND NOT relrowsecurity
    """)
    return int(count)


@pytest.mark.parametrize("role", ["supabase_admin", "postgres"])
def test_a_table_that_comes_into_public_has_row_level_security(
    url: str, role: str, subtests: pytest.Subtests
) -> None:
    with connected(as_role(url, role)) as db:
        for way, statements in WAYS.items():
            with subtests.test(way), db.transaction(force_rollback=True):
                db.execute(statements.encode())
                assert tables(db) or "ours" in way
                assert open_tables(db) == 0


def test_a_plain_server_is_guarded_as_well(server: Server, subtests: pytest.Subtests) -> None:
    url = server.new_database()
    migrate(url)
    with connected(url) as db:
        for way, statements in WAYS.items():
            with subtests.test(way), db.transaction(force_rollback=True):
                db.execute(statements.encode())
                assert tables(db) or "ours" in way
                assert open_tables(db) == 0


def test_a_hostile_name_is_a_name(db: Connection) -> None:
    for name in HOSTILE_NAMES:
        table = sql.Identifier(name)
        schema = sql.Identifier(f"s {name[:20]}")
        with db.transaction(force_rollback=True):
            db.execute(sql.SQL("CREATE TABLE public.{} (a int)").format(table))
            assert tables(db) == {name: True}
        with db.transaction(force_rollback=True):
            # Made elsewhere, so that it is the schema whose tables are looked through.
            db.execute(sql.SQL("CREATE SCHEMA {} CREATE TABLE {} ()").format(schema, table))
            db.execute("ALTER SCHEMA public RENAME TO former")
            db.execute(sql.SQL("ALTER SCHEMA {} RENAME TO public").format(schema))
            assert tables(db) == {name: True}
        assert open_tables(db) == 0


def test_a_session_that_shadows_everything_is_guarded_too(url: str) -> None:
    with connected(url) as db, db.transaction(force_rollback=True):
        db.execute("""
            CREATE SCHEMA hostile AUTHORIZATION authenticated;
            SET LOCAL plpgsql.variable_conflict = use_column;
            SET LOCAL plpgsql.extra_errors = 'all';
            SET LOCAL ROLE authenticated
        """)
        # A name without its schema is looked up among the temporary tables first.
        db.execute("""
            CREATE TEMP TABLE pg_class AS SELECT 1 AS oid;
            CREATE TEMP TABLE pg_depend AS SELECT 1 AS objid;
            CREATE FUNCTION hostile.format(text, regclass) RETURNS text
              LANGUAGE sql AS 'SELECT ''select 1''::text';
            CREATE FUNCTION hostile.never(oid, oid) RETURNS boolean
              LANGUAGE sql AS 'SELECT false';
            CREATE OPERATOR hostile.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = hostile.never);
            CREATE FUNCTION hostile.pg_event_trigger_ddl_commands() RETURNS SETOF int
              LANGUAGE sql AS 'SELECT 1 WHERE false';
            CREATE FUNCTION hostile.to_regnamespace(text) RETURNS regnamespace
              LANGUAGE sql AS 'SELECT NULL::regnamespace';
            SET LOCAL search_path = hostile, pg_temp, public, pg_catalog;
            SET LOCAL row_security = off;
            SET LOCAL check_function_bodies = off;
            SET LOCAL client_min_messages = error;
            CREATE TABLE public.notes (a int);
            INSERT INTO public.notes VALUES (1)
        """)
        assert db.execute("SELECT a FROM public.notes").fetchall() == [(1,)]
        db.execute("RESET ROLE; SET LOCAL search_path = public")
        assert tables(db) == {"notes": True}


def test_the_guard_works_in_a_session_that_replicates(db: Connection) -> None:
    # The scripts that `supabase db dump` writes begin with it.
    db.execute("SET LOCAL session_replication_role = replica")
    db.execute("CREATE TABLE public.t (a int)")
    assert tables(db) == {"t": True}


def test_a_table_that_was_open_before_stays_open_until_it_is_altered_and_verify_names_it(
    url: str,
) -> None:
    with connected(url) as db:
        db.execute("ALTER EVENT TRIGGER dpp_feedback_row_level_security DISABLE")
        db.execute("CREATE TABLE public.older (a int)")
        db.execute("ALTER EVENT TRIGGER dpp_feedback_row_level_security ENABLE ALWAYS")
        try:
            db.execute("CREATE TABLE IF NOT EXISTS public.older (a int)")
            db.execute("CREATE TABLE public.newer ()")
            assert tables(db) == {"older": False, "newer": True}
            line = "- table public.older has no row level security: alter table public.older enable"
            assert line in psql(url, VERIFY).stderr
            db.execute("ALTER TABLE public.older ADD b int")
            assert tables(db) == {"older": True, "newer": True}
        finally:
            db.execute("DROP TABLE public.older, public.newer")


def test_a_table_that_explain_makes_unseen_is_named_by_verify_and_closed_when_it_is_altered(
    url: str,
) -> None:
    with connected(url) as db:
        # PostgreSQL fires no event trigger for EXPLAIN, whatever that executes.
        db.execute("EXPLAIN ANALYZE CREATE TABLE public.explained AS SELECT 1 AS a")
        try:
            assert tables(db) == {"explained": False}
            line = "- table public.explained has no row level security: alter table public.expl"
            assert line in psql(url, VERIFY).stderr
            db.execute("ALTER TABLE public.explained ADD b int")
            assert tables(db) == {"explained": True}
        finally:
            db.execute("DROP TABLE public.explained")


def test_what_is_no_table_of_public_is_left_alone(db: Connection) -> None:
    before = db.execute("SELECT count(*) FROM pg_class WHERE relrowsecurity").fetchone()
    db.execute("""
        CREATE SCHEMA elsewhere CREATE TABLE t ();
        CREATE TEMP TABLE t (a int);
        SELECT 1 AS a INTO TEMP u;
        ALTER TABLE t ADD b int;
        CREATE VIEW public.v AS SELECT 1 AS a;
        ALTER TABLE public.v RENAME TO w;
        CREATE MATERIALIZED VIEW public.m AS SELECT 1 AS a;
        REFRESH MATERIALIZED VIEW public.m;
        CREATE SEQUENCE public.s;
        CREATE TYPE public.pair AS (a int, b int);
        CREATE FOREIGN DATA WRAPPER nothing;
        CREATE SERVER far FOREIGN DATA WRAPPER nothing;
        CREATE FOREIGN TABLE public.f (a int) SERVER far;
        ALTER TABLE public.f ADD b int;
        CREATE SCHEMA supabase_migrations;
        CREATE TABLE supabase_migrations.schema_migrations (version text PRIMARY KEY)
    """)
    assert db.execute("SELECT count(*) FROM pg_class WHERE relrowsecurity").fetchone() == before


def test_a_table_that_its_maker_may_not_close_does_not_come_into_public(url: str) -> None:
    with connected(url) as db, db.transaction(force_rollback=True):
        db.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO dashboard_user").format(_name(db)))
        db.execute('CREATE SCHEMA s AUTHORIZATION dashboard_user CREATE TABLE "Their\'s" ()')
        db.execute('ALTER TABLE s."Their\'s" OWNER TO service_role')
        db.execute("ALTER SCHEMA public RENAME TO former")
        db.execute("SET LOCAL ROLE dashboard_user")
        with pytest.raises(errors.InsufficientPrivilege) as caught, db.transaction():
            db.execute("ALTER SCHEMA s RENAME TO public")
        assert caught.value.diag.message_primary == (
            'row level security cannot be turned on for public."Their\'s", which would come into'
            " public without it: must be owner of table Their's"
        )
        hint = caught.value.diag.message_hint or ""
        assert 'alter table public."Their\'s" enable row level security' in hint
        assert tables(db, "s") == {"Their's": False}
        # What the hint says, by somebody who may.
        db.execute('RESET ROLE; ALTER TABLE s."Their\'s" ENABLE ROW LEVEL SECURITY')
        db.execute("SET LOCAL ROLE dashboard_user; ALTER SCHEMA s RENAME TO public")
        assert tables(db) == {"Their's": True}


def test_a_table_that_is_in_use_does_not_come_into_public(db: Connection) -> None:
    db.execute("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a")
    db.execute("ALTER SCHEMA public RENAME TO former")
    db.execute("DECLARE still CURSOR FOR SELECT * FROM s.t; FETCH still")
    with pytest.raises(errors.ObjectInUse, match="row level security cannot be turned on"):
        db.execute("ALTER SCHEMA s RENAME TO public")


def test_many_at_once_are_all_guarded(url: str) -> None:
    def make(number: int) -> None:
        with connected(as_role(url, "postgres")) as db, db.transaction():
            db.execute(f"CREATE TABLE public.many_{number} (a int)".encode())
            if number % 4 == 3:
                raise psycopg.Rollback

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(24)))
    with connected(url) as db:
        made = tables(db)
        db.execute(("DROP TABLE public." + ", public.".join(made)).encode())
    assert set(made) == {f"many_{number}" for number in range(24) if number % 4 != 3}
    assert all(made.values())


def test_a_table_of_an_extension_is_guarded_and_one_that_is_moved_too(
    url: str, server: Server
) -> None:
    with server.extension(url, "CREATE TABLE stock (a int)") as name, connected(url) as db:
        with db.transaction(force_rollback=True):
            db.execute(f"CREATE EXTENSION {name} SCHEMA public".encode())
            assert tables(db) == {"stock": True}
        with db.transaction(force_rollback=True):
            db.execute(f"CREATE SCHEMA s; CREATE EXTENSION {name} SCHEMA s".encode())
            assert tables(db, "s") == {"stock": False}
            db.execute(f"ALTER EXTENSION {name} SET SCHEMA public".encode())
            assert tables(db) == {"stock": True}
        with db.transaction(force_rollback=True):
            db.execute(f"CREATE EXTENSION {name} SCHEMA public".encode())
            db.execute(
                f"CREATE TABLE public.more (); ALTER EXTENSION {name} ADD TABLE more".encode()
            )
            db.execute(f"ALTER EXTENSION {name} DROP TABLE stock; DROP EXTENSION {name}".encode())
            assert tables(db) == {"stock": True}


def test_a_table_that_logical_replication_fills_is_guarded_and_filled(
    url: str, server: Server
) -> None:
    slot = "guard_copies"
    source = server.new_database("new")
    with connected(source) as origin, connected(url) as db:
        origin.execute("CREATE TABLE public.copied (a int PRIMARY KEY)")
        origin.execute("CREATE PUBLICATION copies FOR TABLE public.copied")
        # Made by hand: one that `create subscription` makes on its own server waits for itself.
        origin.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
        db.execute("CREATE TABLE public.copied (a int PRIMARY KEY)")
        try:
            db.execute(
                sql.SQL(
                    "CREATE SUBSCRIPTION copies CONNECTION {} PUBLICATION copies"
                    " WITH (create_slot = false, slot_name = {}, copy_data = false)"
                ).format(sql.Literal(source), sql.Identifier(slot))
            )
            origin.execute("INSERT INTO public.copied VALUES (7)")
            while not (rows := db.execute("SELECT a FROM public.copied").fetchall()):
                db.execute("SELECT pg_sleep(0.05)")
            assert rows == [(7,)]
            assert tables(db) == {"copied": True}
        finally:
            db.execute("ALTER SUBSCRIPTION copies DISABLE")
            db.execute("ALTER SUBSCRIPTION copies SET (slot_name = NONE)")
            db.execute("DROP SUBSCRIPTION copies")
            db.execute("DROP TABLE public.copied")


def test_an_ordinary_login_is_told_who_has_to_change_the_guard(server: Server) -> None:
    with connected(server.new_database("new")) as db:
        files = [
            (VERIFY.parent.parent / "migrations" / name).read_bytes()
            for name in (
                "20260217_create_ses_feedback_events.sql",
                "20260220_fix_ses_feedback_events_rls_and_guard.sql",
                "20261201_harden_ses_feedback_guard.sql",
            )
        ]
        db.execute(files[0])
        db.execute(files[1])
        db.execute("SET ROLE dashboard_user")
        with pytest.raises(errors.InsufficientPrivilege) as caught:
            db.execute(files[2])
        assert caught.value.diag.message_primary is not None
        assert caught.value.diag.message_primary.startswith(
            "the login dashboard_user may not change the guard for new tables in public"
        )
        assert "Run this file once as a superuser" in (caught.value.diag.message_hint or "")
        db.execute("RESET ROLE; SET LOCAL search_path = public")
        db.execute(files[2])
        db.execute("SET ROLE dashboard_user")
        db.execute(files[2])  # somebody has done it: nothing is left to do
