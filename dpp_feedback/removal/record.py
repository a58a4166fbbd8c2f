"""The record of what was removed: `public.ses_feedback_removals`.

A row is written before anything is removed, so that one whose process died is seen too, and so that
nobody recounts days whose events begin to go. No row names a person who was erased.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpp_feedback.connection import LOCK_TIMEOUT, explaining, keeps_none, storable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    import psycopg

_WRITING = "Writing to public.ses_feedback_removals"
_BEGIN = """
INSERT INTO public.ses_feedback_removals (kind, actor, events_before, run_id)
VALUES (%s, %s, %s, %s) RETURNING id
"""
_FINISH = """
UPDATE public.ses_feedback_removals SET finished_at = now(), counts = %s, error = %s WHERE id = %s
"""


def begin(
    connection: psycopg.Connection,
    *,
    actor: str,
    events_before: datetime | None,
    run_id: str | None = None,
) -> UUID:
    """Record that a removal begins; committed on return.

    Args:
        connection: psycopg's, in autocommit mode.
        actor: who, without mail address.
        events_before: of a retention: events that happened before are to go; a UTC day's beginning,
            aware. None: it is an erasure.
        run_id: of Dagster, if a run does it.

    Returns:
        Its id, for `finish`.

    Raises:
        DatabaseRefused, DatabaseUnavailable: it cannot be recorded, and so must not begin.
    """
    kind = "retention" if events_before else "erasure"
    with explaining(_WRITING), connection.transaction():
        connection.execute(LOCK_TIMEOUT)
        values = [kind, storable(actor, connection), events_before, run_id]
        row = connection.execute(_BEGIN, values).fetchone()
    if not row:
        raise keeps_none("public.ses_feedback_removals")
    identity: UUID = row[0]
    return identity


def finish(
    connection: psycopg.Connection,
    removal: UUID,
    *,
    counts: Mapping[str, int],
    error: str | None = None,
) -> None:
    """Record how a removal ended; committed on return.

    Args:
        connection: as for `begin`.
        removal: as `begin` returned it.
        counts: how many rows, by what became of them.
        error: why it ended early, or what is left, without addresses; None if nothing is.

    Raises:
        DatabaseRefused, DatabaseUnavailable: it cannot be recorded.
    """
    from psycopg.types.json import Jsonb

    with explaining(_WRITING), connection.transaction():
        connection.execute(LOCK_TIMEOUT)
        why = storable(error, connection) if error else None
        connection.execute(_FINISH, [Jsonb(dict(counts)), why, removal])
