"""The database: reachable, migrated, closed to everybody else, and ready to take an event."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dpp_feedback.connection import connect, explaining
from dpp_feedback.doctor.finding import Examination, Finding, failed, passed, warned
from dpp_feedback.migrate import pending
from dpp_feedback.resources import FeedbackStore, database_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

_NAME = "dpp_feedback doctor"
_OLDEST = 15  # security_invoker views
_VERIFY = "p0_rls_ses_feedback_verify.sql"
_GUARD = "guard: "
_SHOWN = 5
_MIGRATE = "Run `dpp-feedback migrate`."
# A login with the least rights may not even ask which migrations the database has.
_MAY_READ_LEDGER = b"""
SELECT CASE
  WHEN to_regnamespace('dpp_feedback') IS NULL THEN true
  WHEN NOT has_schema_privilege('dpp_feedback', 'USAGE') THEN false
  WHEN to_regclass('dpp_feedback.migrations') IS NULL THEN true
  ELSE has_table_privilege('dpp_feedback.migrations', 'SELECT')
END
"""
# A login that only reads is as it should be.
_ONLY_READS = b"""
SELECT has_any_column_privilege(oid, 'SELECT') AND NOT has_table_privilege(oid, 'INSERT')
FROM pg_catalog.pg_class WHERE oid = to_regclass('public.ses_feedback_events')
"""
_LOOPBACK = ("", "localhost", "127.0.0.1", "::1")


def examinations() -> list[Examination]:
    """Look at the server, and at what the migrations have made of the database."""
    area = "database"
    return [
        Examination(area, "DATABASE_URL", _server),
        Examination(area, "migrations", _migrations),
        Examination(area, "takes an event", _takes_an_event),
        Examination(area, "row-level security", _verified),
    ]


def verify_file() -> Path:
    """Find the verifying SQL: inside the installed package, else in a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "docs" / _VERIFY
    return packaged if packaged.is_file() else package.with_name("docs") / _VERIFY


def _server() -> Iterator[Finding]:
    with closing(connect(database_url(), _NAME)) as connection:
        info = connection.info
        major = info.server_version // 10_000
        if major < _OLDEST:
            yield failed("DATABASE_URL", f"PostgreSQL {major}.", f"Upgrade to {_OLDEST} or newer.")
        else:
            yield passed("DATABASE_URL", f"It answers: PostgreSQL {major}.")
        local = info.host in _LOOPBACK or info.host.startswith("/")
        if connection.pgconn.ssl_in_use:
            yield passed("TLS", "The connection is encrypted.")
        elif local:
            yield passed("TLS", "None, and none is needed: the server is on this machine.")
        else:
            yield warned(
                "TLS",
                "The connection is not encrypted.",
                "Append ?sslmode=verify-full to DATABASE_URL, or ?sslmode=require.",
            )


def _migrations() -> Iterator[Finding]:
    check, url = "migrations", database_url()
    with (
        closing(connect(url, _NAME)) as connection,
        explaining("Reading dpp_feedback.migrations"),
    ):
        may_read = connection.execute(_MAY_READ_LEDGER).fetchone()
    if may_read != (True,):
        yield warned(
            check,
            "The login in DATABASE_URL may not read dpp_feedback.migrations: what is missing is "
            "not known.",
            "Run the doctor with the login that migrates.",
        )
        return
    if missing := pending(url):
        yield failed(check, f"Not applied: {_listed(missing)}.", _MIGRATE)
    else:
        yield passed(check, "All are applied.")


def _takes_an_event() -> Iterator[Finding]:
    check = "takes an event"
    with closing(connect(database_url(), _NAME)) as connection, explaining("Asking for rights"):
        only_reads = connection.execute(_ONLY_READS).fetchone() == (True,)
    if only_reads:
        yield warned(
            check,
            "The login in DATABASE_URL may read of the events, and store none.",
            "Where a run stores events, make it a member of ses_feedback_writer.",
        )
        return
    with FeedbackStore().connect() as store:
        store.check()
    yield passed(check, "One was inserted and taken back, and a reject too.")


def _verified() -> Iterator[Finding]:
    with closing(connect(database_url(), _NAME)) as connection:
        deviations = _deviations(connection)
    guard = [line.removeprefix(_GUARD) for line in deviations if line.startswith(_GUARD)]
    others = [line for line in deviations if not line.startswith(_GUARD)]
    for check, wrong, well in (
        ("row-level security", others, "Tables, policies and grants are as the migrations say."),
        ("guard", guard, "The event trigger turns on row-level security for new tables."),
    ):
        if wrong:
            yield failed(
                check,
                f"{_listed(wrong, '; ')}.",
                f"Correct it, or run the files of migrations/ again; see docs/{_VERIFY}.",
            )
        else:
            yield passed(check, well)


def _deviations(connection: psycopg.Connection) -> list[str]:
    """Run the verifying SQL, which changes nothing; return its lines."""
    from psycopg import errors

    sql = verify_file().read_bytes()
    with explaining("Verifying the tables"):
        try:
            connection.execute(sql)
        except errors.RaiseException as error:
            lines = (error.diag.message_primary or "").splitlines()
            return [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    return []


def _listed(lines: list[str], comma: str = ", ") -> str:
    more = len(lines) - _SHOWN
    return comma.join(lines[:_SHOWN]) + (f"{comma}and {more} more" if more > 0 else "")
