"""Opening a connection to Postgres, and saying why that fails.

Used by what runs (store.py) and by what migrates (migrate.py). No statement of the product stands
here, and the setting is only named, not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpp_feedback.errors import FeedbackError, PassingError

if TYPE_CHECKING:
    import psycopg

_WRITE = (
    "write postgresql://user:password@host:5432/database, and in the password @ / : % # ? as "
    "%40 %2F %3A %25 %23 %3F."
)

# The server is there, but starting, stopping or full.
_NOT_NOW = (
    "the database system is",
    "sorry, too many clients",
    "too many connections",
    "remaining connection slots",
    "terminating connection",
)


class DatabaseRefused(FeedbackError):
    """The database refuses, and will refuse again until somebody changes something."""


class DatabaseUnavailable(PassingError):
    """The database does not answer, or not now."""


def connect(database_url: str, application_name: str) -> psycopg.Connection:
    """Connect, in autocommit mode: each statement is a transaction unless one is opened.

    Fit for a session as well as for a transaction pooler, which knows no prepared statements.

    Args:
        database_url: as `require_readable` takes it.
        application_name: what `pg_stat_activity` shows.

    Raises:
        DatabaseRefused: the address cannot be read, or the server refuses the login or the
            database.
        DatabaseUnavailable: no server answers.
    """
    import psycopg

    require_readable(database_url)
    try:
        return psycopg.connect(
            database_url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=10,
            application_name=application_name,
        )
    except psycopg.Error as error:
        # libpq tells of each address it tried: 'connection to server at "host", port 5432 failed:
        # FATAL:  ...'. With a message of the server there is nothing to add.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        said = next((line for line in reversed(lines) if " failed: " in line), lines[0]).strip(" -")
        _, fatal, refusal = said.partition("FATAL:")
        if fatal and not refusal.strip().startswith(_NOT_NOW):
            raise DatabaseRefused(
                f"The server does not accept the login of DATABASE_URL: {refusal.strip()}. Check "
                "its user, password and database."
            ) from None
        raise DatabaseUnavailable(
            f"The database of DATABASE_URL does not answer: {said}. Check the address and the "
            "server; on a laptop `dpp-feedback up` starts one."
        ) from None


def require_readable(database_url: str) -> None:
    """Refuse an address whose password would end up in another part, and so in messages.

    Raises:
        DatabaseRefused: it does, or it is no address at all.
    """
    import psycopg

    try:
        parts = psycopg.conninfo.conninfo_to_dict(database_url)
    except psycopg.ProgrammingError:  # its message quotes the address
        parts = {"port": "unreadable"}
    ports = str(parts.get("port") or "").replace(",", "")
    if (ports and not ports.isdecimal()) or any(
        "@" in str(parts.get(part) or "") for part in ("host", "dbname")
    ):
        raise DatabaseRefused(f"DATABASE_URL cannot be read: {_WRITE}")
