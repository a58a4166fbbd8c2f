"""Messages that could not be stored: `public.ses_feedback_rejects`, one row for each.

A row follows a message from its first rejection to what became of it. SQS gives a redriven message
a new id, so rows of redriven messages are also known by the hash of the body. The message itself
stays in SQS; with a key its body is kept here as well, encrypted by pgcrypto.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dpp_feedback.connection import DatabaseRefused, explaining, storable
from dpp_feedback.feedback.events import RejectedReason
from dpp_feedback.feedback.parser import PARSER_VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    import psycopg
    from psycopg.sql import Composable

BODY_DAYS = 30
"""For so long a body is kept, from when it was last seen."""

_BATCH = 1000  # rows in one statement, as in store.py
_WRITING = "Writing to public.ses_feedback_rejects"
_READING = "Reading public.ses_feedback_rejects"

# Whoever changes rows holds this lock until its transaction ends. Two that meet the same rows so
# never wait for each other in a circle, and no redriven row is taken over twice. A lock of the
# transaction, not of the session, goes through a transaction pooler.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('dpp_feedback.rejects', 0))"

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
_RENAME = _TAKE_OVER.format(change="message_id = unknown.message_id, redriven_at = NULL")
_REPROCESSED = """
resolution = 'reprocessed', resolved_at = now(), resolved_by = %(by)s,
resolved_run_id = %(run_id)s, body = NULL, body_kept_until = NULL
"""
_RESOLVE_BY_BODY = _TAKE_OVER.format(change=_REPROCESSED)
_RESOLVE_BY_ID = f"""
UPDATE public.ses_feedback_rejects SET {_REPROCESSED}
WHERE resolution = 'waiting' AND message_id = ANY (%(ids)b::text[])
"""  # noqa: S608 - as all here, made of constants
# OFFSET 0 keeps Postgres from reading the whole table where it knows little about it: each id is
# looked up, which takes 2 us.
_ANY_TO_RESOLVE = """
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
  last_seen_at = now(), times_seen = kept.times_seen + 1,
  parser_version = excluded.parser_version,
  last_run_id = coalesce(excluded.last_run_id, kept.last_run_id), redriven_at = NULL,
  resolution = excluded.resolution, resolved_at = excluded.resolved_at,
  resolved_by = excluded.resolved_by, resolved_run_id = NULL,
  body = CASE WHEN excluded.resolution = 'waiting' THEN coalesce(excluded.body, kept.body) END,
  body_kept_until = CASE WHEN excluded.resolution = 'waiting'
    THEN coalesce(excluded.body_kept_until, kept.body_kept_until) END
"""  # noqa: S608
_REOPEN = """
UPDATE public.ses_feedback_rejects
SET resolution = 'waiting', resolved_at = NULL, resolved_by = NULL, resolved_run_id = NULL
WHERE resolution = 'discarded' AND message_id = ANY (%b::text[])
"""
_REFUSED = f"""
SELECT message_id FROM public.ses_feedback_rejects
WHERE resolution = 'waiting' AND reason = '{RejectedReason.REFUSED_BY_DATABASE}'
"""  # noqa: S608
_WAITING = """
SELECT reason, count(*), count(*) FILTER (WHERE parser_version < %s)
FROM public.ses_feedback_rejects WHERE resolution = 'waiting' GROUP BY 1 ORDER BY 2 DESC, 1
"""
_JUDGE = """
UPDATE public.ses_feedback_rejects AS kept
SET reason = judged.reason, detail = judged.detail, parser_version = %(parser_version)s
FROM unnest(%(ids)b::text[], %(reasons)b::text[], %(details)b::text[])
  AS judged (message_id, reason, detail)
WHERE kept.message_id = judged.message_id AND kept.resolution = 'waiting'
"""
_EXPIRE = """
UPDATE public.ses_feedback_rejects
SET resolution = 'expired', resolved_at = now(), resolved_run_id = %(run_id)s
WHERE resolution = 'waiting' AND sent_at < %(sent_before)s
  AND (redriven_at IS NULL OR redriven_at < %(sent_before)s)
  AND NOT EXISTS (
    SELECT FROM unnest(%(except_ids)b::text[]) AS seen (id) WHERE seen.id = message_id
  )
"""
_MARK_REDRIVEN = """
UPDATE public.ses_feedback_rejects SET redriven_at = now(), queue = %s
WHERE resolution = 'waiting'
"""
_DROP_OLD_BODIES = """
UPDATE public.ses_feedback_rejects SET body = NULL, body_kept_until = NULL
WHERE body IS NOT NULL AND body_kept_until < now()
"""
_SCHEMA_OF_PGCRYPTO = """
SELECT nspname FROM pg_catalog.pg_extension
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'pgcrypto'
"""


class Resolution(StrEnum):
    """What became of a message that was rejected."""

    WAITING = "waiting"
    REPROCESSED = "reprocessed"
    DISCARDED = "discarded"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A rejected message, to be recorded; its body stays out of its repr, and so out of logs.

    Attributes:
        message_id: of SQS.
        body: as SQS delivered it.
        reason: a `RejectedReason`.
        detail: the same for a person; without addresses. Cut to 500 characters when recorded.
        kind: kind of event that the body names, if any.
        topic_arn: SNS topic that the body names, if any.
        queue: name of the queue it is in.
        sent_at: SQS's `SentTimestamp`; aware.
    """

    message_id: str
    body: str = field(repr=False)
    reason: str
    detail: str
    kind: str | None
    topic_arn: str | None
    queue: str
    sent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectRow:
    """A row of the table, as the comments of its columns say; times are aware."""

    message_id: str
    body_sha256: str
    body_bytes: int
    reason: str
    detail: str
    kind: str | None
    topic_arn: str | None
    queue: str
    sent_at: datetime
    first_seen_at: datetime
    last_seen_at: datetime
    times_seen: int
    parser_version: int
    last_run_id: str | None
    resolution: Resolution
    resolved_at: datetime | None
    resolved_by: str | None
    resolved_run_id: str | None
    body_kept_until: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many messages wait.

    Attributes:
        by_reason: number by reason, the most frequent first.
        older: how many of them an older parser rejected, so that they may be readable by now.
    """

    by_reason: Mapping[str, int]
    older: int


_COLUMNS = [column.name for column in fields(RejectRow)]
_FIND = f"""
SELECT {", ".join(_COLUMNS)}
FROM public.ses_feedback_rejects WHERE message_id = ANY (%b::text[])
"""  # noqa: S608


class Rejects:
    """The table, through one connection in autocommit mode. `Store.rejects` is one.

    Args:
        connection: psycopg's.
        key: the passphrase that bodies are encrypted with; None: they are not kept.
    """

    def __init__(self, connection: psycopg.Connection, key: str | None = None) -> None:
        self._connection = connection
        self._key = key

    def check(self) -> None:
        """Make sure that a reject can be recorded now: record one, and take it back.

        Raises:
            DatabaseRefused, DatabaseUnavailable: it cannot.
        """
        name = str(uuid4())
        probe = Reject(
            message_id=name,
            body=name,
            reason=RejectedReason.NOT_JSON,
            detail="a probe",
            kind=None,
            topic_arn=None,
            queue="probe",
            sent_at=datetime.now(UTC),
        )
        with explaining(_WRITING), self._connection.transaction(force_rollback=True):
            self._connection.execute("SET LOCAL lock_timeout = '10s'")
            recorded = self._upsert([probe], Resolution.WAITING, by=None, run_id=None)
        if not recorded:
            raise DatabaseRefused(
                "public.ses_feedback_rejects takes rows and keeps none of them: look for a "
                "trigger or a rule on it that drops them, and remove that."
            )

    def record(self, rejects: Sequence[Reject], *, run_id: str | None) -> None:
        """Record rejected messages; committed on return. A message id that comes twice counts once.

        A message that is known counts as seen once more, and waits again if it was resolved: it
        evidently is still there. One that is not known takes over the row of a redriven message
        with the same body, if there is one.

        Args:
            rejects: any number.
            run_id: Dagster run that rejected them.

        Raises:
            DatabaseRefused, DatabaseUnavailable: they cannot be recorded.
        """
        self._write(rejects, Resolution.WAITING, by=None, run_id=run_id)

    def discard(self, rejects: Sequence[Reject], *, by: str) -> None:
        """Record messages as discarded, known or not; committed on return.

        To be done before they are deleted; `reopen` is for those whose deletion fails.

        Args:
            rejects: any number.
            by: who discards them.

        Raises:
            DatabaseRefused, DatabaseUnavailable: they cannot be recorded.
        """
        self._write(rejects, Resolution.DISCARDED, by=by, run_id=None)

    def reopen(self, message_ids: Sequence[str]) -> None:
        """Let discarded messages wait again.

        Raises:
            DatabaseRefused, DatabaseUnavailable: they cannot be changed.
        """
        with self._changing():
            self._connection.execute(_REOPEN, [self._texts(message_ids)])

    def resolve_stored(
        self, messages: Sequence[tuple[str, str]], *, by: str, run_id: str | None
    ) -> int:
        """Resolve the rows of messages that are stored, or hold nothing to store.

        A message without a row of its own resolves one of a redriven message with the same body.

        Args:
            messages: message id and body of each; ids that no row has cost next to nothing.
            by: who, or what.
            run_id: Dagster run that stored them.

        Returns:
            The number of rows that waited and do no more.

        Raises:
            DatabaseRefused, DatabaseUnavailable: they cannot be read or changed.
        """
        bodies = dict(messages)
        ids = self._texts(bodies)
        with explaining(_READING):
            row = self._connection.execute(_ANY_TO_RESOLVE, [ids]).fetchone()
        by_id, redriven = row or (False, False)
        if not (by_id or redriven):
            return 0
        values = {"ids": ids, "by": self._text(by), "run_id": self._text(run_id)}
        resolved = 0
        with self._changing():
            if redriven:  # first: rows that are resolved by their id are no other message's
                values["hashes"] = [_sha256(_bytes(body)) for body in bodies.values()]
                resolved += self._connection.execute(_RESOLVE_BY_BODY, values).rowcount
            return resolved + self._connection.execute(_RESOLVE_BY_ID, values).rowcount

    def refused(self) -> frozenset[str]:
        """Name the messages that wait because Postgres refused a row of theirs.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the table cannot be read.
        """
        with explaining(_READING):
            return frozenset(name for (name,) in self._connection.execute(_REFUSED))

    def find(self, message_ids: Sequence[str]) -> dict[str, RejectRow]:
        """Read the rows of messages, by message id; those without a row are left out.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the table cannot be read.
        """
        with explaining(_READING):
            rows = self._connection.execute(_FIND, [self._texts(message_ids)]).fetchall()
        return {row.message_id: row for row in map(_row, rows)}

    def waiting(self) -> Waiting:
        """Count the messages that wait.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the table cannot be read.
        """
        with explaining(_READING):
            rows = self._connection.execute(_WAITING, [PARSER_VERSION]).fetchall()
        return Waiting(
            {reason: number for reason, number, _ in rows}, sum(older for *_, older in rows)
        )

    def judge(self, verdicts: Mapping[str, tuple[str, str]]) -> None:
        """Record why the present parser rejects messages that wait; no sighting of them.

        Args:
            verdicts: message id -> reason and detail; ids without a waiting row change nothing.

        Raises:
            DatabaseRefused, DatabaseUnavailable: they cannot be recorded.
        """
        values = {
            "ids": self._texts(verdicts),
            "reasons": self._texts(reason for reason, _ in verdicts.values()),
            "details": self._texts(detail for _, detail in verdicts.values()),
            "parser_version": PARSER_VERSION,
        }
        with self._changing():
            self._connection.execute(_JUDGE, values)

    def expire(
        self, sent_before: datetime, *, except_ids: Collection[str], run_id: str | None
    ) -> int:
        """Resolve the rows of messages that SQS has deleted.

        Args:
            sent_before: now less the retention period; aware. A redriven message counts as sent
                when it was redriven.
            except_ids: messages that were seen just now, whatever their row says.
            run_id: Dagster run that found out.

        Returns:
            The number of rows that waited and do no more.

        Raises:
            DatabaseRefused, DatabaseUnavailable: they cannot be changed.
        """
        values = {
            "sent_before": sent_before,
            "except_ids": self._texts(except_ids),
            "run_id": self._text(run_id),
        }
        with self._changing():
            return self._connection.execute(_EXPIRE, values).rowcount

    def mark_redriven(self, queue: str) -> int:
        """Mark every message that waits as redriven, so that it is known again under a new id.

        All of them: SQS tells nobody when it moves a message to the dead-letter queue, so a row
        may still name the queue that a run met it in. A mark too many is taken off when its
        message is seen under its old id.

        Args:
            queue: name of the queue that was redriven.

        Returns:
            The number of rows that wait.

        Raises:
            DatabaseRefused, DatabaseUnavailable: they cannot be changed.
        """
        with self._changing():
            return self._connection.execute(_MARK_REDRIVEN, [self._text(queue)]).rowcount

    def body(self, message_id: str) -> str | None:
        """Read a body that was kept; None if none is.

        Raises:
            DatabaseRefused: it was kept with another key, or there is no key now.
            DatabaseUnavailable: the database fails.
        """
        from psycopg import errors, sql

        ids = [self._text(message_id)]
        query = "FROM public.ses_feedback_rejects WHERE message_id = %s AND body IS NOT NULL"
        with explaining(_READING):
            if not self._connection.execute(f"SELECT 1 {query}", ids).fetchone():
                return None
            if self._key is None:
                raise DatabaseRefused(
                    f"The body of {message_id} is kept encrypted: set SES_FEEDBACK_REJECT_KEY to "
                    "the key it was kept with."
                )
            decrypted = sql.SQL("SELECT {}(body, %s) {}").format(
                self._pgcrypto("pgp_sym_decrypt_bytea"), sql.SQL(query)
            )
            try:
                row = self._connection.execute(decrypted, [self._key, *ids]).fetchone()
            except errors.ExternalRoutineInvocationException:
                raise DatabaseRefused(
                    f"The body of {message_id} was kept with another key: set "
                    "SES_FEEDBACK_REJECT_KEY to the one of that time."
                ) from None
        return row[0].decode("utf-8", "surrogatepass") if row else None

    def drop_old_bodies(self) -> int:
        """Remove the bodies whose time is over.

        Returns:
            Their number.

        Raises:
            DatabaseRefused, DatabaseUnavailable: they cannot be removed.
        """
        with self._changing():
            return self._connection.execute(_DROP_OLD_BODIES).rowcount

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with explaining(_WRITING), self._connection.transaction():
            self._connection.execute(_LOCK)
            yield

    def _write(
        self,
        rejects: Sequence[Reject],
        resolution: Resolution,
        *,
        by: str | None,
        run_id: str | None,
    ) -> None:
        known = {reject.message_id: reject for reject in rejects}
        if not known:
            return
        rows = [known[message_id] for message_id in sorted(known)]
        hashes = [_sha256(_bytes(reject.body)) for reject in rows]
        with self._changing():
            # All at once: a row whose message is in the next batch is not to be taken over. The
            # rows it changes are whole, whatever becomes of the batches.
            ids = self._texts(reject.message_id for reject in rows)
            self._connection.execute(_RENAME, {"ids": ids, "hashes": hashes})
        for start in range(0, len(rows), _BATCH):
            with self._changing():
                self._upsert(rows[start : start + _BATCH], resolution, by=by, run_id=run_id)

    def _upsert(
        self, rows: Sequence[Reject], resolution: Resolution, *, by: str | None, run_id: str | None
    ) -> int:
        from psycopg import sql

        bodies = [_bytes(reject.body) for reject in rows]
        # What is discarded need not be kept.
        keep = self._key is not None and resolution is Resolution.WAITING
        values: dict[str, Any] = {
            name: [getattr(reject, name) for reject in rows]
            if name == "sent_at"
            else [self._text(getattr(reject, name)) for reject in rows]
            for name in _REPORTED
            if not name.startswith("body_")
        }
        values |= {
            "body_sha256": [_sha256(body) for body in bodies],
            "body_bytes": [len(body) for body in bodies],
            "body": bodies if keep else [None] * len(rows),
            "parser_version": PARSER_VERSION,
            "run_id": self._text(run_id),
            "resolution": resolution.value,
            "by": self._text(by),
            "days": BODY_DAYS,
        }
        encrypted: Composable = sql.SQL("NULL::bytea")
        if keep:
            values["key"] = self._key
            encrypted = sql.SQL("{}(body, %(key)s, 'cipher-algo=aes256')").format(
                self._pgcrypto("pgp_sym_encrypt_bytea")
            )
        statement = sql.SQL(_UPSERT).format(encrypted=encrypted, kept=sql.Literal(keep))
        return self._connection.execute(statement, values).rowcount

    def _pgcrypto(self, function: str) -> Composable:
        """Name a function of pgcrypto where it really is: a key is handed to no namesake."""
        from psycopg import sql

        row = self._connection.execute(_SCHEMA_OF_PGCRYPTO).fetchone()
        if not row:
            raise DatabaseRefused(
                "SES_FEEDBACK_REJECT_KEY is set, and the database of DATABASE_URL cannot encrypt: "
                "run `create extension pgcrypto` in it as a superuser, or unset the key."
            )
        return sql.Identifier(row[0], function)

    def _text(self, text: str | None) -> str | None:
        return None if text is None else storable(text, self._connection)

    def _texts(self, texts: Iterable[str]) -> list[str]:
        return [storable(text, self._connection) for text in texts]


def _row(values: Sequence[Any]) -> RejectRow:
    columns = dict(zip(_COLUMNS, values, strict=True))
    return RejectRow(**columns | {"resolution": Resolution(columns["resolution"])})


def _bytes(body: str) -> bytes:
    # SQS hands on JSON, whose \ud800 is a letter to Python and none to UTF-8.
    return body.encode("utf-8", "surrogatepass")


def _sha256(body: bytes) -> str:
    return sha256(body).hexdigest()
