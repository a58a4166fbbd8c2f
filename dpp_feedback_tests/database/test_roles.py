"""Who may do what: every role, table, view, verb and column, by trying, on every server."""

from __future__ import annotations

from contextlib import closing, contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from dpp_feedback.migrate import migrate
from dpp_feedback_tests.database.guarded import (
    ACTIONS,
    COUNTS,
    DENIED,
    EVENTS,
    HASHES,
    INSERTS,
    LEDGER,
    MASKED,
    REJECTS,
    REMOVALS,
    SUPPRESSED,
    TABLES,
    TOTALS,
    Connection,
    attempted,
    fill,
    tried,
)
from dpp_feedback_tests.database.logins import MAINTAINER, READER, WRITER, login
from dpp_feedback_tests.database.servers import as_role, migrate_as_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback_tests.database.servers import Server, Supabase

VIEWS = [SUPPRESSED, MASKED]
OBJECTS = [*TABLES, *VIEWS, LEDGER]
READ_ADD, READ_ADD_CHANGE = {"select", "insert"}, {"select", "insert", "update"}
COUNTING = {COUNTS: READ_ADD_CHANGE, TOTALS: READ_ADD_CHANGE}
# What a role may do to whole rows. All that is not here is denied.
MAY: dict[str, dict[str, set[str]]] = {
    WRITER: {
        EVENTS: {"insert"},
        **COUNTING,
        REJECTS: READ_ADD_CHANGE,
        ACTIONS: {"insert", "update"},
    },
    READER: {name: {"select"} for name in (COUNTS, TOTALS, ACTIONS, REMOVALS, MASKED, LEDGER)},
    MAINTAINER: {
        EVENTS: {"select", "update", "delete"},
        COUNTS: {"select", "insert", "update", "delete"},
        TOTALS: {"select", "insert", "update", "delete"},
        REJECTS: {"select", "update", "delete"},
        ACTIONS: {"select", "update", "delete"},
        REMOVALS: READ_ADD_CHANGE,
        HASHES: {"select", "insert", "delete"},
        SUPPRESSED: {"select"},
    },
    "service_role": {
        EVENTS: READ_ADD,
        **COUNTING,
        REJECTS: READ_ADD_CHANGE,
        ACTIONS: READ_ADD_CHANGE,
        REMOVALS: {"select"},
        HASHES: {"select"},
        SUPPRESSED: {"select"},
    },
    "anon": {},
    "authenticated": {},
    "dashboard_user": {},
    "": {},  # PUBLIC: a login without a role
}
# Single columns, where not the whole row may be read.
COLUMNS = {
    (WRITER, EVENTS): {"dedupe_key"},
    (WRITER, ACTIONS): {"id"},
    (READER, EVENTS): {"notification_type", "event_at"},
    (READER, REJECTS): {
        *("message_id", "body_sha256", "body_bytes", "reason", "detail", "kind", "topic_arn"),
        *("queue", "sent_at", "first_seen_at", "last_seen_at", "times_seen", "parser_version"),
        *("last_run_id", "redriven_at", "resolution", "resolved_at", "resolved_by"),
        *("resolved_run_id", "body_kept_until"),
    },
}
OF_SUPABASE = {"anon", "authenticated", "service_role", "dashboard_user"}
# A column of each that may be set to its own kind of value without reading it.
SET = {
    EVENTS: "received_at = now()",
    COUNTS: "count = 1",
    TOTALS: "count = 1",
    REJECTS: "detail = ''",
    ACTIONS: "error = ''",
    REMOVALS: "error = ''",
    HASHES: "since = now()",
    SUPPRESSED: "recipient = ''",
    MASKED: "bounce_type = ''",
    LEDGER: "sha256 = ''",
}
ACTS = {
    "select": "SELECT * FROM {0}",
    "update": "UPDATE {0} SET {1}",
    "delete": "DELETE FROM {0}",
    "insert": "INSERT INTO {0} {2}",
}
COLUMN = "SELECT {} FROM {}"
OWNERS_ALONE = [
    "TRUNCATE {}",
    "ALTER TABLE {} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {} NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE {} ADD COLUMN mine text",
    "ALTER TABLE {} OWNER TO CURRENT_USER",
    "CREATE POLICY mine ON {} USING (true)",
    "CREATE INDEX ON {} ((1))",
    "CREATE RULE mine AS ON INSERT TO {} DO ALSO NOTHING",
    "CREATE TRIGGER mine BEFORE INSERT ON {} EXECUTE FUNCTION tsvector_update_trigger()",
    "COMMENT ON TABLE {} IS 'mine'",
    "DROP TABLE {}",
]
OWNERS_ALONE_OF_VIEWS = [
    "ALTER VIEW {} RESET (security_barrier)",
    "ALTER VIEW {} OWNER TO CURRENT_USER",
    "CREATE OR REPLACE VIEW {} AS SELECT 1 AS mine",
    "COMMENT ON VIEW {} IS 'mine'",
    "DROP VIEW {}",
]


@pytest.fixture(scope="module", params=[None, "old", "new"], ids=["plain", "old", "new"])
def filled(server: Server, request: pytest.FixtureRequest) -> tuple[str, Supabase]:
    """A migrated database with rows in it: the superuser's URL, and what kind of project it is."""
    url = server.new_database(request.param)
    if request.param:
        migrate_as_postgres(url)
    else:
        migrate(url)
    with closing(psycopg.connect(url, autocommit=True)) as db:
        fill(db)
    return url, request.param


def roles(supabase: Supabase) -> list[str]:
    """The roles of MAY that such a server has."""
    return [role for role in MAY if supabase or role not in OF_SUPABASE]


@contextmanager
def holder(url: str, role: str) -> Iterator[Connection]:
    """A connection with the rights of the role: a login of its own, as the product has it.

    The API's roles are reached as PostgREST reaches them: authenticator logs in and sets the role.
    """
    if role in ("anon", "authenticated", "service_role"):
        with closing(psycopg.connect(as_role(url, "authenticator"), autocommit=True)) as db:
            db.execute(f"SET ROLE {role}".encode())
            yield db
    else:
        with (
            login(url, *([role] if role else [])) as own,
            closing(psycopg.connect(own, autocommit=True)) as db,
        ):
            yield db


def columns(url: str, relation: str) -> list[str]:
    with closing(psycopg.connect(url)) as db:
        found = db.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
            " AND NOT attisdropped",
            [relation],
        )
        return [name for (name,) in found]


def test_each_role_does_to_rows_what_it_is_for_and_nothing_else(
    filled: tuple[str, Supabase],
) -> None:
    url, supabase = filled
    for role in roles(supabase):
        with holder(url, role) as db:
            for relation in OBJECTS:
                _try_rows(db, role, relation)
                _try_columns(db, role, relation, columns(url, relation))


def _try_rows(db: Connection, role: str, relation: str) -> None:
    may = MAY[role].get(relation, set())
    for verb, act in ACTS.items():
        if verb != "select" and relation == SUPPRESSED:
            continue  # no view that takes rows
        outcome = tried(db, act.format(relation, SET[relation], INSERTS[relation]))
        if verb in may and relation != LEDGER:
            expected = 1 if verb == "insert" or relation == SUPPRESSED else 2
            assert outcome == expected, (role, relation, verb)
        else:
            assert (outcome != DENIED) == (verb in may), (role, relation, verb, outcome)


def _try_columns(db: Connection, role: str, relation: str, names: list[str]) -> None:
    whole = "select" in MAY[role].get(relation, set())
    for name in names:
        allowed = whole or name in COLUMNS.get((role, relation), set())
        outcome = tried(db, COLUMN.format(name, relation))
        assert (outcome != DENIED) == allowed, (role, relation, name)
    for name in ("ctid", "xmin", "tableoid") if relation not in VIEWS else ():
        outcome = tried(db, COLUMN.format(name, relation))
        assert (outcome != DENIED) == whole, (role, relation, name)


def test_what_is_the_owner_s_is_nobody_else_s(filled: tuple[str, Supabase]) -> None:
    url, supabase = filled
    for role in roles(supabase):
        with holder(url, role) as db:
            for relation, act in product(TABLES, OWNERS_ALONE):
                assert tried(db, act.format(relation)) == DENIED, (role, relation, act)
            for view, act in product(VIEWS, OWNERS_ALONE_OF_VIEWS):
                assert tried(db, act.format(view)) == DENIED, (role, view, act)


def test_nobody_reaches_the_schema_beyond_what_a_reader_needs(
    filled: tuple[str, Supabase],
) -> None:
    url, supabase = filled
    for role in roles(supabase):
        with holder(url, role) as db:
            assert tried(db, "CREATE TABLE dpp_feedback.mine ()") == DENIED
            # The function of the guard: not even a right that default privileges gave away.
            held = attempted(
                db,
                "SELECT bool_or(has_function_privilege(pg_proc.oid, 'execute')),"
                " has_schema_privilege('dpp_feedback', 'usage')"
                " FROM pg_proc WHERE pronamespace = 'dpp_feedback'::regnamespace",
            )
            assert held[1] == [(False, role == READER)], role
    with closing(psycopg.connect(url)) as owner:  # there is no sequence to hold
        ours = owner.execute("SELECT FROM pg_class WHERE relkind = 'S' AND relname ~ '^ses_'")
        assert ours.fetchall() == []


def test_no_role_of_ours_can_log_in_or_do_more_than_its_grants_say(
    filled: tuple[str, Supabase],
) -> None:
    url, supabase = filled
    with closing(psycopg.connect(url, autocommit=True)) as db:
        found: list[tuple[Any, ...]] = db.execute(
            "SELECT rolname, rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb"
            " OR rolreplication OR rolbypassrls FROM pg_roles WHERE rolname ~ '^ses_feedback_'"
            " ORDER BY 1"
        ).fetchall()
        assert found == [(MAINTAINER, False), (READER, False), (WRITER, False)]
        for outsider in ("anon", "authenticated", "authenticator") if supabase else ():
            held = db.execute(
                "SELECT bool_or(pg_has_role(%s, oid, 'MEMBER')) FROM pg_roles"
                " WHERE rolname ~ '^ses_feedback_'",
                [outsider],
            ).fetchone()
            assert held == (False,)


def test_a_table_that_is_granted_by_mistake_still_shows_and_takes_no_row(
    filled: tuple[str, Supabase],
) -> None:
    """Row level security holds where grants have failed. TRUNCATE alone it does not know."""
    url, supabase = filled
    outsiders = ("authenticated", "anon") if supabase else ("PUBLIC",)
    with closing(psycopg.connect(url, autocommit=True)) as owner, login(url) as nobody:
        grant = "GRANT {} ON ALL TABLES IN SCHEMA public {} {}"
        names = ", ".join(outsiders)
        owner.execute(grant.format("ALL", "TO", names).encode())
        owner.execute(f"GRANT ALL ON {MASKED}, {LEDGER} TO {names}".encode())
        try:
            for outsider in outsiders:
                name = "authenticator" if supabase else nobody
                own = as_role(url, name) if supabase else name
                with closing(psycopg.connect(own, autocommit=True)) as db:
                    if supabase:
                        db.execute(f"SET ROLE {outsider}".encode())
                    for table in TABLES:
                        for verb, act in ACTS.items():
                            outcome = tried(db, act.format(table, SET[table], INSERTS[table]))
                            assert outcome == (DENIED if verb == "insert" else 0), (table, verb)
                    assert tried(db, f"SELECT FROM {SUPPRESSED}") == 0
                    for relation in (MASKED, LEDGER):  # the schema is closed all the same
                        assert tried(db, f"SELECT FROM {relation}") == DENIED
        finally:
            owner.execute(grant.format("ALL", "FROM", names).replace("GRANT", "REVOKE").encode())
            owner.execute(f"REVOKE ALL ON {MASKED}, {LEDGER} FROM {names}".encode())
