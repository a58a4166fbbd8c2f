"""Opening a connection to Postgres, and saying in a sentence why it, or a statement, fails.

Used by all that runs and by what migrates. No statement stands here, and the setting is only
named, not read.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dpp_feedback.errors import FeedbackError, PassingError
from dpp_feedback.masking import masked

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

# Of libpq; times in seconds, tcp_user_timeout in milliseconds. A server or a network that vanishes
# is so noticed within a minute, where TCP itself takes two hours.
_OPTIONS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "client_encoding": "UTF8",  # whatever the database's own: it says which value it cannot hold
}
_WRITE = (
    "write postgresql://user:password@host:5432/database, and in the password @ / : % # ? as "
    "%40 %2F %3A %25 %23 %3F."
)

# What a server, or a pooler before it, says when trying again cannot help.
_FINAL = re.compile(
    r"password authentication failed|role .* does not exist|database .* does not exist|"
    r"no pg_hba\.conf entry|not permitted to log in|[Tt]enant or user not found|"
    r"^invalid |permission denied for database"
)


LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"
"""Begins a transaction that does not wait for ever for what holds a table or a row."""


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

    # What the address itself says goes first.
    options = {"application_name": application_name, **_OPTIONS, **require_readable(database_url)}
    try:
        return psycopg.connect(
            psycopg.conninfo.make_conninfo(**options), autocommit=True, prepare_threshold=None
        )
    except psycopg.Error as error:
        # libpq tells of each address it tried: 'connection to server at "host", port 5432 failed:
        # FATAL:  ...'.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        said = next((line for line in reversed(lines) if " failed: " in line), lines[0]).strip(" -")
        said = said.rpartition("FATAL:")[2].strip().rstrip(".").removeprefix("connection failed: ")
        if _FINAL.search(said):
            raise DatabaseRefused(
                f"The server does not accept DATABASE_URL: {said}. Check its user, password, "
                "database and options."
            ) from None
        raise DatabaseUnavailable(
            f"The database of DATABASE_URL does not answer: {said}. Check the address and the "
            "server; on a laptop `dpp-feedback up` starts one."
        ) from None


def require_readable(database_url: str) -> dict[str, Any]:
    """Refuse an address whose password would end up in another part, and so in messages.

    Returns:
        Its parts by libpq's names.

    Raises:
        DatabaseRefused: it does, or it is no address at all.
    """
    import psycopg

    try:
        parts = psycopg.conninfo.conninfo_to_dict(database_url)
    except psycopg.ProgrammingError:  # its message quotes the address
        parts = {"port": "unreadable"}
    ports = [port for port in str(parts.get("port") or "").split(",") if port]
    if not all(port.isdecimal() and int(port) < 65536 for port in ports) or any(
        "@" in str(parts.get(part) or "") for part in ("host", "dbname")
    ):
        raise DatabaseRefused(f"DATABASE_URL cannot be read: {_WRITE}")
    return parts


@contextmanager
def explaining(doing: str) -> Iterator[None]:
    """Turn what Postgres refuses inside into a sentence.

    Args:
        doing: what is being done, and to what: "reading public.ses_suppressed_recipients".

    Raises:
        DatabaseRefused, DatabaseUnavailable: a statement failed.
    """
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise explained(error, doing) from None


def explained(error: psycopg.Error, doing: str) -> FeedbackError:
    """Say what a failed statement means, without any value of a row; `doing` as `explaining`."""
    from psycopg import errors

    match error:
        case errors.UndefinedTable():
            return DatabaseRefused(
                f"{doing} fails: a table is missing in the database of DATABASE_URL. Run "
                "`dpp-feedback migrate`."
            )
        case errors.UndefinedColumn() | errors.InvalidColumnReference():
            return DatabaseRefused(
                f"{doing} fails: the database of DATABASE_URL is not of this version. Run "
                "`dpp-feedback migrate`."
            )
        case errors.InsufficientPrivilege():
            return DatabaseRefused(
                f"{doing} fails: the login in DATABASE_URL may not. Use the table's owner, or a "
                "role that the migrations grant it to."
            )
        case errors.ReadOnlySqlTransaction():
            return DatabaseUnavailable(
                "The database of DATABASE_URL is read-only, as a standby is: wait for the "
                "fail-over to end, or name the primary."
            )
        case errors.StringDataRightTruncation():
            return DatabaseRefused(
                f"{doing} fails: {reason(error)}. A column is too narrow: `dpp-feedback doctor` "
                'names it, and docs/runbook.md says under "A column is too narrow" how to mend it.'
            )
        case errors.LockNotAvailable():
            return DatabaseUnavailable(
                f"{doing} waited too long for a lock: see pg_stat_activity, and end what holds it."
            )
        case errors.QueryCanceled():
            return DatabaseUnavailable(
                f"{doing} took longer than the database's statement_timeout allows: raise it for "
                "the login in DATABASE_URL, or choose fewer days."
            )
        case _ if ended(error) or isinstance(
            error, errors.OperationalError | errors.InterfaceError
        ):
            return DatabaseUnavailable(
                f"The database of DATABASE_URL fails: {reason(error)}. See the server's log."
            )
        case _:
            return DatabaseRefused(f"{doing} fails: {reason(error)}.")


def keeps_none(table: str) -> DatabaseRefused:
    """Say that a row was taken without an error, and is not there."""
    return DatabaseRefused(
        f"{table} takes rows and keeps none of them: look for a trigger or a rule on it that drops "
        "them, and remove that."
    )


def ended(error: psycopg.Error) -> bool:
    """Whether the server ended the connection with it, and so says nothing of the statement.

    Some of these errors are of a class that else means a refusal: that of a transaction which was
    idle too long.
    """
    return error.diag.severity_nonlocalized in ("FATAL", "PANIC")


def reason(error: psycopg.Error) -> str:
    """Name an error by its class, SQLSTATE, and the column or constraint; never by a value."""
    # A trigger of somebody's may name anything there.
    where = masked(error.diag.column_name or error.diag.constraint_name or "")
    return f"{type(error).__name__} ({error.sqlstate or 'client'}{f', {where}' if where else ''})"


def storable(text: str, connection: psycopg.Connection, limit: int = 500) -> str:
    """Make a text that any column of type text takes: cut, with ? for what Postgres cannot hold.

    That is NUL, half of a surrogate pair, and in a database that is not in UTF-8 whatever is not
    ASCII. For texts that tell a person something; what must be kept as it is goes elsewhere.

    Args:
        text: any.
        connection: where it is going to.
        limit: length in characters.
    """
    encoding = connection.info.parameter_status("server_encoding")
    cut = text[:limit].replace("\0", "?")
    return cut.encode("utf-8" if encoding == "UTF8" else "ascii", "replace").decode()
