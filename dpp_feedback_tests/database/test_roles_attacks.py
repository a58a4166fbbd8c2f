"""Ways around grants and row level security, each tried with a real login on every server.

The database holds one address, `ADDRESS`; it must come out in no row, error, notice or statistic.
"""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors, sql

from dpp_feedback_tests.database.guarded import (
    ACTIONS,
    ADDRESS,
    COUNTS,
    DENIED,
    EVENTS,
    INSERTS,
    MASKED,
    REJECTS,
    SUPPRESSED,
    TABLES,
    Connection,
    attempted,
    fill,
    tried,
)
from dpp_feedback_tests.database.logins import MAINTAINER, READER, WRITER, login
from dpp_feedback_tests.database.servers import as_role, migrate_as_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dpp_feedback_tests.database.servers import Server

LOCAL_PART = ADDRESS.partition("@")[0]
CLAIMS = """SET LOCAL request.jwt.claims = '{"role": "authenticated", "sub": "1"}'"""
_VALUES = INSERTS[EVENTS].replace("gen_random_uuid()::text, 'Perm", "'the same', 'Perm")
NAMES = {
    "events": EVENTS,
    "counts": COUNTS,
    "actions": ACTIONS,
    "rejects": REJECTS,
    "suppressed": SUPPRESSED,
    "masked": MASKED,
    "address": ADDRESS,
    "local_part": LOCAL_PART,
    "an_event": INSERTS[EVENTS],
    "a_reject": INSERTS[REJECTS],
    "the_same_event_twice": f"{_VALUES}, {_VALUES.partition('VALUES')[2]}",
    "an_event_that_is_refused": re.sub("'{.*}'", "'[]'", INSERTS[EVENTS]),
}
# What may read no address.
WITHOUT_ADDRESSES = ["anon", "authenticated", "nobody", WRITER, READER]


@pytest.fixture(scope="module")
def project(server: Server) -> str:
    """An older Supabase project, migrated and filled: the superuser's URL."""
    url = server.new_database("old")
    migrate_as_postgres(url)
    with closing(psycopg.connect(url, autocommit=True)) as db:
        fill(db)
    return url


def asked(db: Connection, *statements: str) -> str | int:
    """As `tried`, with NAMES filled in."""
    return tried(db, *(statement.format_map(NAMES) for statement in statements))


def rows(db: Connection, statement: str) -> Sequence[tuple[object, ...]]:
    return attempted(db, statement.format_map(NAMES))[1]


@contextmanager
def acting_as(url: str, role: str) -> Iterator[Connection]:
    """A connection of a login with this role and a schema of its own, which is its search path."""
    with login(url, *([] if role == "nobody" else [role])) as own:
        name = psycopg.conninfo.conninfo_to_dict(own)["user"]
        with closing(psycopg.connect(url, autocommit=True)) as superuser:
            superuser.execute(
                sql.SQL("CREATE SCHEMA {0} AUTHORIZATION {0}").format(sql.Identifier(str(name)))
            )
        with closing(psycopg.connect(own, autocommit=True)) as db:
            yield db


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize(
    "query",
    [
        "SELECT coalesce(json_agg(r), '[]') FROM (SELECT * FROM {events}) AS r",
        "SELECT coalesce(json_agg(r), '[]') FROM (SELECT * FROM {suppressed}) AS r",
        "SELECT coalesce(json_agg(r), '[]') FROM (SELECT * FROM {masked}) AS r",
        "WITH r AS (DELETE FROM {events} RETURNING *) SELECT json_agg(r) FROM r",
        "WITH r AS (INSERT INTO {events} {an_event} RETURNING 1) SELECT count(*) FROM r",
        "SELECT * FROM dpp_feedback.enable_row_level_security()",
        "TABLE {rejects}",
        "EXPLAIN SELECT FROM {events} WHERE primary_recipient = 'x'",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM {suppressed}",
        "COPY {events} TO STDOUT",
        "COPY (SELECT primary_recipient FROM {events}) TO STDOUT",
        "LOCK TABLE {events} IN ACCESS SHARE MODE",
        "SELECT FROM {events} FOR UPDATE",
    ],
)
def test_the_api_s_roles_are_refused_whatever_they_ask(project: str, role: str, query: str) -> None:
    with closing(psycopg.connect(as_role(project, "authenticator"), autocommit=True)) as db:
        request = (f"SET LOCAL ROLE {role}", CLAIMS)
        assert attempted(db, *request, "SELECT current_user")[1] == [(role,)]
        assert tried(db, *request, query.format_map(NAMES)) == DENIED


_BY_A_WRITER = [
    "SELECT dedupe_key FROM {events} WHERE primary_recipient = '{address}'",
    "SELECT dedupe_key FROM {events} ORDER BY primary_recipient",
    "SELECT e FROM {events} AS e",
    "SELECT to_jsonb(e) FROM {events} AS e",
    "SELECT count(primary_recipient) FROM {events}",
    "EXPLAIN SELECT dedupe_key FROM {events} WHERE primary_recipient = '{address}'",
    "INSERT INTO {events} {an_event} RETURNING *",
    "INSERT INTO {events} {an_event} RETURNING primary_recipient",
    """INSERT INTO {events} AS e {an_event}
         ON CONFLICT (dedupe_key) DO UPDATE SET source = e.primary_recipient""",
    """INSERT INTO {rejects} {a_reject} ON CONFLICT (message_id)
         DO UPDATE SET detail = (SELECT min(primary_recipient) FROM {events})""",
    "INSERT INTO {events} SELECT * FROM {events}",
    "SELECT FROM {events} FOR SHARE",
    "COPY {events} TO STDOUT",
    "COPY {events} (primary_recipient) TO STDOUT",
    "DELETE FROM {events} WHERE dedupe_key = 'x'",
    "TABLE {suppressed}",
    "TABLE {masked}",
]


def test_a_writer_learns_no_address_from_the_events_it_adds_to(project: str) -> None:
    with acting_as(project, WRITER) as db:
        assert asked(db, "SELECT dedupe_key FROM {events}") == 2
        for statement in _BY_A_WRITER:
            assert asked(db, statement) == DENIED, statement


def test_a_writer_forges_no_record_and_moves_no_count(project: str) -> None:
    with acting_as(project, WRITER) as db:
        for statement in (
            "UPDATE {actions} SET actor = 'somebody else'",
            "UPDATE {actions} SET database_user = 'somebody else'",
            "UPDATE {actions} SET started_at = now()",
            "INSERT INTO {actions} (action, database_user) VALUES ('discard', 'somebody else')",
            "SELECT actor FROM {actions}",
            "UPDATE {counts} SET day = day + 1",
            "UPDATE {counts} SET recipient_domain = ''",
            "DELETE FROM {counts}",
        ):
            assert asked(db, statement) == DENIED, statement


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        # the same key again; a value that a constraint refuses; a value that is no such type
        (WRITER, "INSERT INTO {events} {the_same_event_twice}"),
        (WRITER, "INSERT INTO {events} {an_event_that_is_refused}"),
        (WRITER, "INSERT INTO {counts} SELECT * FROM {counts}"),
        (WRITER, "SELECT dedupe_key::int FROM {events}"),
        (READER, "SELECT 1 / (position('{local_part}' in primary_recipient)) FROM {masked}"),
        (READER, "SELECT primary_recipient::int FROM {masked}"),
        (READER, "SELECT notification_type::int FROM {events}"),
        (MAINTAINER, "UPDATE {events} SET dedupe_key = ''"),
        (MAINTAINER, "UPDATE {events} SET type_data = '[]'"),
    ],
)
def test_errors_say_nothing_of_rows(project: str, role: str, statement: str) -> None:
    with acting_as(project, role) as db, pytest.raises(psycopg.Error) as raised:
        asked(db, statement)
    assert not isinstance(raised.value, errors.InsufficientPrivilege)
    diagnosis = raised.value.diag
    fields = (diagnosis.message_primary, diagnosis.message_detail, diagnosis.message_hint)
    said = " ".join(field or "" for field in (*fields, diagnosis.context))
    assert LOCAL_PART not in said


@pytest.mark.parametrize("role", WITHOUT_ADDRESSES)
def test_the_catalogs_show_no_address(project: str, role: str) -> None:
    """ANALYZE has put the address into pg_statistic: most common values of several columns."""
    with closing(psycopg.connect(project)) as superuser:
        kept = superuser.execute(
            "SELECT count(*) FROM pg_stats AS s WHERE s::text ~ %s", [LOCAL_PART]
        )
        assert kept.fetchone() != (0,)
    with acting_as(project, role) as db:
        for view in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
            told = db.execute(
                sql.SQL("SELECT count(*) FROM {} AS s WHERE s::text ~ %s").format(
                    sql.Identifier(view)
                ),
                [LOCAL_PART],
            )
            assert told.fetchone() == (0,), view
        assert asked(db, "SELECT stavalues1 FROM pg_statistic") == DENIED
        assert asked(db, "SELECT pg_read_file('postgresql.conf')") == DENIED
        assert asked(db, "COPY (SELECT 1) TO PROGRAM 'true'") == DENIED
        definitions = rows(db, "SELECT pg_get_viewdef('{suppressed}'::regclass)")
        assert LOCAL_PART not in str(definitions)


@pytest.mark.parametrize("role", ["anon", "authenticated", "nobody"])
def test_information_schema_shows_outsiders_no_column_of_ours(project: str, role: str) -> None:
    with acting_as(project, role) as db:
        shown = attempted(
            db,
            "SELECT table_name FROM information_schema.columns WHERE table_name ~ '^ses_'"
            " UNION SELECT table_name FROM information_schema.role_table_grants"
            " WHERE table_name ~ '^ses_'",
        )
        assert shown == (0, [])


@pytest.mark.parametrize("role", ["anon", "authenticated", "nobody", WRITER, READER, MAINTAINER])
def test_nobody_climbs_by_roles_or_passes_rights_on(project: str, role: str) -> None:
    with closing(psycopg.connect(project)) as superuser:
        before = _access(superuser)
    with acting_as(project, role) as db:
        others = {WRITER, READER, MAINTAINER, "service_role", "postgres", "supabase_admin"} - {role}
        for other in sorted(others):
            assert asked(db, f"SET ROLE {other}") == DENIED
            assert asked(db, f"SET SESSION AUTHORIZATION {other}") == DENIED
            assert asked(db, f"GRANT {other} TO CURRENT_USER") == DENIED
        for act in (
            f"GRANT {WRITER} TO anon",
            "ALTER ROLE CURRENT_USER BYPASSRLS",
            "CREATE ROLE mine",
            "ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT ALL ON TABLES TO anon",
        ):
            assert tried(db, act) == DENIED, act
        # To who holds something there, these are worth a warning only.
        tried(db, "GRANT USAGE ON SCHEMA dpp_feedback TO anon")
        for table in TABLES:
            tried(db, f"GRANT SELECT ON {table} TO PUBLIC")
    with closing(psycopg.connect(project)) as superuser:
        assert _access(superuser) == before


def _access(db: Connection) -> list[tuple[object, ...]]:
    return db.execute(
        "SELECT relname, relacl::text, relowner FROM pg_class WHERE relname ~ '^ses_'"
        " UNION ALL SELECT nspname, nspacl::text, nspowner FROM pg_namespace"
        " WHERE nspname = 'dpp_feedback' ORDER BY 1"
    ).fetchall()


@pytest.mark.parametrize("role", WITHOUT_ADDRESSES)
def test_objects_of_one_s_own_open_nothing(project: str, role: str) -> None:
    with acting_as(project, role) as db:
        assert (
            asked(
                db,
                "CREATE VIEW mine AS SELECT primary_recipient FROM {events}",
                "TABLE mine",
            )
            == DENIED
        )
        assert (
            asked(
                db,
                "CREATE FUNCTION mine() RETURNS SETOF text SECURITY DEFINER LANGUAGE sql"
                " AS $$ SELECT primary_recipient FROM {events} $$",
                "SELECT mine()",
            )
            == DENIED
        )
        for creation in (
            "CREATE TABLE mine () INHERITS ({events})",
            "CREATE TABLE mine (key text REFERENCES {events} (dedupe_key))",
            "CREATE MATERIALIZED VIEW mine AS SELECT primary_recipient FROM {events}",
            "CREATE STATISTICS mine ON primary_recipient, source FROM {events}",
            "SELECT primary_recipient INTO mine FROM {events}",
        ):
            assert asked(db, creation) == DENIED, creation


def test_a_function_that_tells_what_it_sees_sees_masked_addresses_alone(project: str) -> None:
    """Nothing else ever reaches a condition, however cheap the function says it is."""
    told: list[str] = []
    filtering = "SELECT * FROM {masked} AS m WHERE condition"
    with acting_as(project, READER) as db:
        db.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        db.execute("""
            CREATE FUNCTION tell(anyelement) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql
              AS $$ BEGIN RAISE NOTICE 'it is %', $1; RETURN true; END $$;
            CREATE FUNCTION same(text, text) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql
              AS $$ BEGIN RAISE NOTICE 'it is % and %', $1, $2; RETURN true; END $$;
            CREATE OPERATOR <<<< (FUNCTION = same, LEFTARG = text, RIGHTARG = text);
        """)
        for condition in (
            "tell(m)",
            "tell(primary_recipient)",
            "tell(source)",
            "primary_recipient <<<< source",
        ):
            assert asked(db, filtering.replace("condition", condition)) == 2
        assert asked(db, "SELECT FROM {events} WHERE tell(event_at)") == 2
        seen = rows(db, "SELECT primary_recipient, source FROM {masked}")
    assert len(told) == 10
    assert "j***@victim.example" in told[0]
    assert LOCAL_PART not in str(told)
    assert set(seen) == {("j***@victim.example", "b***@shop.example")}


def test_functions_in_a_schema_before_ours_do_not_change_what_the_view_does(project: str) -> None:
    with acting_as(project, READER) as db:
        db.execute("""
            CREATE FUNCTION split_part(text, text, integer) RETURNS text LANGUAGE sql
              AS 'SELECT $1';
            CREATE FUNCTION concat(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT $1'
        """)
        db.execute('SET search_path = "$user", public, pg_catalog')
        (row,) = set(rows(db, "SELECT primary_recipient FROM {masked}"))
    assert row == ("j***@victim.example",)
