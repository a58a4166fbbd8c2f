"""Where a person may stand in our tables, and the statements that look there and write there.

A row is looked through as a whole, written as text, so that no column can be forgotten: what stands
in one that erasure does not write to is found, and told.
"""

from __future__ import annotations

from dataclasses import dataclass

from dpp_feedback.daily_counts import COUNTED_SOURCE, COUNTERS

PAGE = 20_000  # events looked through with one statement

# OFFSET 0: the row is written as text once, not once for each pattern.
_WRITTEN = "CROSS JOIN LATERAL (SELECT lower({row}) AS line OFFSET 0) AS written"
# With the source as it is counted: jane+label@example.com counts as jane@example.com.
_EVENT = f"event::text || chr(10) || {COUNTED_SOURCE}"
# Functions that take any type are named with their schema: one of just the row's type, which
# somebody made in public, would go before, and be handed whole rows.
_NAMED = (
    "EXISTS (SELECT FROM pg_catalog.unnest(%(patterns)b::text[]) AS p (text)"
    " WHERE strpos(line, text) > 0)"
)

END_OF_PAGE = """
SELECT id FROM public.ses_feedback_events WHERE id > %(after)s ORDER BY id OFFSET %(page)s LIMIT 1
"""
EVENTS_OF_PAGE = f"""
SELECT pg_catalog.to_jsonb(event), {COUNTED_SOURCE}
FROM (
  SELECT * FROM public.ses_feedback_events
  WHERE id > %(after)s AND (%(end)s::uuid IS NULL OR id <= %(end)s)
) AS event {_WRITTEN.format(row=_EVENT)}
WHERE {_NAMED}
"""  # noqa: S608 - as all here, made of constants
EVENTS_AGAIN = f"""
SELECT pg_catalog.to_jsonb(event), {COUNTED_SOURCE} FROM public.ses_feedback_events AS event
WHERE id = ANY (%(ids)b::uuid[]) ORDER BY id FOR UPDATE
"""  # noqa: S608

# Of an event of the person's own stays what it is counted by: the domain, the source as counters
# have it, the kind and the day. Of type_data that are these keys: the values of the first are
# SES's own words, of the last only whether they are there counts.
KEPT = ["bounce_type", "bounce_sub_type", "complaint_sub_type", "complaint_feedback_type"]
MARKED = ["status", "action", "diagnostic_code"]
STRIP_EVENTS = f"""
UPDATE public.ses_feedback_events AS event SET
  primary_recipient =
    CASE WHEN strpos(primary_recipient, '@') > 0
      THEN '@' || split_part(primary_recipient, '@', -1) END,
  source = nullif(own.source, ''),
  ses_message_id = 'erased',
  feedback_id = NULL,
  sns_message_id = NULL,
  dedupe_key = 'erased:' || event.id,
  event_at = date_trunc('hour', event_at, 'UTC'),
  received_at = date_trunc('hour', received_at, 'UTC'),
  type_data = (
    SELECT coalesce(
      jsonb_object_agg(key, CASE WHEN key = ANY ('{{{",".join(KEPT)}}}') THEN value ELSE '""' END),
      '{{}}'
    )
    FROM jsonb_each(type_data) WHERE key = ANY ('{{{",".join(KEPT + MARKED)}}}')
  )
FROM unnest(%(ids)b::uuid[], %(sources)b::text[]) AS own (id, source)
WHERE event.id = own.id
"""  # noqa: S608
REWRITE_EVENT = """
UPDATE public.ses_feedback_events SET
  source = nullif(%(source)s, ''), type_data = %(type_data)s,
  ses_message_id = %(ses_message_id)s, feedback_id = %(feedback_id)s,
  sns_message_id = %(sns_message_id)s,
  dedupe_key = CASE WHEN %(key_too)s THEN 'erased:' || id ELSE dedupe_key END
WHERE id = %(id)s
"""
OTHERS_OF_DOMAIN = """
SELECT count(*) FROM (
  SELECT DISTINCT primary_recipient FROM public.ses_feedback_events
  WHERE primary_recipient LIKE '_%%@%%'
    AND split_part(primary_recipient, '@', -1) = ANY (%(domains)b)
    AND primary_recipient <> ALL (%(addresses)b)
) AS other
"""
SUPPRESSED = """
SELECT recipient, reason, since FROM public.ses_suppressed_recipients WHERE recipient = ANY (%b)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A small table that erasure looks through.

    Attributes:
        key: its primary key.
        columns: those that erasure writes to: text, but for `json`.
        json: the one of them that is jsonb; "" if none is.
    """

    table: str
    key: str
    columns: tuple[str, ...]
    json: str = ""

    @property
    def find(self) -> str:
        """Its rows that may name the person, without bodies; locked where asked for."""
        return (
            f"SELECT {self.key}::text, pg_catalog.to_jsonb(place) - 'body' "  # noqa: S608
            f"FROM {self.table} AS place {_WRITTEN.format(row='place::text')} "
            f"WHERE {_NAMED} ORDER BY 1"
        )

    @property
    def rewrite(self) -> str:
        """Write its columns; the parameters have their names."""
        values = ", ".join(
            f"{name} = %({name})s" + ("::jsonb" if name == self.json else "")
            for name in self.columns
        )
        return f"UPDATE {self.table} SET {values} WHERE {self.key}::text = %(key)s"  # noqa: S608


REJECTS = Place(
    "public.ses_feedback_rejects",
    "message_id",
    ("detail", "kind", "topic_arn", "queue", "resolved_by"),
)
PLACES = (
    REJECTS,
    Place(
        "public.ses_feedback_dlq_actions",
        "id",
        ("actor", "selection", "why", "error"),
        json="selection",
    ),
    Place("public.ses_feedback_removals", "id", ("actor", "error")),
)
BODIES = """
SELECT message_id, body_kept_until FROM public.ses_feedback_rejects
WHERE body IS NOT NULL ORDER BY message_id
"""
DROP_BODIES = """
UPDATE public.ses_feedback_rejects SET body = NULL, body_kept_until = NULL
WHERE message_id = ANY (%b)
"""


def counters_naming(table: str) -> str:
    """Find what texts of a counter's keys may name the person."""
    texts = ", ".join(name for name in COUNTERS[table] if name not in ("day", "automatic_reply"))
    return (
        f"SELECT DISTINCT {texts} FROM {table} AS counter "  # noqa: S608
        f"{_WRITTEN.format(row='counter::text')} WHERE {_NAMED}"
    )


def text_columns(table: str) -> list[str]:
    """Name the columns that `counters_naming` returns."""
    return [name for name in COUNTERS[table] if name not in ("day", "automatic_reply")]


def lock_counters(table: str) -> str:
    """Lock the counts of sources, in the order in which drains take them."""
    order = ", ".join(COUNTERS[table])
    return f"SELECT FROM {table} WHERE source = ANY (%(old)b) ORDER BY {order} FOR UPDATE"


def move_counters(table: str) -> str:
    """Count under new sources what was counted under old ones."""
    columns = ", ".join(COUNTERS[table])
    renamed = ", ".join(
        f"{COUNTED_SOURCE.replace('source', 'renamed.new')} AS source" if name == "source" else name
        for name in COUNTERS[table]
    )
    numbers = ", ".join(str(number) for number in range(1, len(COUNTERS[table]) + 1))
    return f"""
WITH gone AS (DELETE FROM {table} WHERE source = ANY (%(old)b) RETURNING *)
INSERT INTO {table} AS counter ({columns}, count)
SELECT {renamed}, sum(count)
FROM gone JOIN unnest(%(old)b::text[], %(new)b::text[]) AS renamed (old, new)
  ON gone.source = renamed.old COLLATE "C"
GROUP BY {numbers} ORDER BY {numbers}
ON CONFLICT ({columns}) DO UPDATE SET count = counter.count + excluded.count
"""  # noqa: S608
