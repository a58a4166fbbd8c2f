"""Applies the SQL files of migrations/ to a database: in order, each once, one runner at a time.

What the files say is their own business; a database that is not migrated is store.py's to notice.

Whoever stores and reads meanwhile waits for half a second at most: what takes longer is done
beforehand (`MigrationFile.beforehand`), and a table that is in use is tried again later.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from itertools import cycle
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from dpp_feedback import migration_ledger
from dpp_feedback.connection import connect
from dpp_feedback.feedback.escaped import printable
from dpp_feedback.migration_files import MigrationError, read_files
from dpp_feedback.migration_ledger import AGAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from dpp_feedback.migration_files import MigrationFile

__all__ = ["MigrationError", "migrate", "migrations_directory", "pending"]

# Any number will do, as long as every runner of every version takes the same: "dpp_feed" in ASCII.
_LOCK = b"SELECT pg_try_advisory_xact_lock(x'6470705f66656564'::bigint)"
_LOCK_SECONDS = 0.2  # between two tries

# A file may take its time, and the connection that holds the lock is idle meanwhile, whatever
# limits the database sets. Not all servers know all of these.
_UNLIMITED = b"""
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""

# Files name objects of other schemas with them. Who may create in a schema of the login's path
# could else put a function or an operator of just the right types in the place of Postgres' own.
_OWN_PATH = b"SELECT set_config('search_path', '', true)"

# An ALTER TABLE that waits makes everybody behind it wait too, so it does not wait long. But a
# vacuum that is in its way gives way only when deadlock_timeout is over, by default a second, and
# not everybody may set that: so one try in four is longer.
_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %s, true)"
_LOCK_TIMEOUTS = ("500ms", "500ms", "500ms", "1200ms")
_GIVE_WAY = b"""
SELECT set_config('deadlock_timeout', '100ms', true)
WHERE has_parameter_privilege('deadlock_timeout', 'SET')
"""
_PATIENCE_SECONDS = 120
_PAUSE_SECONDS = 1  # in which those who have waited come to their turn

# A runner that was killed leaves a build behind that the server goes on with, and that ends well.
_OTHERS_BUILD = b"SELECT 1 FROM pg_stat_progress_create_index WHERE datname = current_database()"
_PUT_BACK = "put the released file back."

# As one EXECUTE, in which Postgres refuses to begin or to end a transaction: a file that commits
# by itself is so refused before it does, and the ledger never tells of half a file.
_FILE = "SELECT set_config('dpp_feedback.migration', %s, true)"
_EXECUTE_FILE = b"DO $$ BEGIN EXECUTE current_setting('dpp_feedback.migration'); END $$"


def migrate(database_url: str, directory: Path | None = None) -> list[str]:
    """Apply the files that the database does not have yet, each in a transaction of its own.

    A second runner waits for the first, and then finds nothing to do. A transaction pooler will
    do: nothing hangs on a session.

    Args:
        database_url: of the database, with a login that may create tables and event triggers.
        directory: where the files are; default `migrations_directory()`.

    Returns:
        The names of the files applied now, in order.

    Raises:
        DatabaseRefused, DatabaseUnavailable: as `connection.connect`.
        MigrationError: a file fails, was changed after it was applied, is not known here, or is
            not to be trusted (`read_files`). Files before it stay applied; of a file that fails
            nothing stays, but for an index that was built beforehand.
    """
    files = read_files(directory or migrations_directory())
    with _session(database_url) as connection, _alone(database_url):
        migration_ledger.create(connection)
        missing = migration_ledger.missing(connection, files)
        return [file.name for file in missing if _patiently(connection, file)]


def pending(database_url: str, directory: Path | None = None) -> list[str]:
    """Name the files that `migrate` would apply; changes nothing.

    Raises:
        DatabaseRefused, DatabaseUnavailable, MigrationError: `migrate` would not begin.
    """
    files = read_files(directory or migrations_directory())
    with _session(database_url) as connection:
        return [file.name for file in migration_ledger.missing(connection, files)]


def migrations_directory() -> Path:
    """Find the SQL files: inside the installed package, else beside it in a checkout."""
    packaged = Path(__file__).with_name("migrations")
    return packaged if packaged.is_dir() else Path(__file__).parent.with_name("migrations")


def _patiently(connection: psycopg.Connection, file: MigrationFile) -> bool:
    """Apply a file, trying again while a table is in use; return whether it was missing."""
    from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

    tries = Retrying(
        retry=retry_if_exception_type(_in_use()),
        wait=wait_fixed(_PAUSE_SECONDS),
        stop=stop_after_delay(_PATIENCE_SECONDS),
        reraise=True,
    )
    timeouts = cycle(_LOCK_TIMEOUTS)
    try:
        return tries(lambda: _apply(connection, file, next(timeouts)))
    except _in_use():
        raise MigrationError(
            f"{file.name} was not applied, nothing of it stays: a table that it changes was in use "
            f"for {_PATIENCE_SECONDS} seconds. See pg_stat_activity, end what holds it, and "
            f"{AGAIN}."
        ) from None


def _apply(connection: psycopg.Connection, file: MigrationFile, lock_timeout: str) -> bool:
    """Apply a file and say so in the ledger, or neither; return whether it was missing."""
    import psycopg

    try:
        _prepare(connection, file)
        with connection.transaction():
            connection.execute(_OWN_PATH)
            connection.execute(_UNLIMITED)
            connection.execute(_GIVE_WAY)
            connection.execute(_LOCK_TIMEOUT, [lock_timeout])
            if not migration_ledger.locked_without(connection, file):
                return False
            connection.execute(_FILE, [file.sql])
            connection.execute(_EXECUTE_FILE)
            migration_ledger.record(connection, file)
            return True
    except _in_use():
        raise
    except psycopg.Error as error:
        raise MigrationError(
            f"{file.name} was not applied, nothing of it stays: {_said(error)} "
            f"Put that right and {AGAIN}."
        ) from None


def _prepare(connection: psycopg.Connection, file: MigrationFile) -> None:
    """Run what is to be run before a file; cut short, it goes on from there the next time."""
    if file.beforehand is not None:
        while connection.execute(_OTHERS_BUILD).fetchone():
            sleep(_PAUSE_SECONDS)
        with connection.transaction():
            connection.execute(_OWN_PATH)
            connection.execute("SET TRANSACTION READ ONLY")
            rows = connection.execute(file.beforehand.encode()).fetchall()
        for row in rows:
            match row:
                case (str(statement),):
                    connection.execute(statement.encode())
                case _:
                    raise MigrationError(
                        f"concurrently/{file.name} returns no statements: {_PUT_BACK}"
                    )
            # What follows would be part of that transaction, and be gone with it.
            if connection.info.transaction_status.name != "IDLE":
                raise MigrationError(f"concurrently/{file.name} begins a transaction: {_PUT_BACK}")


def _in_use() -> tuple[type[psycopg.Error], ...]:
    """What Postgres says when somebody else is at it; the last is "tuple concurrently updated"."""
    from psycopg import errors

    return errors.LockNotAvailable, errors.DeadlockDetected, errors.InternalError_


@contextmanager
def _alone(database_url: str) -> Iterator[None]:
    """Wait until no other runner is at it, and keep others waiting until the end.

    By a connection of its own, since an index is built outside of a transaction and a lock of a
    session would get lost in a transaction pooler. It is idle meanwhile, and whoever waits asks
    anew each time: a transaction with a snapshot would hold up the building of an index.
    """
    with _session(database_url) as keeper:
        while True:
            with keeper.transaction():
                keeper.execute(_UNLIMITED)
                if keeper.execute(_LOCK).fetchone() == (True,):
                    yield
                    return
            sleep(_LOCK_SECONDS)


@contextmanager
def _session(database_url: str) -> Iterator[psycopg.Connection]:
    import psycopg

    connection = connect(database_url, "dpp_feedback migrate")
    # In any other, a transaction would keep a snapshot, and not see what others have just done.
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    with closing(connection):
        try:
            yield connection
        except psycopg.Error as error:
            raise MigrationError(
                f"The database of DATABASE_URL cannot be migrated: {_said(error)} "
                f"Put that right and {AGAIN}."
            ) from None


def _said(error: psycopg.Error) -> str:
    """Quote Postgres without its details, which may hold values of rows."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    parts = [error.diag.message_primary or lines[0], error.diag.message_hint]
    said = " ".join(f"{part.rstrip('.')}." for part in parts if part)
    # A name that somebody gave to a table or a trigger may hold anything.
    return printable(said)
