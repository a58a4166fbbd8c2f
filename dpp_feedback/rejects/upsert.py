"""The statement that records rejected or discarded messages, known or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpp_feedback.connection import storable
from dpp_feedback.feedback.parser import PARSER_VERSION
from dpp_feedback.messages import encoded
from dpp_feedback.rejects.bodies import encrypting
from dpp_feedback.rejects.rows import Resolution

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg
    from psycopg.sql import Composable

    from dpp_feedback.rejects.rows import Reject

BODY_DAYS = 30
"""For so long a body is kept, from when it was last seen."""

_REPORTED = {
    "message_id": "text",
    "body_sha256": "text",
    "body_bytes": "int",
    "reason": "text",
    "detail": "text",
    "kind": "text",
    "topic_arn": "text",
    "queue": "text",
    "sent_at": "timestamptz",
}
_UPSERT = f"""
INSERT INTO public.ses_feedback_rejects AS kept (
  {", ".join(_REPORTED)}, parser_version, last_run_id, resolution, resolved_at, resolved_by,
  body, body_kept_until
)
SELECT
  {", ".join(_REPORTED)}, %(parser_version)s, %(run_id)s, %(resolution)s::text,
  CASE WHEN %(resolution)s <> 'waiting' THEN now() END, %(by)s,
  {{encrypted}}, CASE WHEN {{kept}} THEN now() + make_interval(days => %(days)s) END
FROM unnest(
  {", ".join(f"%({name})b::{kind}[]" for name, kind in _REPORTED.items())}, %(body)b::bytea[]
) AS reported ({", ".join(_REPORTED)}, body)
ORDER BY message_id COLLATE "C"
ON CONFLICT (message_id) DO UPDATE SET
  {", ".join(f"{name} = excluded.{name}" for name in _REPORTED if name != "message_id")},
  last_seen_at = now(),
  -- A run that tries again has met the message once.
  times_seen = kept.times_seen + coalesce((kept.last_run_id <> excluded.last_run_id)::int, 1),
  parser_version = excluded.parser_version,
  last_run_id = coalesce(excluded.last_run_id, kept.last_run_id), redriven_at = NULL,
  resolution = excluded.resolution, resolved_at = excluded.resolved_at,
  resolved_by = excluded.resolved_by, resolved_run_id = NULL,
  body = CASE WHEN excluded.resolution = 'waiting' THEN coalesce(excluded.body, kept.body) END,
  body_kept_until = CASE WHEN excluded.resolution = 'waiting'
    THEN coalesce(excluded.body_kept_until, kept.body_kept_until) END
"""  # noqa: S608 - made of constants


def upsert(
    connection: psycopg.Connection,
    rows: Sequence[Reject],
    resolution: Resolution,
    *,
    by: str | None,
    run_id: str | None,
    key: str | None,
) -> int:
    """Record messages; one that is known is met once more.

    Args:
        connection: psycopg's.
        rows: each message once.
        resolution: `WAITING`, or `DISCARDED`.
        by: who discards them.
        run_id: Dagster run that rejected them.
        key: what their bodies are kept with, while they wait; None: they are not kept.

    Returns:
        The number of rows that Postgres has taken.

    Raises:
        DatabaseRefused: there is a key, and the database cannot encrypt.
        psycopg.Error: the database refuses, or fails.
    """
    from psycopg import sql

    def text(value: str | None) -> str | None:
        return None if value is None else storable(value, connection)

    keep = key is not None and resolution is Resolution.WAITING
    values: dict[str, Any] = {
        name: [text(getattr(reject, name)) for reject in rows]
        for name, kind in _REPORTED.items()
        if kind == "text"
    }
    values |= {
        "body_bytes": [reject.body_bytes for reject in rows],
        "sent_at": [reject.sent_at for reject in rows],
        "body": [
            encoded(reject.body) if keep and reject.body is not None else None for reject in rows
        ],
        "parser_version": PARSER_VERSION,
        "run_id": text(run_id),
        "resolution": resolution.value,
        "by": text(by),
        "days": BODY_DAYS,
    }
    encrypted: Composable = sql.SQL("NULL::bytea")
    if keep:
        values["key"] = key
        encrypted = encrypting(connection)
    statement = sql.SQL(_UPSERT).format(encrypted=encrypted, kept=sql.Literal(keep))
    return connection.execute(statement, values).rowcount
