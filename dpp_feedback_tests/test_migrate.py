"""What applies the files of migrations/: order, once, refusals; on a real PostgreSQL.

What happens meanwhile, and when it is cut short, is test_migrate_under_load's business.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dpp_feedback import migrate as migrate_module
from dpp_feedback.cli import main
from dpp_feedback.connection import DatabaseRefused, DatabaseUnavailable
from dpp_feedback.migrate import MigrationError, migrate, migrations_directory, pending

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

FIRST, SECOND, THIRD = "20010101_first.sql", "20010102_second.sql", "20010103_third.sql"
OUR_ROLES = ["ses_feedback_writer", "ses_feedback_reader", "ses_feedback_maintainer"]
HOSTILE = "20990101_\x1b[2J\u202e'; DROP TABLE dpp_feedback.migrations; --\n.sql"


def connected(url: str) -> closing[Connection]:
    return closing(psycopg.connect(url, autocommit=True))


def tables(url: str) -> list[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    with connected(url) as db:
        return [name for (name,) in db.execute(query)]


@pytest.fixture
def made_role(database_url: str) -> Iterator[str]:
    """A login without any rights."""
    role = "nobody_special"
    with connected(database_url) as db:
        db.execute(f"CREATE ROLE {role} LOGIN".encode())
        yield role
        db.execute(f"DROP OWNED BY {role}".encode())
        db.execute(f"DROP ROLE {role}".encode())


# In order, each once


def test_runners_at_once_apply_each_file_once(database_url: str, tmp_path: Path) -> None:
    names = [FIRST, SECOND, THIRD]
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
    (tmp_path / FIRST).write_text("SELECT pg_sleep(0.3); CREATE TABLE public.only ();")
    with connected(database_url) as db:
        name = sql.Identifier(str(conninfo_to_dict(database_url)["dbname"]))
        statement = "ALTER DATABASE {} SET default_transaction_isolation = 'serializable'"
        db.execute(sql.SQL(statement).format(name))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(migrate, database_url, tmp_path) for _ in range(2)]
        assert sorted(run.result() for run in runs) == [[], [FIRST]]


def test_a_new_file_is_applied_and_pending_tells_so_before(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / FIRST).write_text("CREATE TABLE public.one ()")
    assert pending(database_url, tmp_path) == [FIRST]
    assert migrate(database_url, tmp_path) == [FIRST]
    (tmp_path / SECOND).write_text("CREATE TABLE public.two ()")
    assert pending(database_url, tmp_path) == [SECOND]
    assert migrate(database_url, tmp_path) == [SECOND]
    assert pending(database_url, tmp_path) == []
    assert migrate(database_url, tmp_path) == []


def test_a_file_that_was_applied_by_somebody_else_meanwhile_is_left_out(
    database_url: str, tmp_path: Path
) -> None:
    # As what a killed runner left behind in the server may still do.
    (tmp_path / FIRST).write_text(
        "INSERT INTO dpp_feedback.migrations VALUES ('20010102_second.sql', 'x')"
    )
    (tmp_path / SECOND).write_text("CREATE TABLE public.two ()")
    assert migrate(database_url, tmp_path) == [FIRST]
    assert tables(database_url) == []


def test_a_limit_of_the_database_on_statements_does_not_end_a_file(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / FIRST).write_text("SELECT pg_sleep(0.3); CREATE TABLE public.one ();")
    with connected(database_url) as db:
        name = sql.Identifier(str(conninfo_to_dict(database_url)["dbname"]))
        for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
            db.execute(
                sql.SQL("ALTER DATABASE {} SET {} = '200ms'").format(name, sql.Identifier(limit))
            )
    assert migrate(database_url, tmp_path) == [FIRST]


# What is refused


def test_a_changed_file_is_refused_before_anything_is_applied(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / SECOND).write_text("CREATE TABLE public.one ()")
    migrate(database_url, tmp_path)
    (tmp_path / SECOND).write_text("CREATE TABLE public.one (a int)")
    (tmp_path / FIRST).write_text("CREATE TABLE public.zero ()")
    for run in (migrate, pending):
        with pytest.raises(MigrationError, match=f"^{SECOND} was changed after it was applied"):
            run(database_url, tmp_path)
    assert tables(database_url) == ["one"]


def test_line_ends_of_windows_are_no_change_and_reach_no_function(
    database_url: str, tmp_path: Path
) -> None:
    text = "CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $$\nSELECT 'a\nb'\n$$;\n"
    (tmp_path / FIRST).write_bytes(text.replace("\n", "\r\n").encode())
    assert migrate(database_url, tmp_path) == [FIRST]
    with connected(database_url) as db:
        assert db.execute("SELECT public.f()").fetchone() == ("a\nb",)
    (tmp_path / FIRST).write_bytes(text.encode())
    assert migrate(database_url, tmp_path) == []


def test_a_newer_database_is_refused(database_url: str) -> None:
    migrate(database_url)
    with connected(database_url) as db:
        db.execute("INSERT INTO dpp_feedback.migrations VALUES ('20990101_later.sql', 'x')")
    with pytest.raises(MigrationError, match=r"newer than this dpp_feedback.* 20990101_later\.sql"):
        migrate(database_url)


def test_a_hostile_name_in_the_ledger_is_shown_escaped(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(database_url)
    with connected(database_url) as db:
        db.execute("INSERT INTO dpp_feedback.migrations VALUES (%s, 'x')", [HOSTILE * 5])
    for run in (migrate, pending):
        with pytest.raises(MigrationError, match="newer than this dpp_feedback") as caught:
            run(database_url)
        said = str(caught.value)
        assert said.isprintable()
        assert said.isascii()
        assert len(said) < 400
        assert r"\x1b[2J\u202e" in said
    monkeypatch.setenv("DATABASE_URL", database_url)
    for command in (["migrate"], ["doctor"]):
        printed = CliRunner().invoke(main, command)
        assert printed.exit_code != 0
        assert "newer than this dpp_feedback" in printed.output
        assert "\x1b[2J" not in printed.output
        assert "\u202e" not in printed.output


def test_a_file_that_fails_is_named_and_leaves_nothing_behind(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / FIRST).write_text("CREATE TABLE public.one ()")
    (tmp_path / SECOND).write_text("CREATE TABLE public.two (); SELECT no_such_column")
    with pytest.raises(MigrationError) as caught:
        migrate(database_url, tmp_path)
    assert str(caught.value) == (
        f'{SECOND} was not applied, nothing of it stays: column "no_such_column" does not exist. '
        "Put that right and run `dpp-feedback migrate` again."
    )
    assert tables(database_url) == ["one"]
    assert pending(database_url, tmp_path) == [SECOND]


def test_what_postgres_says_is_shown_escaped(database_url: str, tmp_path: Path) -> None:
    (tmp_path / FIRST).write_text("DO $$ BEGIN RAISE EXCEPTION E'a\\x1b[2Jb'; END $$")
    with pytest.raises(MigrationError, match=r"stays: a\\x1b\[2Jb\. Put") as caught:
        migrate(database_url, tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "ends",
    [
        "COMMIT;",
        "commit and chain;",
        "END;",
        "ROLLBACK;",
        "ROLLBACK; BEGIN;",
        "COMMIT; BEGIN;",
        "BEGIN;",
        "PREPARE TRANSACTION 'mine';",
        "DO $$ BEGIN COMMIT; END $$;",
        "CREATE PROCEDURE public.p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'; CALL public.p();",
        "CREATE INDEX CONCURRENTLY ON public.one (a);",
        "VACUUM public.one;",
        r"\echo `id`",
        r"\i other.sql",
        "COPY public.one FROM STDIN;\n1\n\\.\n",
    ],
)
def test_a_file_that_ends_its_transaction_or_needs_psql_is_refused_and_leaves_nothing(
    database_url: str, tmp_path: Path, ends: str
) -> None:
    (tmp_path / FIRST).write_text(f"CREATE TABLE public.one (a int);\n{ends}\nSELECT 1/0;")
    with pytest.raises(MigrationError, match=f"^{FIRST} was not applied, nothing of it stays"):
        migrate(database_url, tmp_path)
    assert tables(database_url) == []
    assert pending(database_url, tmp_path) == [FIRST]


# Logins and addresses


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT 'begin'", f"^concurrently/{FIRST} begins a transaction: put the released file"),
        ("SELECT 1", f"^concurrently/{FIRST} returns no statements: put the released file back"),
        ("SELECT NULL", f"^concurrently/{FIRST} returns no statements"),
        ("SELECT 'x', 'y'", f"^concurrently/{FIRST} returns no statements"),
        ("CREATE TABLE public.early ()", f"^{FIRST} was not applied, .* read-only transaction"),
    ],
)
def test_what_is_to_be_run_before_a_file_is_refused_if_it_would_undo_or_is_no_statement(
    database_url: str, tmp_path: Path, query: str, message: str
) -> None:
    (tmp_path / FIRST).write_text("CREATE TABLE public.first ()")
    (tmp_path / "concurrently").mkdir()
    (tmp_path / "concurrently" / FIRST).write_text(query)
    with pytest.raises(MigrationError, match=message):
        migrate(database_url, tmp_path)
    assert tables(database_url) == []
    assert pending(database_url, tmp_path) == [FIRST]


def test_a_ledger_that_keeps_no_row_or_holds_a_null_is_refused(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / FIRST).write_text("CREATE TABLE public.first ()")
    with connected(database_url) as db:
        db.execute("""
            CREATE SCHEMA dpp_feedback;
            CREATE TABLE dpp_feedback.migrations (name text, sha256 text);
            CREATE RULE none AS ON INSERT TO dpp_feedback.migrations DO INSTEAD NOTHING
        """)
        with pytest.raises(MigrationError, match=r"keeps none of them: look for a trigger or a "):
            migrate(database_url, tmp_path)
        assert tables(database_url) == []
        db.execute("DROP RULE none ON dpp_feedback.migrations")
        db.execute("INSERT INTO dpp_feedback.migrations VALUES (NULL, NULL)")
        with pytest.raises(MigrationError, match="is newer than this dpp_feedback, which does not"):
            migrate(database_url, tmp_path)


def test_a_login_without_rights_is_told_so(database_url: str, made_role: str) -> None:
    url = make_conninfo(database_url, user=made_role)
    with pytest.raises(MigrationError, match=r"cannot be migrated: permission denied"):
        migrate(url)
    migrate(database_url)
    with pytest.raises(MigrationError, match=r"cannot be migrated: permission denied"):
        migrate(url)


@pytest.mark.parametrize("role", [*OUR_ROLES, "nobody_special"])
def test_the_ledger_cannot_be_forged_whatever_is_granted(
    database_url: str, made_role: str, role: str
) -> None:
    migrate(database_url)
    with connected(database_url) as db:
        db.execute(f"GRANT {', '.join(OUR_ROLES)} TO {made_role}".encode())
        for granted in (False, True):
            if granted:
                db.execute(f"GRANT USAGE ON SCHEMA dpp_feedback TO {role}".encode())
                db.execute(f"GRANT ALL ON dpp_feedback.migrations TO {role}".encode())
            db.execute(f"SET ROLE {role}".encode())
            before = "INSERT INTO dpp_feedback.migrations VALUES ('20990101_forged.sql', 'x')"
            with pytest.raises(errors.InsufficientPrivilege):
                db.execute(before.encode())
            for statement in (
                "UPDATE dpp_feedback.migrations SET sha256 = 'x'",
                "DELETE FROM dpp_feedback.migrations",
            ):
                try:
                    assert db.execute(statement.encode()).rowcount == 0
                except errors.InsufficientPrivilege:
                    assert not granted
            for statement in (
                "DROP TABLE dpp_feedback.migrations",
                "ALTER TABLE dpp_feedback.migrations DISABLE ROW LEVEL SECURITY",
                "CREATE TABLE dpp_feedback.mine ()",
            ):
                with pytest.raises(errors.InsufficientPrivilege):
                    db.execute(statement.encode())
            db.execute("RESET ROLE")
    assert migrate(database_url) == []


def test_default_privileges_open_no_ledger_and_an_open_one_is_closed(
    database_url: str, made_role: str, tmp_path: Path
) -> None:
    (tmp_path / FIRST).write_text("SELECT 1")
    holders = """
        SELECT DISTINCT grantee::regrole::text FROM pg_class, aclexplode(relacl)
        WHERE oid = 'dpp_feedback.migrations'::regclass
    """
    open_again = """
        DROP POLICY migrations_select ON dpp_feedback.migrations;
        ALTER TABLE dpp_feedback.migrations DISABLE ROW LEVEL SECURITY
    """
    with connected(database_url) as db:
        give_all = f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {made_role}, PUBLIC"
        db.execute(give_all.encode())
        assert migrate(database_url, tmp_path) == [FIRST]
        assert db.execute(holders).fetchall() == [("postgres",)]
        # As a version of dpp_feedback left it that knew nothing of this.
        db.execute(open_again)
        db.execute(f"GRANT ALL ON dpp_feedback.migrations TO {made_role}, PUBLIC".encode())
        assert migrate(database_url, tmp_path) == []
        assert db.execute(holders).fetchall() == [("postgres",)]


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


def test_an_installed_package_brings_its_files_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert migrations_directory() == Path(__file__).parent.parent / "migrations"
    (tmp_path / "migrations").mkdir()
    monkeypatch.setattr(migrate_module, "__file__", str(tmp_path / "migrate.py"))
    assert migrations_directory() == tmp_path / "migrations"
    with pytest.raises(MigrationError, match="There are no SQL files"):
        migrate("postgresql://127.0.0.1:1/db")
