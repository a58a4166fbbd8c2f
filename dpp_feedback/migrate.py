"""Applies the SQL files of migrations/ to a database: in order, each once, one runner at a time.

What the files say is their own business; a database that is not migrated is store.py's to notice.
The ledger of what was applied is `dpp_feedback.migrations`, outside the schema `public`.
"""

from __future__ import annotations

import hashlib
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dpp_feedback.connection import connect
from dpp_feedback.errors import FeedbackError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

# Any number will do, as long as every runner of every version takes the same: "dpp_feed" in ASCII.
_LOCK = b"SELECT pg_advisory_xact_lock(x'6470705f66656564'::bigint)"

# An ALTER TABLE that waits makes everybody behind it wait too. Taken after the lock above: to wait
# for another runner is right, however long it takes.
_LOCK_TIMEOUT = b"SET LOCAL lock_timeout = '5s'"

# Only what is missing: `IF NOT EXISTS` would ask for the right to create it all the same.
_LEDGER = b"""
DO $$
BEGIN
  IF to_regnamespace('dpp_feedback') IS NULL THEN
    CREATE SCHEMA dpp_feedback;
    REVOKE ALL ON SCHEMA dpp_feedback FROM PUBLIC;
  END IF;
  IF to_regclass('dpp_feedback.migrations') IS NULL THEN
    CREATE TABLE dpp_feedback.migrations (
      name text PRIMARY KEY,
      sha256 text NOT NULL,
      applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    REVOKE ALL ON TABLE dpp_feedback.migrations FROM PUBLIC;
    COMMENT ON TABLE dpp_feedback.migrations IS 'What `dpp-feedback migrate` has applied.';
  END IF;
END
$$
"""

_AGAIN = "run `dpp-feedback migrate` again"


class MigrationError(FeedbackError):
    """The database cannot be migrated: what is wrong, and what to do next."""


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    sql: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql).hexdigest()


def migrate(database_url: str, directory: Path | None = None) -> list[str]:
    """Apply the files that the database does not have yet, each in a transaction of its own.

    A second runner waits for the first, and then finds nothing to do.

    Args:
        database_url: of the database, with a login that may create tables and event triggers.
        directory: where the files are; default `migrations_directory()`.

    Returns:
        The names of the files applied now, in order.

    Raises:
        DatabaseRefused, DatabaseUnavailable: as `connection.connect`.
        MigrationError: a file fails, was changed after it was applied, or is not known here.
            Files before it stay applied; of a file that fails nothing stays.
    """
    files = _read(directory or migrations_directory())
    applied = []
    with _session(database_url) as connection:
        while name := _apply_next(connection, files):
            applied.append(name)
    return applied


def pending(database_url: str, directory: Path | None = None) -> list[str]:
    """Name the files that `migrate` would apply; changes nothing.

    Raises:
        DatabaseRefused, DatabaseUnavailable, MigrationError: `migrate` would not begin.
    """
    files = _read(directory or migrations_directory())
    with _session(database_url) as connection:
        return [file.name for file in _missing(connection, files)]


def migrations_directory() -> Path:
    """Find the SQL files: inside the installed package, else beside it in a checkout."""
    packaged = Path(__file__).with_name("migrations")
    return packaged if packaged.is_dir() else Path(__file__).parent.with_name("migrations")


def _read(directory: Path) -> list[_File]:
    paths = sorted(directory.glob("*.sql"), key=lambda path: path.name)
    if not paths:
        raise MigrationError(f"There are no SQL files in {directory}: install dpp_feedback anew.")
    return [_File(path.name, path.read_bytes()) for path in paths]


def _apply_next(connection: psycopg.Connection, files: list[_File]) -> str | None:
    import psycopg

    with connection.transaction():
        connection.execute(_LOCK)
        connection.execute(_LOCK_TIMEOUT)
        connection.execute(_LEDGER)
        missing = _missing(connection, files)
        if not missing:
            return None
        file = missing[0]
        try:
            connection.execute(file.sql)
        except psycopg.Error as error:
            raise MigrationError(
                f"{file.name} was not applied, nothing of it stays: {_said(error)} "
                f"Put that right and {_AGAIN}."
            ) from None
        connection.execute(
            "INSERT INTO dpp_feedback.migrations (name, sha256) VALUES (%s, %s)",
            [file.name, file.sha256],
        )
        return file.name


def _missing(connection: psycopg.Connection, files: list[_File]) -> list[_File]:
    """Return the files that are not applied, in order.

    Raises:
        MigrationError: the ledger and the files do not belong together.
    """
    ledger: dict[str, str] = {}
    if connection.execute("SELECT to_regclass('dpp_feedback.migrations')").fetchone() != (None,):
        ledger = dict(connection.execute("SELECT name, sha256 FROM dpp_feedback.migrations"))
    if newer := sorted(ledger.keys() - {file.name for file in files}):
        raise MigrationError(
            f"The database is newer than this dpp_feedback, which does not know {newer[-1]}: "
            "install the version that brought it, or a later one."
        )
    for file in files:
        if ledger.get(file.name, file.sha256) != file.sha256:
            raise MigrationError(
                f"{file.name} was changed after it was applied to this database: put the released "
                f"file back, write the change into a new file, and {_AGAIN}."
            )
    return [file for file in files if file.name not in ledger]


@contextmanager
def _session(database_url: str) -> Iterator[psycopg.Connection]:
    import psycopg

    connection = connect(database_url, "dpp_feedback migrate")
    # In any other, the look into the ledger would show what was there before the lock was ours.
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    with closing(connection):
        try:
            yield connection
        except psycopg.Error as error:
            raise MigrationError(
                f"The database of DATABASE_URL cannot be migrated: {_said(error)} "
                f"Put that right and {_AGAIN}."
            ) from None


def _said(error: psycopg.Error) -> str:
    """Quote Postgres without its details, which may hold values of rows."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    parts = [error.diag.message_primary or lines[0], error.diag.message_hint]
    return " ".join(f"{part.rstrip('.')}." for part in parts if part)
