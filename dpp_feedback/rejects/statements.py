"""The statements on `public.ses_feedback_rejects` but the one in upsert.py. Nothing runs here."""

from __future__ import annotations

from dataclasses import fields

from dpp_feedback.feedback.events import RejectedReason
from dpp_feedback.rejects.rows import RejectRow

# Whoever changes rows holds this lock until its transaction ends. Two that meet the same rows so
# never wait for each other in a circle, and no redriven row is taken over twice. A lock of the
# transaction, not of the session, goes through a transaction pooler.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('dpp_feedback.rejects', 0))"

# Messages that have no row of their own take over rows of redriven messages with the same body:
# the first message the first row, the second the second. A row whose own message is among those
# reported has evidently kept its id, and is no other's.
_TAKE_OVER = """
WITH unknown AS (
  SELECT message_id, body_sha256,
    row_number() OVER (PARTITION BY body_sha256 ORDER BY message_id) AS copy
  FROM unnest(%(ids)b::text[], %(hashes)b::text[]) AS reported (message_id, body_sha256)
  WHERE NOT EXISTS (
    SELECT FROM public.ses_feedback_rejects AS own WHERE own.message_id = reported.message_id
  )
), redriven AS (
  SELECT message_id, body_sha256,
    row_number() OVER (PARTITION BY body_sha256 ORDER BY sent_at, message_id) AS copy
  FROM public.ses_feedback_rejects
  WHERE resolution = 'waiting' AND redriven_at IS NOT NULL
    AND body_sha256 IN (SELECT body_sha256 FROM unknown)
    AND NOT message_id = ANY (%(ids)b::text[])
)
UPDATE public.ses_feedback_rejects AS kept
SET {change}
FROM unknown JOIN redriven USING (body_sha256, copy)
WHERE kept.message_id = redriven.message_id
"""
RENAME = _TAKE_OVER.format(change="message_id = unknown.message_id, redriven_at = NULL")
_REPROCESSED = """
resolution = 'reprocessed', resolved_at = now(), resolved_by = %(by)s,
resolved_run_id = %(run_id)s, body = NULL, body_kept_until = NULL
"""
RESOLVE_BY_BODY = _TAKE_OVER.format(change=_REPROCESSED)
RESOLVE_BY_ID = f"""
UPDATE public.ses_feedback_rejects SET {_REPROCESSED}
WHERE resolution = 'waiting' AND message_id = ANY (%(ids)b::text[])
"""  # noqa: S608 - as all here, made of constants
# OFFSET 0 keeps Postgres from reading the whole table where it knows little about it: each id is
# looked up, which takes 2 us.
ANY_TO_RESOLVE = """
SELECT
  EXISTS (
    SELECT FROM unnest(%b::text[]) AS done (id) CROSS JOIN LATERAL (
      SELECT FROM public.ses_feedback_rejects
      WHERE message_id = done.id AND resolution = 'waiting' OFFSET 0
    ) AS kept
  ),
  EXISTS (
    SELECT FROM public.ses_feedback_rejects
    WHERE resolution = 'waiting' AND redriven_at IS NOT NULL
  )
"""
REOPEN = """
UPDATE public.ses_feedback_rejects
SET resolution = 'waiting', resolved_at = NULL, resolved_by = NULL, resolved_run_id = NULL
WHERE resolution = 'discarded' AND message_id = ANY (%b::text[])
"""
REFUSED = f"""
SELECT message_id FROM public.ses_feedback_rejects
WHERE resolution = 'waiting' AND reason = '{RejectedReason.REFUSED_BY_DATABASE}'
"""  # noqa: S608
WAITING = """
SELECT reason, count(*), count(*) FILTER (WHERE parser_version < %s)
FROM public.ses_feedback_rejects WHERE resolution = 'waiting' GROUP BY 1 ORDER BY 2 DESC, 1
"""
JUDGE = """
UPDATE public.ses_feedback_rejects AS kept
SET reason = judged.reason, detail = judged.detail, parser_version = %(parser_version)s
FROM unnest(%(ids)b::text[], %(reasons)b::text[], %(details)b::text[])
  AS judged (message_id, reason, detail)
WHERE kept.message_id = judged.message_id AND kept.resolution = 'waiting'
"""
EXPIRE = """
UPDATE public.ses_feedback_rejects
SET resolution = 'expired', resolved_at = now(), resolved_run_id = %(run_id)s
WHERE resolution = 'waiting' AND sent_at < %(sent_before)s
  AND (redriven_at IS NULL OR redriven_at < %(sent_before)s)
  AND NOT EXISTS (
    SELECT FROM unnest(%(except_ids)b::text[]) AS seen (id) WHERE seen.id = message_id
  )
"""
MARK_REDRIVEN = """
UPDATE public.ses_feedback_rejects SET redriven_at = now(), queue = %s
WHERE resolution = 'waiting'
"""
DROP_OLD_BODIES = """
UPDATE public.ses_feedback_rejects SET body = NULL, body_kept_until = NULL
WHERE body IS NOT NULL AND body_kept_until < now()
"""
COLUMNS = [column.name for column in fields(RejectRow)]
FIND = f"""
SELECT {", ".join(COLUMNS)}
FROM public.ses_feedback_rejects WHERE message_id = ANY (%b::text[])
"""  # noqa: S608
