"""docs/p0_rls_ses_feedback_verify.sql: silent when all is well, and each deviation by its line."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
import pytest
from psycopg import errors, sql

from dpp_feedback.migrate import migrate, migrations_directory
from dpp_feedback_tests.database.deviations import DEVIATIONS
from dpp_feedback_tests.database.servers import VERIFY, migrate_as_postgres, psql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback_tests.database.servers import Server, Supabase

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

# Everything that the migrations make and that can be dropped by itself.
PARTS = """
WITH ours AS (
  SELECT oid, oid::regclass AS relation, relkind, relowner, relacl FROM pg_class
  WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'dpp_feedback'))
    AND relkind IN ('r', 'v')
)
SELECT format('ALTER TABLE %s DROP COLUMN %I CASCADE', relation, attname)
FROM ours JOIN pg_attribute ON attrelid = ours.oid
WHERE relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT format('ALTER TABLE %s ALTER %I DROP DEFAULT', relation, attname)
FROM ours JOIN pg_attribute ON attrelid = ours.oid WHERE atthasdef
UNION ALL
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', relation, conname)
FROM ours JOIN pg_constraint ON conrelid = ours.oid WHERE contype <> 'n'
UNION ALL
SELECT format('DROP INDEX %s', indexrelid::regclass)
FROM ours JOIN pg_index ON indrelid = ours.oid
WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
UNION ALL
SELECT format('DROP POLICY %I ON %s', polname, relation)
FROM ours JOIN pg_policy ON polrelid = ours.oid
UNION ALL
SELECT format('REVOKE %s ON %s FROM %I', privilege_type, relation, grantee::regrole)
FROM ours CROSS JOIN aclexplode(relacl) WHERE grantee <> relowner
UNION ALL
SELECT format('REVOKE %s (%I) ON %s FROM %I', privilege_type, attname, relation, grantee::regrole)
FROM ours JOIN pg_attribute ON attrelid = ours.oid CROSS JOIN aclexplode(attacl)
"""


@pytest.fixture(scope="module", params=[16])
def supabase(servers: dict[int, Server], request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A migrated database with Supabase's roles, for its superuser."""
    url = servers[request.param].new_database("new")
    migrate_as_postgres(url)
    with closing(psycopg.connect(url, autocommit=True)) as db:
        yield db


def deviations(db: Connection) -> list[str]:
    """What verify says, line by line."""
    try:
        db.execute(VERIFY.read_bytes())
    except errors.RaiseException as error:
        lines = (error.diag.message_primary or "").splitlines()
        assert lines[0] == "the tables of SES feedback are not safe:"
        assert all(line.startswith("- ") for line in lines[1:])
        return [line.removeprefix("- ") for line in lines[1:]]
    return []


@pytest.mark.parametrize("kind", [None, "old", "new"])
def test_psql_exits_with_0_after_the_migrations_and_not_before(
    server: Server, kind: Supabase
) -> None:
    url = server.new_database(kind)
    before = psql(url, VERIFY)
    assert before.returncode != 0
    assert "- table public.ses_feedback_events is missing: run the files" in before.stderr
    assert "- guard: event trigger dpp_feedback_row_level_security is missing" in before.stderr
    if kind:
        migrate_as_postgres(url)
    else:
        migrate(url)
    after = psql(url, VERIFY)
    assert (after.returncode, after.stderr) == (0, "")
    assert "the tables of SES feedback are as the migrations make them" in after.stdout


@pytest.mark.parametrize("role", ["anon", "authenticator", "service_role", "ses_feedback_writer"])
def test_a_login_without_rights_sees_what_the_owner_sees(supabase: Connection, role: str) -> None:
    with supabase.transaction(force_rollback=True):
        supabase.execute(f"SET LOCAL ROLE {role}".encode())
        assert deviations(supabase) == []
    with supabase.transaction(force_rollback=True):
        supabase.execute("GRANT SELECT ON public.ses_feedback_events TO anon")
        supabase.execute(f"SET LOCAL ROLE {role}".encode())
        with supabase.transaction(force_rollback=True):
            assert [line.split(":")[0] for line in deviations(supabase)] == [
                "anon holds SELECT on public.ses_feedback_events"
            ]


@pytest.mark.parametrize("supabase", [15, 18], indirect=True)
def test_verify_names_each_deviation_and_nothing_that_is_well(
    supabase: Connection, subtests: pytest.Subtests
) -> None:
    assert deviations(supabase) == []
    for line, statements in DEVIATIONS.items():
        with subtests.test(line), supabase.transaction(force_rollback=True):
            supabase.execute(statements.encode())
            with supabase.transaction(force_rollback=True):
                found = deviations(supabase)
            assert [each for each in found if each.startswith(line)], found
    assert deviations(supabase) == []


def test_nothing_that_the_migrations_make_can_be_taken_away_unseen(supabase: Connection) -> None:
    statements = [statement for (statement,) in supabase.execute(PARTS)]
    assert len(statements) > 200
    unseen = []
    for statement in statements:
        with supabase.transaction(force_rollback=True):
            supabase.execute(statement.encode())
            with supabase.transaction(force_rollback=True):
                if not deviations(supabase):
                    unseen.append(statement)
    assert unseen == []


def test_all_deviations_are_named_at_once_and_in_order(supabase: Connection) -> None:
    with supabase.transaction(force_rollback=True):
        supabase.execute("DROP EVENT TRIGGER dpp_feedback_row_level_security")
        supabase.execute("ALTER TABLE public.ses_feedback_events NO FORCE ROW LEVEL SECURITY")
        supabase.execute("GRANT SELECT, DELETE ON public.ses_feedback_events TO anon")
        with supabase.transaction(force_rollback=True):
            found = deviations(supabase)
    assert found == [
        (
            "row level security is not forced on public.ses_feedback_events:"
            " alter table public.ses_feedback_events force row level security"
        ),
        (
            "anon holds DELETE on public.ses_feedback_events:"
            " revoke DELETE on public.ses_feedback_events from anon"
        ),
        (
            "anon holds SELECT on public.ses_feedback_events:"
            " revoke SELECT on public.ses_feedback_events from anon"
        ),
        (
            "guard: event trigger dpp_feedback_row_level_security is missing:"
            " run the files of migrations/ again, in order"
        ),
    ]


def test_what_a_line_says_to_do_makes_it_go_away(supabase: Connection) -> None:
    for damage in (
        "GRANT SELECT (source) ON public.ses_feedback_events TO PUBLIC",
        "GRANT USAGE ON SCHEMA dpp_feedback TO anon",
        'CREATE POLICY "My ""own" ON public.ses_feedback_events USING (true)',
        "ALTER TABLE public.ses_feedback_events SET UNLOGGED",
        "ALTER ROLE ses_feedback_reader LOGIN",
        "ALTER PUBLICATION supabase_realtime ADD TABLE public.ses_feedback_events",
        "CREATE RULE r AS ON DELETE TO public.ses_feedback_events DO INSTEAD NOTHING",
        "CREATE TABLE public.child () INHERITS (public.ses_feedback_events)",
        (
            "CREATE VIEW public.v AS SELECT id FROM public.ses_feedback_events;"
            "GRANT SELECT ON public.v TO anon"
        ),
        "ALTER DEFAULT PRIVILEGES IN SCHEMA dpp_feedback GRANT USAGE ON SEQUENCES TO PUBLIC",
    ):
        with supabase.transaction(force_rollback=True):
            supabase.execute(damage.encode())
            with supabase.transaction(force_rollback=True):
                (line,) = deviations(supabase)
            supabase.execute(line.rpartition(": ")[2].encode())
            assert deviations(supabase) == []


def test_running_the_migrations_again_mends_what_the_lines_say_it_does(
    supabase: Connection,
) -> None:
    for damage in (
        "DROP POLICY ses_feedback_events_writer_insert ON public.ses_feedback_events",
        "ALTER POLICY ses_feedback_rejects_owner ON public.ses_feedback_rejects TO PUBLIC",
        "REVOKE SELECT ON dpp_feedback.ses_feedback_events_masked FROM ses_feedback_reader",
        "REVOKE INSERT ON public.ses_feedback_events FROM service_role",
        "DROP INDEX public.ses_feedback_events_recipient_idx",
        "DROP VIEW public.ses_suppressed_recipients",
        "DROP VIEW dpp_feedback.ses_feedback_events_masked",
        "ALTER VIEW public.ses_suppressed_recipients RESET (security_invoker)",
        "DROP EVENT TRIGGER dpp_feedback_row_level_security",
        "ALTER FUNCTION dpp_feedback.enable_row_level_security() SECURITY DEFINER",
        "DROP TABLE public.ses_suppressed_hashes",
    ):
        with supabase.transaction(force_rollback=True):
            supabase.execute(damage.encode())
            with supabase.transaction(force_rollback=True):
                found = deviations(supabase)
            assert found
            assert all(": run the files of migrations/ again, in order" in line for line in found)
            for file in sorted(migrations_directory().glob("*.sql")):
                supabase.execute(file.read_bytes())
            assert deviations(supabase) == []


def test_an_index_that_a_team_added_and_its_numbers_for_transient_bounces_are_no_deviations(
    supabase: Connection,
) -> None:
    ((view,),) = supabase.execute(
        "SELECT pg_get_viewdef('public.ses_suppressed_recipients'::regclass)"
    )
    ours = view.replace("::integer, 5)", "::integer, 3)").replace("::integer, 14)", "::integer, 7)")
    assert ours != view
    with supabase.transaction(force_rollback=True):
        supabase.execute("CREATE INDEX mine ON public.ses_feedback_events (source)")
        statement = "CREATE OR REPLACE VIEW public.ses_suppressed_recipients"
        supabase.execute(f"{statement} WITH (security_invoker = true) AS {ours}".encode())
        assert deviations(supabase) == []


def test_verify_runs_in_a_read_only_transaction_and_leaves_the_session_as_it_was(
    supabase: Connection,
) -> None:
    before = "SELECT current_setting('search_path'), count(*) FROM pg_class"
    with supabase.transaction():
        supabase.execute("SET TRANSACTION READ ONLY")
        supabase.execute("SET LOCAL search_path = extensions, public")
        expected = supabase.execute(before).fetchone()
        assert deviations(supabase) == []
        assert supabase.execute(before).fetchone() == expected


def test_a_hostile_search_path_changes_nothing(supabase: Connection) -> None:
    with supabase.transaction(force_rollback=True):
        supabase.execute("""
            CREATE SCHEMA hostile;
            CREATE FUNCTION hostile.array_to_string(text[], text) RETURNS text
              LANGUAGE sql AS 'SELECT NULL::text';
            CREATE FUNCTION hostile.eq(text, text) RETURNS boolean
              LANGUAGE sql AS 'SELECT true';
            CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.eq);
            CREATE VIEW hostile.pg_roles AS SELECT NULL::name AS rolname WHERE false;
            SET LOCAL search_path = hostile, pg_catalog;
            GRANT SELECT ON public.ses_feedback_events TO anon
        """)
        with supabase.transaction(force_rollback=True):
            assert len(deviations(supabase)) == 1


def test_verify_sees_a_schema_that_the_api_serves_by_the_database_s_setting(
    supabase: Connection,
) -> None:
    with supabase.transaction(force_rollback=True):
        database = sql.Identifier(supabase.info.dbname)
        for schemas, served in (("api, dpp_feedback", True), ("public, my_dpp_feedback", False)):
            supabase.execute(
                sql.SQL("ALTER DATABASE {} SET pgrst.db_schemas = {}").format(database, schemas)
            )
            with supabase.transaction(force_rollback=True):
                lines = [line.partition(":")[0] for line in deviations(supabase)]
            assert lines == ["the API serves schema dpp_feedback, as the database says"] * served


@pytest.mark.parametrize("supabase", [17, 18], indirect=True)
def test_verify_sees_that_the_setting_event_triggers_puts_the_guard_to_sleep(
    supabase: Connection,
) -> None:
    database = sql.Identifier(supabase.info.dbname)
    for statement in (
        sql.SQL("SET LOCAL event_triggers = off"),
        sql.SQL("ALTER DATABASE {} SET event_triggers = off").format(database),
        sql.SQL("ALTER ROLE postgres SET event_triggers = false"),
    ):
        with supabase.transaction(force_rollback=True):
            supabase.execute(statement)
            with supabase.transaction(force_rollback=True):
                (line,) = deviations(supabase)
            assert line.startswith("guard: it is put to sleep by the setting event_triggers")
