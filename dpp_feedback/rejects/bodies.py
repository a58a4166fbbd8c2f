"""Bodies that are kept: encrypted and decrypted by pgcrypto, in the database. Nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpp_feedback.connection import DatabaseRefused

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Composable

_KEPT = "FROM public.ses_feedback_rejects WHERE message_id = %s AND body IS NOT NULL"
_SCHEMA_OF_PGCRYPTO = """
SELECT nspname FROM pg_catalog.pg_extension
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'pgcrypto'
"""


def encrypting(connection: psycopg.Connection) -> Composable:
    """Make the expression that encrypts the column `body` with the parameter `key`.

    Raises:
        DatabaseRefused: the database has no pgcrypto.
    """
    from psycopg import sql

    return sql.SQL("{}(body, %(key)s, 'cipher-algo=aes256')").format(
        _pgcrypto(connection, "pgp_sym_encrypt_bytea")
    )


def decrypted(connection: psycopg.Connection, message_id: str, key: str | None) -> str | None:
    """Read the body of a message; None if it is not kept.

    Args:
        connection: psycopg's.
        message_id: as the row has it.
        key: what it was encrypted with.

    Raises:
        DatabaseRefused: it was another key, there is none now, or the database has no pgcrypto.
        psycopg.Error: the database fails.
    """
    from psycopg import errors, sql

    if not connection.execute(f"SELECT 1 {_KEPT}", [message_id]).fetchone():
        return None
    if key is None:
        raise DatabaseRefused(
            f"The body of {message_id} is kept encrypted: set SES_FEEDBACK_REJECT_KEY to the key "
            "it was kept with."
        )
    query = sql.SQL("SELECT {}(body, %s) {}").format(
        _pgcrypto(connection, "pgp_sym_decrypt_bytea"), sql.SQL(_KEPT)
    )
    try:
        row = connection.execute(query, [key, message_id]).fetchone()
    except errors.ExternalRoutineInvocationException:
        raise DatabaseRefused(
            f"The body of {message_id} was kept with another key: set SES_FEEDBACK_REJECT_KEY to "
            "the one of that time."
        ) from None
    return row[0].decode("utf-8", "surrogatepass") if row else None


def _pgcrypto(connection: psycopg.Connection, function: str) -> Composable:
    """Name a function of pgcrypto where it really is: a key is handed to no namesake."""
    from psycopg import sql

    row = connection.execute(_SCHEMA_OF_PGCRYPTO).fetchone()
    if not row:
        raise DatabaseRefused(
            "SES_FEEDBACK_REJECT_KEY is set, and the database of DATABASE_URL cannot encrypt: "
            "run `create extension pgcrypto` in it as a superuser, or unset the key."
        )
    return sql.Identifier(row[0], function)
