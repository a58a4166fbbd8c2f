"""What was applied to a database: the table `dpp_feedback.migrations`, written by its owner alone.

What is applied, and when, is migrate.py's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpp_feedback.migration_files import MigrationError, shown_name

if TYPE_CHECKING:
    import psycopg

    from dpp_feedback.migration_files import MigrationFile

AGAIN = "run `dpp-feedback migrate` again"
"""How a sentence ends when something is put right."""

# Only what is missing: `IF NOT EXISTS` would ask for the right to create it all the same. Row level
# security lets whoever is granted to read it see what was applied, and nobody but its owner write,
# whatever is granted, by an older Supabase project's defaults for one. A ledger of an earlier
# version is closed as a new one is.
_CREATE = b"""
DO $$
DECLARE
  outsider name;
BEGIN
  PERFORM set_config('search_path', '', true);
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
    COMMENT ON TABLE dpp_feedback.migrations IS 'What `dpp-feedback migrate` has applied.';
  END IF;
  IF EXISTS (
    SELECT FROM pg_class WHERE oid = 'dpp_feedback.migrations'::regclass
      AND NOT relrowsecurity AND pg_has_role(relowner, 'USAGE')
  ) THEN
    ALTER TABLE dpp_feedback.migrations ENABLE ROW LEVEL SECURITY;
    DROP POLICY IF EXISTS migrations_select ON dpp_feedback.migrations;
    CREATE POLICY migrations_select ON dpp_feedback.migrations FOR SELECT USING (true);
    REVOKE ALL ON TABLE dpp_feedback.migrations FROM PUBLIC;
    FOR outsider IN
      SELECT DISTINCT rolname FROM pg_class, aclexplode(relacl) AS held, pg_roles
      WHERE pg_class.oid = 'dpp_feedback.migrations'::regclass
        AND pg_roles.oid = held.grantee AND held.grantee <> relowner
    LOOP
      EXECUTE format('REVOKE ALL ON TABLE dpp_feedback.migrations FROM %I', outsider);
    END LOOP;
  END IF;
END
$$
"""
_IS_THERE = b"SELECT to_regclass('dpp_feedback.migrations') IS NOT NULL"
_LOCK = b"LOCK TABLE dpp_feedback.migrations IN SHARE ROW EXCLUSIVE MODE"


def create(connection: psycopg.Connection) -> None:
    """Make the ledger unless it is there, and close it to everybody else."""
    with connection.transaction():
        connection.execute(_CREATE)


def missing(connection: psycopg.Connection, files: list[MigrationFile]) -> list[MigrationFile]:
    """Return the files that are not applied, in order.

    Raises:
        MigrationError: the ledger and the files do not belong together.
    """
    ledger: dict[str, str] = {}
    if connection.execute(_IS_THERE).fetchone() == (True,):
        # A ledger that somebody else made may hold nulls.
        ledger = dict(
            connection.execute("SELECT coalesce(name, ''), sha256 FROM dpp_feedback.migrations")
        )
    if newer := sorted(ledger.keys() - {file.name for file in files}):
        raise MigrationError(
            "The database is newer than this dpp_feedback, which does not know "
            f"{shown_name(newer[-1])}: install the version that brought it, or a later one."
        )
    for file in files:
        if ledger.get(file.name, file.sha256) != file.sha256:
            raise MigrationError(
                f"{file.name} was changed after it was applied to this database: put the released "
                f"file back, write the change into a new file, and {AGAIN}."
            )
    return [file for file in files if file.name not in ledger]


def locked_without(connection: psycopg.Connection, file: MigrationFile) -> bool:
    """Keep others from writing until the end of the transaction; say whether a file is missing.

    A runner that was killed may have left a server process behind that is still at it.
    """
    connection.execute(_LOCK)
    found = connection.execute(
        "SELECT FROM dpp_feedback.migrations WHERE name = %s", [file.name]
    ).fetchone()
    return found is None


def record(connection: psycopg.Connection, file: MigrationFile) -> None:
    """Say that a file is applied.

    Raises:
        MigrationError: the ledger does not keep it.
    """
    written = connection.execute(
        "INSERT INTO dpp_feedback.migrations (name, sha256) VALUES (%s, %s)",
        [file.name, file.sha256],
    )
    if written.rowcount != 1:
        raise MigrationError(
            "dpp_feedback.migrations takes rows and keeps none of them: look for a trigger or a "
            f"rule on it that drops them, remove that, and {AGAIN}."
        )
