"""Fills the event table with months of events, made by the server itself.

Oldest first and with every index in place, so that table and indexes are as months of drains
leave them. The daily counters are filled as the product mends them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from psycopg import sql

from dpp_feedback.daily_counts import DailyCounts

if TYPE_CHECKING:
    import psycopg

_FIRST = datetime(2025, 8, 1, tzinfo=UTC)
_APART = timedelta(days=180) / 10_000_000
_AT_ONCE = 250_000
_EVENTS = sql.Identifier("public", "ses_feedback_events")

# 90 of 100 are deliveries, 8 bounces, 2 complaints. One of three million people each, some of whom
# get many mails; seven in ten are at three providers, the rest at twenty thousand domains.
_FILL = """
INSERT INTO {table} (
  notification_type, ses_message_id, feedback_id, source, primary_recipient, bounce_type,
  bounce_sub_type, type_data, configuration_set, event_at, sns_message_id, dedupe_key
)
SELECT
  kind, id, CASE WHEN kind <> 'Delivery' THEN id END,
  (ARRAY['news', 'billing', 'hello', 'noreply'])[1 + n %% 4] || '@example.com',
  'person' || person || '@' || CASE
    WHEN person %% 10 < 4 THEN 'gmail.com'
    WHEN person %% 10 < 6 THEN 'naver.com'
    WHEN person %% 10 < 7 THEN 'outlook.com'
    ELSE 'mail' || person %% 20000 || '.example'
  END,
  CASE kind WHEN 'Bounce' THEN 'Permanent' END, CASE kind WHEN 'Bounce' THEN 'General' END,
  CASE kind
    WHEN 'Delivery' THEN jsonb_build_object(
      'processing_time_millis', n %% 5000, 'remote_mta_ip', '203.0.113.7',
      'reporting_mta', 'a8-70.smtp-out.amazonses.com',
      'smtp_response', '250 2.0.0 OK  ' || n || ' 41be03b00d2f7-b6e93d7c1f6si170566a12.123 - gsmtp'
    )
    WHEN 'Bounce' THEN jsonb_build_object(
      'action', 'failed', 'status', '5.1.1',
      'diagnostic_code', 'smtp; 550 5.1.1 The email account ' || n || ' does not exist.'
    )
    ELSE jsonb_build_object('complaint_feedback_type', 'abuse', 'user_agent', 'Example-FBL/1.0')
  END,
  'marketing', event_at, gen_random_uuid(), id || ':' || kind || ':' || left(md5(id), 16)
FROM (
  SELECT *, format(
    '0100%%s-%%s-000000',
    lpad(to_hex((extract(epoch FROM event_at) * 1000)::bigint), 12, '0'), gen_random_uuid()
  ) AS id
  FROM (
    SELECT
      n, %(first)s + n * %(apart)s AS event_at,
      CASE
        WHEN random() < 0.9 THEN 'Delivery'
        WHEN random() < 0.8 THEN 'Bounce'
        ELSE 'Complaint'
      END AS kind,
      (random() * random() * 3000000)::integer AS person
    FROM generate_series(%(begin)s::integer, %(end)s::integer - 1) AS n
  ) AS happened
  OFFSET 0 -- each id is made once
) AS event
"""


def moment(rows: int) -> datetime:
    """When the last of so many events happened."""
    return _FIRST + rows * _APART


def fill(connection: psycopg.Connection[Any], begin: int, end: int) -> None:
    """Add the events from number `begin` up to number `end`, and make the server ready.

    Args:
        connection: in autocommit mode, of an owner who may CHECKPOINT.
        begin: how many there are.
        end: how many there shall be.
    """
    add(connection, begin, end)
    if end > begin:
        DailyCounts(connection).mend(moment(begin).date(), moment(end).date())
    connection.execute("VACUUM (ANALYZE) public.ses_feedback_events")
    connection.execute("VACUUM (ANALYZE) public.ses_feedback_daily_counts")
    connection.execute("CHECKPOINT")


def add(
    connection: psycopg.Connection[Any], begin: int, end: int, table: sql.Identifier = _EVENTS
) -> None:
    """Add the events alone, which nothing counts; `table` has the columns of the events'."""
    for start in range(begin, end, _AT_ONCE):
        numbers = {"begin": start, "end": min(start + _AT_ONCE, end)}
        connection.execute(
            sql.SQL(_FILL).format(table=table), {"first": _FIRST, "apart": _APART, **numbers}
        )
