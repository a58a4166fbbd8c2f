"""The record of acts on the dead-letter queue: `public.ses_feedback_dlq_actions`.

A row is written before an act begins and completed when it ends, so that one whose process died
is seen too. Rows are never removed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from dpp_feedback.connection import LOCK_TIMEOUT, explaining, keeps_none, storable
from dpp_feedback.feedback.parser import PARSER_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    import psycopg

Action = Literal["reprocess", "redrive", "cancel_redrive", "discard"]

_WRITING = "Writing to public.ses_feedback_dlq_actions"
_BEGIN = """
INSERT INTO public.ses_feedback_dlq_actions
  (action, actor, selection, dry_run, why, run_id, parser_version)
VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id
"""
_FINISH = """
UPDATE public.ses_feedback_dlq_actions
SET finished_at = now(), moved = %s, counts = %s, error = %s WHERE id = %s
"""


class Actions:
    """The record, through one connection in autocommit mode. `Store.dlq_actions` is one."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def begin(
        self,
        action: Action,
        *,
        actor: str,
        selection: Mapping[str, Any],
        dry_run: bool = False,
        run_id: str | None = None,
        why: str | None = None,
    ) -> UUID:
        """Record that an act begins; committed on return.

        Args:
            action: what.
            actor: who.
            selection: the filter, as JSON values; no mail addresses.
            dry_run: whether it only says what it would do.
            run_id: of Dagster, if a run does it.
            why: the operator's reason; cut to 500 characters.

        Returns:
            Its id, for `finish`.

        Raises:
            DatabaseRefused, DatabaseUnavailable: it cannot be recorded, and so should not begin.
        """
        from psycopg.types.json import Jsonb

        with explaining(_WRITING), self._connection.transaction():
            self._connection.execute(LOCK_TIMEOUT)
            row = self._connection.execute(
                _BEGIN,
                [
                    action,
                    self._text(actor),
                    Jsonb(self._json(selection)),
                    dry_run,
                    self._text(why),
                    self._text(run_id),
                    PARSER_VERSION,
                ],
            ).fetchone()
        if not row:
            raise keeps_none("public.ses_feedback_dlq_actions")
        identity: UUID = row[0]
        return identity

    def finish(
        self,
        id: UUID,  # noqa: A002 - the column's name
        *,
        moved: int | None,
        counts: Mapping[str, int],
        error: str | None = None,
    ) -> None:
        """Record how it ended; committed on return.

        Args:
            id: as `begin` returned it.
            moved: how many messages left the queue; None: nobody knows.
            counts: how many messages, by what became of them.
            error: why it ended early, without addresses; None if it did not.

        Raises:
            DatabaseRefused, DatabaseUnavailable: it cannot be recorded.
        """
        from psycopg.types.json import Jsonb

        with explaining(_WRITING), self._connection.transaction():
            self._connection.execute(LOCK_TIMEOUT)
            self._connection.execute(
                _FINISH, [moved, Jsonb(self._json(counts)), self._text(error), id]
            )

    def _text(self, text: str | None) -> str | None:
        return None if text is None else storable(text, self._connection)

    def _json(self, value: Any) -> Any:
        """The same value with texts that jsonb takes."""
        from collections.abc import Mapping

        match value:
            case str():
                return self._text(value)
            case Mapping():
                return {self._json(key): self._json(each) for key, each in value.items()}
            case list() | tuple():
                return [self._json(each) for each in value]
            case _:
                return value
