"""Addresses that are erased and stay suppressed: `public.ses_suppressed_hashes`.

The hash is keyed, for addresses can be guessed: without SES_FEEDBACK_ERASURE_KEY nobody can look
for one. The key is in the setting and never in the database.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from dpp_feedback.connection import explaining

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

_KNOWN = "SELECT EXISTS (SELECT FROM public.ses_suppressed_hashes WHERE recipient_hmac = %b)"
_KEEP = """
INSERT INTO public.ses_suppressed_hashes (recipient_hmac, reason, since) VALUES (%b, %s, %s)
ON CONFLICT (recipient_hmac) DO NOTHING
"""
_FORGET = "DELETE FROM public.ses_suppressed_hashes WHERE recipient_hmac = %b"


def hash_of(address: str, key: str) -> bytes:
    """Return HMAC-SHA256 of an address in lower case; both are taken as UTF-8.

    pgcrypto says the same: `hmac(address, key, 'sha256')`.
    """
    return hmac.digest(key.encode(), address.lower().encode(), "sha256")


def known(connection: psycopg.Connection, recipient_hmac: bytes) -> bool:
    """Whether a hash is kept.

    Raises:
        DatabaseRefused, DatabaseUnavailable: the table cannot be read.
    """
    with explaining("Reading public.ses_suppressed_hashes"):
        row = connection.execute(_KNOWN, [recipient_hmac]).fetchone()
    return bool(row and row[0])


def keep(
    connection: psycopg.Connection, recipient_hmac: bytes, reason: str, since: datetime
) -> None:
    """Keep a hash; within a transaction of the caller's, or committed. Psycopg's errors come up."""
    connection.execute(_KEEP, [recipient_hmac, reason, since])


def forget(connection: psycopg.Connection, recipient_hmac: bytes) -> int:
    """Remove a hash, likewise.

    Returns:
        1, or 0 if none was kept.
    """
    return connection.execute(_FORGET, [recipient_hmac]).rowcount
