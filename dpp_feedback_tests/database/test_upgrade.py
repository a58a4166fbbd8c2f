"""A database of the first version, with rows, is migrated on each version of PostgreSQL."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from dpp_feedback.migrate import migrate, migrations_directory
from dpp_feedback_tests.database.servers import as_role

if TYPE_CHECKING:
    from pathlib import Path

    from dpp_feedback_tests.database.servers import Server, Supabase

CREATE = "20260217_create_ses_feedback_events.sql"
# Files for a superuser, which `postgres` of Supabase is not: it finds them done.
GUARD = (
    "20260220_fix_ses_feedback_events_rls_and_guard.sql",
    "20261201_harden_ses_feedback_guard.sql",
)
ADD_EVENTS = """
INSERT INTO public.ses_feedback_events
  (notification_type, primary_recipient, ses_message_id, event_at, dedupe_key)
SELECT 'Bounce', 'a' || n || '@example.com', 'm' || n, '2026-02-17T08:00:00Z', n
FROM generate_series(1, 500) AS n
"""
# What is built beforehand where there are rows, and by the files themselves where there are none.
INDEXES = """
SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index
WHERE indrelid = 'public.ses_feedback_events'::regclass ORDER BY 1
"""
COUNTED = "SELECT sum(count) FROM public.ses_feedback_daily_totals"


@pytest.mark.parametrize("supabase", [None, "old"])
def test_a_database_with_rows_ends_as_one_without(
    server: Server, tmp_path: Path, supabase: Supabase
) -> None:
    (tmp_path / CREATE).write_bytes((migrations_directory() / CREATE).read_bytes())
    found = []
    for rows in (True, False):
        url = server.new_database(supabase)
        login = as_role(url, "postgres")
        with (
            closing(psycopg.connect(url, autocommit=True)) as db,
            closing(psycopg.connect(login, autocommit=True)) as owner,
        ):
            migrate(login, tmp_path)
            for name in GUARD:
                db.execute((migrations_directory() / name).read_bytes())
            if rows:
                owner.execute(ADD_EVENTS)
            migrate(login)
            found.append(db.execute(INDEXES).fetchall())
            assert db.execute(COUNTED).fetchone() == (500 if rows else None,)
    assert found[0] == found[1]
    assert all(valid for _, valid in found[0])
