"""The database: each deviation is made in a real Postgres."""

from __future__ import annotations

import tomllib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from dpp_feedback.doctor import database as doctor
from dpp_feedback.migrate import migrate
from dpp_feedback_tests.doctor.looking import found, only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback.doctor.finding import Finding

Connection = psycopg.Connection[tuple[Any, ...]]
REPOSITORY = Path(__file__).resolve().parents[2]


def _database(check: str) -> Finding:
    return only(doctor.examinations(), check)


@pytest.fixture
def migrated(environment: dict[str, str]) -> Iterator[Connection]:
    migrate(environment["DATABASE_URL"])
    with closing(psycopg.connect(environment["DATABASE_URL"], autocommit=True)) as connection:
        yield connection


def test_a_migrated_database_passes(migrated: Connection) -> None:
    checks = found(doctor.examinations())
    assert {each.verdict for findings in checks.values() for each in findings} == {"pass"}
    assert "PostgreSQL " in checks["DATABASE_URL"][0].found
    row = migrated.execute("SELECT count(*) FROM public.ses_feedback_events").fetchone()
    assert row == (0,)


def test_an_empty_database_fails_at_all_that_migrations_make(environment: dict[str, str]) -> None:
    assert environment
    checks = found(doctor.examinations())
    verdicts = {name: findings[0].verdict for name, findings in checks.items()}
    assert verdicts == {
        "DATABASE_URL": "pass",
        "TLS": "pass",
        "migrations": "fail",
        "takes an event": "fail",
        "row-level security": "fail",
        "guard": "fail",
    }
    assert "20260217_create_ses_feedback_events.sql" in checks["migrations"][0].found
    assert checks["row-level security"][0].found.count(";") == 5
    assert "; and " in checks["row-level security"][0].found


def test_a_server_that_does_not_answer_fails_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://jane:se-cret@127.0.0.1:1/nothing")
    checks = found(doctor.examinations())
    assert set(checks) == {"DATABASE_URL", "migrations", "takes an event", "row-level security"}
    for (finding,) in checks.values():
        assert finding.verdict == "fail"
        assert "se-cret" not in finding.found


def test_a_server_that_is_too_old_fails(
    migrated: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No server older than 15 is here, so this one is called old.
    monkeypatch.setattr(doctor, "_OLDEST", migrated.info.server_version // 10_000 + 1)
    assert _database("DATABASE_URL").verdict == "fail"


def test_a_connection_to_another_machine_without_tls_warns(
    migrated: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert migrated.info.host in doctor._LOOPBACK
    monkeypatch.setattr(doctor, "_LOOPBACK", ())  # this server stands for one elsewhere
    assert _database("TLS").verdict == "warn"


def test_a_table_that_drops_rows_fails(migrated: Connection) -> None:
    migrated.execute(
        "CREATE RULE nothing AS ON INSERT TO public.ses_feedback_rejects DO INSTEAD NOTHING"
    )
    assert _database("takes an event").verdict == "fail"


def test_what_is_open_fails_by_name(migrated: Connection) -> None:
    migrated.execute("ALTER TABLE public.ses_feedback_events NO FORCE ROW LEVEL SECURITY")
    finding = _database("row-level security")
    assert finding.verdict == "fail"
    assert finding.found == (
        "row level security is not forced on public.ses_feedback_events: "
        "alter table public.ses_feedback_events force row level security."
    )
    assert _database("guard").verdict == "pass"
    migrated.execute("ALTER TABLE public.ses_feedback_events FORCE ROW LEVEL SECURITY")
    migrated.execute("DROP EVENT TRIGGER dpp_feedback_row_level_security")
    assert _database("row-level security").verdict == "pass"
    finding = _database("guard")
    assert finding.verdict == "fail"
    assert finding.found == (
        "event trigger dpp_feedback_row_level_security is missing: "
        "run the files of migrations/ again, in order."
    )


def test_a_database_that_is_newer_fails(migrated: Connection) -> None:
    migrated.execute(
        "INSERT INTO dpp_feedback.migrations (name, sha256) VALUES ('29990101_new.sql', 'x')"
    )
    finding = _database("migrations")
    assert finding.verdict == "fail"
    assert "29990101_new.sql" in finding.found


def test_a_login_with_the_rights_of_service_role_alone_is_enough(
    migrated: Connection, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    login = f"runs_{uuid4().hex}"
    there = migrated.execute("SELECT FROM pg_roles WHERE rolname = 'service_role'").fetchone()
    if there is None:
        migrated.execute("CREATE ROLE service_role BYPASSRLS")
    for name in sorted((REPOSITORY / "migrations").glob("*.sql")):
        migrated.execute(name.read_bytes())  # again, now that the role is there
    migrated.execute(f"CREATE ROLE {login} LOGIN IN ROLE service_role".encode())
    url = environment["DATABASE_URL"]
    monkeypatch.setenv("DATABASE_URL", url.replace("//postgres@", f"//{login}@"))
    try:
        checks = found(doctor.examinations())
    finally:
        migrated.execute(f"DROP ROLE {login}".encode())
    verdicts = {name: findings[0].verdict for name, findings in checks.items()}
    assert verdicts == {
        "DATABASE_URL": "pass",
        "TLS": "pass",
        "migrations": "warn",
        "takes an event": "pass",
        "row-level security": "pass",
        "guard": "pass",
    }


def test_the_verifying_sql_is_found_in_a_checkout_and_goes_into_the_package() -> None:
    assert doctor.verify_file() == REPOSITORY / "docs" / "p0_rls_ses_feedback_verify.sql"
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["docs/p0_rls_ses_feedback_verify.sql"] == (
        "dpp_feedback/docs/p0_rls_ses_feedback_verify.sql"
    )


def test_the_verifying_sql_of_an_installed_package_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "dpp_feedback"
    (package / "docs").mkdir(parents=True)
    (package / "docs" / "p0_rls_ses_feedback_verify.sql").write_text("SELECT 1")
    monkeypatch.setattr(doctor, "__file__", str(package / "doctor" / "database.py"))
    assert doctor.verify_file() == package / "docs" / "p0_rls_ses_feedback_verify.sql"
