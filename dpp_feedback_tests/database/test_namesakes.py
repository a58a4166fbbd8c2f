"""Functions and operators that an ordinary login makes in public, of just the types in a statement.

PostgreSQL prefers them to its own where those take other types or any (CVE-2018-1058). None of them
may run in the session of a superuser who migrates or verifies, or be handed rows by an erasure.
"""

from __future__ import annotations

from contextlib import closing
from uuid import UUID

import psycopg
import pytest

from dpp_feedback.migrate import migrate
from dpp_feedback.removal import places
from dpp_feedback_tests.database.guarded import fill
from dpp_feedback_tests.database.logins import login
from dpp_feedback_tests.database.servers import VERIFY, Server, psql

# By how often the files use them: each stood in one of them, or could.
OPERATORS = [
    ("=", "oid", "integer"),
    ("=", "oid", "regclass"),
    ("=", "oid", "regnamespace"),
    ("~~", "name", "name"),
]
FUNCTIONS = [
    ("format(text, name)", "text"),
    ("array_position(text[], text)", "integer"),
    ("acldefault(text, oid)", "aclitem[]"),
    ("unnest(text[])", "text"),
]
_NAMESAKE = """
CREATE FUNCTION public.{signature} RETURNS {kind} LANGUAGE plpgsql
  AS $$ BEGIN RAISE 'it ran as %', current_user; END $$;
"""


@pytest.fixture
def url(server: Server) -> str:
    """A database whose public takes objects of everybody, as all did before PostgreSQL 15."""
    url = server.new_database()
    with closing(psycopg.connect(url, autocommit=True)) as superuser:
        superuser.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    return url


def make_namesakes(url: str) -> None:
    with closing(psycopg.connect(url, autocommit=True)) as db:
        for signature, kind in FUNCTIONS:
            db.execute(_NAMESAKE.format(signature=signature, kind=kind).encode())
        for number, (name, left, right) in enumerate(OPERATORS):
            signature = f"namesake_{number}({left}, {right})"
            db.execute(_NAMESAKE.format(signature=signature, kind="boolean").encode())
            db.execute(
                f"CREATE OPERATOR public.{name} (FUNCTION = public.namesake_{number},"
                f" LEFTARG = {left}, RIGHTARG = {right})".encode()
            )


def test_no_namesake_runs_while_a_superuser_migrates_and_verifies(url: str) -> None:
    with login(url) as mallory:
        make_namesakes(mallory)
        with closing(psycopg.connect(url)) as superuser, pytest.raises(psycopg.Error, match="ran"):
            superuser.execute("SELECT FROM pg_class WHERE oid = 'pg_class'::regclass")
        assert migrate(url)
        verified = psql(url, VERIFY)
        assert "it ran as" not in verified.stderr
        (line,) = [line for line in verified.stderr.splitlines() if line.startswith("- ")]
    assert line == (
        "- PUBLIC may create in schema public what then runs in sessions of others: "
        "revoke create on schema public from public"
    )


def test_no_namesake_is_handed_the_rows_that_an_erasure_looks_through(url: str) -> None:
    migrate(url)
    with login(url) as mallory:
        with closing(psycopg.connect(mallory, autocommit=True)) as db:
            for argument, kind in (
                ("to_jsonb(public.ses_feedback_events)", "jsonb"),
                ("to_jsonb(public.ses_feedback_rejects)", "jsonb"),
                ("unnest(text[])", "text"),
            ):
                db.execute(_NAMESAKE.format(signature=argument, kind=kind).encode())
        with closing(psycopg.connect(url, autocommit=True)) as db:
            fill(db)
            with pytest.raises(psycopg.Error, match="it ran as"):
                db.execute("SELECT to_jsonb(event) FROM public.ses_feedback_events AS event")
            page = {"patterns": ["jane.doe"], "after": UUID(int=0), "end": None}
            found = db.execute(places.EVENTS_OF_PAGE.encode(), page).fetchall()
            ids = [UUID(event["id"]) for event, _ in found]
            assert len(db.execute(places.EVENTS_AGAIN.encode(), {"ids": ids}).fetchall()) == 2
            rejects = places.REJECTS.find.encode()
            assert len(db.execute(rejects, {"patterns": ["no json"]}).fetchall()) == 2
