"""What of ours there is in a database, filled; and how to try something without leaving a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from psycopg import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

ADDRESS = "jane.doe@victim.example"
EVENTS = "public.ses_feedback_events"
COUNTS = "public.ses_feedback_daily_counts"
TOTALS = "public.ses_feedback_daily_totals"
REJECTS = "public.ses_feedback_rejects"
ACTIONS = "public.ses_feedback_dlq_actions"
REMOVALS = "public.ses_feedback_removals"
HASHES = "public.ses_suppressed_hashes"
SUPPRESSED = "public.ses_suppressed_recipients"
MASKED = "dpp_feedback.ses_feedback_events_masked"
LEDGER = "dpp_feedback.migrations"

INSERTS = {
    EVENTS: f"""(notification_type, source, primary_recipient, ses_message_id, type_data, event_at,
        dedupe_key, bounce_type, bounce_sub_type)
      VALUES ('Bounce', 'bounce+{ADDRESS.replace("@", "=")}@shop.example', '{ADDRESS}',
        gen_random_uuid()::text, '{{"diagnostic_code": "smtp; 550 <{ADDRESS}>"}}', now(),
        gen_random_uuid()::text, 'Permanent', 'NoEmail')""",
    COUNTS: """VALUES ('2026-02-17', gen_random_uuid()::text, '', '', '', false, '', '', '', 1)""",
    TOTALS: """VALUES ('2026-02-17', gen_random_uuid()::text, '', '', '', false, '', '', 1)""",
    REJECTS: """(message_id, body_sha256, body_bytes, reason, detail, queue, sent_at,
        parser_version, body, body_kept_until)
      VALUES (gen_random_uuid()::text, repeat('0a', 32), 2, 'not_json', 'no JSON', 'q', now(), 1,
        'encrypted', now())""",
    ACTIONS: """(action, actor, selection, dry_run, parser_version)
      VALUES ('discard', 'me', '{}', false, 1)""",
    REMOVALS: """(kind, actor) VALUES ('erasure', 'me')""",
    HASHES: """(recipient_hmac, reason, since)
      VALUES (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'complaint', now())""",
    MASKED: """(notification_type, ses_message_id, event_at) VALUES ('Bounce', 'm', now())""",
    SUPPRESSED: """(recipient) VALUES ('a@b.example')""",
    LEDGER: """(name, sha256) VALUES (gen_random_uuid()::text, '')""",
}
"""What a valid row is, by table or view: what follows INSERT INTO."""

TABLES = [EVENTS, COUNTS, TOTALS, REJECTS, ACTIONS, REMOVALS, HASHES]

DENIED = "denied"


def fill(db: Connection) -> None:
    """Put two rows into each table."""
    for table in TABLES:
        for _ in range(2):
            db.execute(f"INSERT INTO {table} {INSERTS[table]}".encode())
    db.execute("ANALYZE")


def tried(db: Connection, *statements: str) -> str | int:
    """Run statements, and take back what they do.

    Returns:
        DENIED, or how many rows the last of them read or changed.
    """
    outcome, _ = attempted(db, *statements)
    return outcome


def attempted(db: Connection, *statements: str) -> tuple[str | int, Sequence[tuple[Any, ...]]]:
    """As `tried`; and the rows that the last one returned."""
    rows: Sequence[tuple[Any, ...]] = []
    try:
        with db.transaction(force_rollback=True):
            for statement in statements:
                cursor = db.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
            return cursor.rowcount, rows
    except errors.InsufficientPrivilege:
        return DENIED, rows
