"""The table of rejected messages: what is asked of it and written to it, each with one call."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dpp_feedback.connection import LOCK_TIMEOUT, explaining, keeps_none, storable
from dpp_feedback.feedback.events import RejectedReason
from dpp_feedback.feedback.parser import PARSER_VERSION
from dpp_feedback.rejects import statements
from dpp_feedback.rejects.bodies import decrypted
from dpp_feedback.rejects.rows import Reject, RejectRow, Resolution, Waiting
from dpp_feedback.rejects.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    import psycopg

_BATCH = 1000  # rows in one statement, as in store.py
_ASKED = 10_000  # ids asked for at a time: ten times as many take 40 MB
_WRITING = "Writing to public.ses_feedback_rejects"
_READING = "Reading public.ses_feedback_rejects"


class Rejects:
    """The table, through one connection in autocommit mode. `Store.rejects` is one.

    Args:
        connection: psycopg's.
        key: the passphrase that bodies are encrypted with; None: they are not kept.
    """

    def __init__(self, connection: psycopg.Connection, key: str | None = None) -> None:
        self._connection = connection
        self._key = key

    @property
    def keeps_bodies(self) -> bool:
        """Whether bodies are kept, so that `record` needs them."""
        return self._key is not None

    def check(self) -> None:
        """Make sure that a reject can be recorded now: record one, and take it back.

        Raises:
            DatabaseRefused, DatabaseUnavailable: it cannot.
        """
        name = str(uuid4())
        probe = Reject(
            message_id=name,
            body_sha256=sha256(name.encode()).hexdigest(),
            body_bytes=len(name),
            body=name,
            reason=RejectedReason.NOT_JSON,
            detail="a probe",
            kind=None,
            topic_arn=None,
            queue="probe",
            sent_at=datetime.now(UTC),
        )
        with explaining(_WRITING), self._connection.transaction(force_rollback=True):
            self._connection.execute(LOCK_TIMEOUT)
            recorded = self._upsert([probe], Resolution.WAITING, by=None, run_id=None)
        if not recorded:
            raise keeps_none("public.ses_feedback_rejects")

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
            self._connection.execute(statements.REOPEN, [self._texts(message_ids)])

    def resolve_stored(
        self, messages: Sequence[tuple[str, str]], *, by: str, run_id: str | None
    ) -> int:
        """Resolve the rows of messages that are stored, or hold nothing to store.

        A message without a row of its own resolves one of a redriven message with the same body.

        Args:
            messages: message id, and SHA-256 of the body in hexadecimal, of each; ids that no row
                has cost next to nothing.
            by: who, or what.
            run_id: Dagster run that stored them.

        Returns:
            The number of rows that waited and do no more.

        Raises:
            DatabaseRefused, DatabaseUnavailable: they cannot be read or changed.
        """
        for start in range(0, len(messages), _ASKED):
            ids = self._texts(name for name, _ in messages[start : start + _ASKED])
            with explaining(_READING), self._connection.transaction():
                self._connection.execute(LOCK_TIMEOUT)
                row = self._connection.execute(statements.ANY_TO_RESOLVE, [ids]).fetchone()
            by_id, redriven = row or (False, False)
            if by_id or redriven:
                break
        else:
            return 0
        hashes = dict(messages)
        ids = self._texts(hashes)
        values = {"ids": ids, "by": self._text(by), "run_id": self._text(run_id)}
        resolved = 0
        with self._changing():
            if redriven:  # first: rows that are resolved by their id are no other message's
                values["hashes"] = list(hashes.values())
                resolved += self._connection.execute(statements.RESOLVE_BY_BODY, values).rowcount
            return resolved + self._connection.execute(statements.RESOLVE_BY_ID, values).rowcount

    def refused(self) -> frozenset[str]:
        """Name the messages that wait because Postgres refused a row of theirs.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the table cannot be read.
        """
        with explaining(_READING):
            return frozenset(name for (name,) in self._connection.execute(statements.REFUSED))

    def find(self, message_ids: Sequence[str]) -> dict[str, RejectRow]:
        """Read the rows of messages, by message id; those without a row are left out.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the table cannot be read.
        """
        with explaining(_READING):
            rows = self._connection.execute(statements.FIND, [self._texts(message_ids)]).fetchall()
        return {row.message_id: row for row in map(_row, rows)}

    def waiting(self) -> Waiting:
        """Count the messages that wait.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the table cannot be read.
        """
        with explaining(_READING):
            rows = self._connection.execute(statements.WAITING, [PARSER_VERSION]).fetchall()
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
            self._connection.execute(statements.JUDGE, values)

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
            return self._connection.execute(statements.EXPIRE, values).rowcount

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
            return self._connection.execute(statements.MARK_REDRIVEN, [self._text(queue)]).rowcount

    def body(self, message_id: str) -> str | None:
        """Read a body that was kept; None if none is.

        Raises:
            DatabaseRefused: it was kept with another key, or there is no key now.
            DatabaseUnavailable: the database fails.
        """
        with explaining(_READING):
            return decrypted(self._connection, storable(message_id, self._connection), self._key)

    def drop_old_bodies(self) -> int:
        """Remove the bodies whose time is over.

        Returns:
            Their number.

        Raises:
            DatabaseRefused, DatabaseUnavailable: they cannot be removed.
        """
        with self._changing():
            return self._connection.execute(statements.DROP_OLD_BODIES).rowcount

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with explaining(_WRITING), self._connection.transaction():
            self._connection.execute(LOCK_TIMEOUT)
            self._connection.execute(statements.LOCK)
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
        # A discarded message leaves no other's row: a copy of it may still lie in the queue.
        if resolution is Resolution.WAITING:
            with self._changing():
                # All at once: a row whose message is in the next batch is not to be taken over.
                # The rows it changes are whole, whatever becomes of the batches.
                ids = self._texts(reject.message_id for reject in rows)
                hashes = [reject.body_sha256 for reject in rows]
                self._connection.execute(statements.RENAME, {"ids": ids, "hashes": hashes})
        for start in range(0, len(rows), _BATCH):
            with self._changing():
                self._upsert(rows[start : start + _BATCH], resolution, by=by, run_id=run_id)

    def _upsert(
        self, rows: Sequence[Reject], resolution: Resolution, *, by: str | None, run_id: str | None
    ) -> int:
        return upsert(self._connection, rows, resolution, by=by, run_id=run_id, key=self._key)

    def _text(self, text: str | None) -> str | None:
        return None if text is None else storable(text, self._connection)

    def _texts(self, texts: Iterable[str]) -> list[str]:
        return [storable(text, self._connection) for text in texts]


def _row(values: Sequence[Any]) -> RejectRow:
    columns = dict(zip(statements.COLUMNS, values, strict=True))
    return RejectRow(**columns | {"resolution": Resolution(columns["resolution"])})
