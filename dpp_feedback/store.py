"""The event table in Postgres: insert each event once, and say what is wrong with the database.

The tables themselves are made in migrations/; what an event means is feedback/'s business.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dpp_feedback.connection import (
    LOCK_TIMEOUT,
    connect,
    ended,
    explaining,
    keeps_none,
    reason,
)
from dpp_feedback.daily_counts import COUNTED_COLUMNS, COUNTING, DailyCounts
from dpp_feedback.feedback.events import FeedbackEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    import psycopg

    from dpp_feedback.dlq_actions import Actions
    from dpp_feedback.rejects import Rejects
    from dpp_feedback.suppression import Suppression

_INSERTING = "Inserting into public.ses_feedback_events"
_READING = "Reading public.ses_feedback_events"
BATCH = 1000  # rows in one statement; larger ones gain nothing (measured)

_COLUMNS = {
    "notification_type": "text",
    "ses_message_id": "text",
    "feedback_id": "text",
    "source": "text",
    "primary_recipient": "text",
    "bounce_type": "text",
    "bounce_sub_type": "text",
    "type_data": "jsonb",
    "configuration_set": "text",
    "event_at": "timestamptz",
    "sns_message_id": "text",
    "dedupe_key": "text",
}
# One binary array for each column: as fast as COPY, without a temporary table, under row-level
# security and through a transaction pooler. jsonb travels as text.
_EVENTS = f"""
WITH event AS (
  SELECT
    {", ".join(f"{name}::jsonb" if kind == "jsonb" else name for name, kind in _COLUMNS.items())}
  FROM unnest({", ".join(f"%b::{'text' if t == 'jsonb' else t}[]" for t in _COLUMNS.values())})
    AS given ({", ".join(_COLUMNS)})
)
"""  # noqa: S608 - made of the constants above, as the others
# It reads no column but the key: ses_feedback_writer may read no other.
_ROWS = f"""
INSERT INTO public.ses_feedback_events ({", ".join(_COLUMNS)})
SELECT {", ".join(_COLUMNS)} FROM event
ON CONFLICT (dedupe_key) DO NOTHING
RETURNING dedupe_key
"""  # noqa: S608
_REHEARSE = f"{_EVENTS} {_ROWS}"
# What is new is counted in the same statement, so that nothing is ever stored and not counted, or
# counted twice.
_INSERT = f"""
{_EVENTS},
inserted AS ({_ROWS}),
new AS (SELECT {COUNTED_COLUMNS} FROM event JOIN inserted USING (dedupe_key)),
{COUNTING}
SELECT dedupe_key FROM inserted
"""  # noqa: S608
_PRESENT = """
SELECT dedupe_key FROM public.ses_feedback_events WHERE dedupe_key = ANY(%s)
"""
_FIRST = "SELECT min(event_at) FROM public.ses_feedback_events"
_KINDS_BETWEEN = """
SELECT notification_type, count(*) FROM public.ses_feedback_events
WHERE event_at >= %s AND event_at < %s GROUP BY 1
"""
_AFTER = "SELECT count(*) FROM public.ses_feedback_events WHERE event_at > %s"


@dataclass(slots=True)
class Inserted:
    """What became of a batch.

    Attributes:
        new: dedupe keys of the rows that are new; committed, unless it was a rehearsal.
        refused: dedupe keys of rows that Postgres does not take, and why (SQLSTATE and the
            column or constraint; never a value). Not those that the table holds already.
    """

    new: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)


class Store:
    """The event table, through one connection; use it in a `with` statement.

    Args:
        connection: psycopg's, in autocommit mode; `connect` makes one.
        reject_key: the passphrase with which bodies of rejected messages are kept; None: they are
            not.
    """

    def __init__(self, connection: psycopg.Connection, reject_key: str | None = None) -> None:
        self._connection = connection
        self._reject_key = reject_key

    @classmethod
    def connect(cls, database_url: str, reject_key: str | None = None) -> Store:
        """Connect; `reject_key` as the class says.

        Raises:
            DatabaseRefused, DatabaseUnavailable: as `connection.connect`.
        """
        return cls(connect(database_url, "dpp_feedback"), reject_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @property
    def daily_counts(self) -> DailyCounts:
        """The counters that `insert` keeps."""
        return DailyCounts(self._connection)

    @property
    def suppression(self) -> Suppression:
        """Who must not be mailed."""
        from dpp_feedback.suppression import Suppression

        return Suppression(self._connection)

    @property
    def rejects(self) -> Rejects:
        """The messages that could not be stored."""
        from dpp_feedback.rejects import Rejects

        return Rejects(self._connection, self._reject_key)

    @property
    def dlq_actions(self) -> Actions:
        """The record of acts on the dead-letter queue."""
        from dpp_feedback.dlq_actions import Actions

        return Actions(self._connection)

    def check(self) -> None:
        """Make sure that events and rejects can be stored now: insert one each, and take it back.

        Nothing less shows a missing table or column, a missing right, a standby and a trigger
        that swallows rows alike.

        Raises:
            DatabaseRefused, DatabaseUnavailable: they cannot.
        """
        with explaining(_INSERTING), self._connection.transaction(force_rollback=True):
            self._connection.execute(LOCK_TIMEOUT)
            stored = self._connection.execute(_INSERT, _arrays([_probe()])).fetchall()
        if not stored:
            raise keeps_none("public.ses_feedback_events")
        self.rejects.check()

    def insert(
        self,
        events: Sequence[FeedbackEvent],
        outcome: Inserted | None = None,
        *,
        rehearse: bool = False,
    ) -> Inserted:
        """Store events, each exactly once by its dedupe key; committed on return.

        A row that Postgres refuses is found by halving the batch, and does not keep the others
        from being stored.

        Args:
            events: any number.
            outcome: is added to, batch by batch, and returned; a new one if None. After an error
                it holds what is committed, so that the same call with it goes on from there.
            rehearse: find out what would be new and what refused, and take every row back.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the table or the server is at fault, not a row.
        """
        outcome = Inserted() if outcome is None else outcome
        # Sorted, so that two drains that meet the same keys wait for each other in one order
        # and never in a circle.
        rows = sorted(events, key=lambda event: event.dedupe_key)
        # A rehearsal is one transaction: a later row must see the earlier ones, as it will then.
        whole = self._connection.transaction(force_rollback=True) if rehearse else nullcontext()
        with explaining(_INSERTING), whole:
            if rehearse:  # what would be checked at each commit
                self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            # It does not count: the counters it would hold meanwhile are every drain's.
            statement = _REHEARSE if rehearse else _INSERT
            for start in range(0, len(rows), BATCH):
                self._insert(rows[start : start + BATCH], outcome, statement)
            if outcome.refused:  # an event may come in two messages, and one of them be good
                with self._connection.transaction():
                    self._connection.execute(LOCK_TIMEOUT)
                    present = self._connection.execute(_PRESENT, [list(outcome.refused)]).fetchall()
                for (key,) in present:
                    del outcome.refused[key]
        return outcome

    def first_event_at(self) -> datetime | None:
        """When the first event happened; None while there is none.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the table cannot be read.
        """
        with explaining(_READING):
            row = self._connection.execute(_FIRST).fetchone()
        return row[0] if row else None

    def kinds_between(self, since: datetime, until: datetime) -> dict[str, int]:
        """Count events by kind, by when they happened: `since` included, `until` not.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the table cannot be read.
        """
        with explaining(_READING):
            return dict(self._connection.execute(_KINDS_BETWEEN, [since, until]).fetchall())

    def events_after(self, moment: datetime) -> int:
        """Count events that say they happened later.

        Raises:
            DatabaseRefused, DatabaseUnavailable: the table cannot be read.
        """
        with explaining(_READING):
            row = self._connection.execute(_AFTER, [moment]).fetchone()
        return int(row[0]) if row else 0

    def _insert(self, rows: Sequence[FeedbackEvent], outcome: Inserted, statement: str) -> None:
        import psycopg

        try:
            with self._connection.transaction():
                self._connection.execute(LOCK_TIMEOUT)
                # A key that comes twice would be counted twice. Of a batch that is refused each
                # comes to its turn: it may be the second that is good.
                distinct = [next(same) for _, same in groupby(rows, attrgetter("dedupe_key"))]
                stored = self._connection.execute(statement.encode(), _arrays(distinct)).fetchall()
        except psycopg.Error as error:
            if not _may_be_a_row(error, len(rows)):
                raise
            if len(rows) == 1:
                outcome.refused[rows[0].dedupe_key] = reason(error)
                return
            # One alone goes first: what holds it up, as a lock does until statement_timeout, holds
            # up any number, and is then waited for twice and not once for each halving.
            for start, end in pairwise(sorted({0, 1, len(rows) // 2, len(rows)})):
                self._insert(rows[start:end], outcome, statement)
        else:
            kept = {key for (key,) in stored}
            # The events' own texts, not copies of them.
            outcome.new.update(row.dedupe_key for row in rows if row.dedupe_key in kept)


def _may_be_a_row(error: psycopg.Error, rows: int) -> bool:
    """Whether fewer rows may fare better: `check` has shown that an ordinary one is taken."""
    from psycopg import errors

    if ended(error):
        return False
    if isinstance(error, errors.QueryCanceled):
        return rows > 1  # statement_timeout: half of it may be in time
    if isinstance(error, errors.ProgramLimitExceeded):  # a value too long for an index
        return True
    return not isinstance(
        error,
        errors.OperationalError
        | errors.InterfaceError
        | errors.UndefinedTable
        | errors.UndefinedColumn
        | errors.ReadOnlySqlTransaction,
    )


def _probe() -> FeedbackEvent:
    """An event of ordinary length: a column too narrow for a rare value must not stop a run.

    Its key is new each time, so that a run waits for no other's.
    """
    name = f"0000000000000000-{uuid4()}"
    return FeedbackEvent(
        notification_type="Delivery",
        ses_message_id=name,
        feedback_id=None,
        source=f"{name}@example.com",  # and so a counter of its own
        primary_recipient="probe@example.com",
        bounce_type=None,
        bounce_sub_type=None,
        type_data={},
        configuration_set=None,
        event_at=datetime.now(UTC),
        sns_message_id=None,
        dedupe_key=name,
    )


def _arrays(rows: Sequence[FeedbackEvent]) -> list[list[Any]]:
    from pydantic_core import to_json

    return [
        [
            to_json(getattr(row, name)).decode() if kind == "jsonb" else getattr(row, name)
            for row in rows
        ]
        for name, kind in _COLUMNS.items()
    ]
