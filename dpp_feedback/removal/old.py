"""Retention: removes what is older than its time, in batches, while drains go on.

Events go by the day they happened (UTC), the oldest first. The list of who must not be mailed says
the same before and after, for everybody, however far the clock moves on:

- A bounce or a complaint stays as long as its recipient is on the list.
- A delivery stays while it may outweigh one of them: while one from before it is there, and no
  later delivery that says the same.

What stays is looked at again by the next run. Counters are left as they are, and the record says to
which day the events are gone, so that nobody recounts it (daily_counts.py).

A message that comes again finds its event by the dedupe key, and would be counted twice where the
event has gone. SQS keeps a message for at most 14 days, so no event may go before `LEAST_DAYS`.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dpp_feedback.connection import LOCK_TIMEOUT, DatabaseRefused, explaining
from dpp_feedback.errors import FeedbackError
from dpp_feedback.rejects import Rejects
from dpp_feedback.removal import record

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

DEFAULT_DAYS = 400
"""Thirteen months and a few days: each day can be compared with that of the year before."""

LEAST_DAYS = 30
"""Twice as long as SQS keeps a message, which counts once because its event is there."""

BATCH = 5000  # events looked at in one transaction
_REMOVING = "Removing old rows"
_CLOCKS = timedelta(hours=1)  # by which the clocks here and in the database may differ

# Those that somebody else is removing are passed over, so that two never wait in a circle. By kind
# within one moment: bounces and complaints go before the delivery that may outweigh them.
_NEXT = """
SELECT event_at, notification_type, id, primary_recipient FROM public.ses_feedback_events
WHERE event_at < %(before)s
  AND (event_at, notification_type, id) > (%(moment)s, %(kind)s, %(id)s)
ORDER BY event_at, notification_type, id LIMIT %(batch)s
FOR UPDATE SKIP LOCKED
"""
_LISTED = "SELECT recipient FROM public.ses_suppressed_recipients WHERE recipient = ANY (%b)"
_DELETE = "DELETE FROM public.ses_feedback_events WHERE id = ANY (%b)"
# A statement of its own, after the other: it must not see what that has removed.
_DELETE_DELIVERIES = """
DELETE FROM public.ses_feedback_events AS delivery
WHERE id = ANY (%b) AND (
  NOT EXISTS (
    SELECT FROM public.ses_feedback_events AS fault
    WHERE fault.notification_type IN ('Bounce', 'Complaint')
      AND fault.primary_recipient = delivery.primary_recipient
      AND fault.event_at <= delivery.event_at
  )
  OR EXISTS (
    SELECT FROM public.ses_feedback_events AS later
    WHERE later.primary_recipient = delivery.primary_recipient
      AND later.notification_type = 'Delivery'
      AND later.event_at > delivery.event_at AND later.event_at <= now()
      AND NOT EXISTS (
        SELECT FROM public.ses_feedback_events AS bounced
        WHERE bounced.notification_type = 'Bounce'
          AND bounced.primary_recipient = later.primary_recipient
          AND bounced.ses_message_id = later.ses_message_id
      )
  )
)
"""
_OLD = """
SELECT
  count(*),
  count(*) FILTER (
    WHERE notification_type IN ('Bounce', 'Complaint')
      AND primary_recipient IN (SELECT recipient FROM public.ses_suppressed_recipients)
  )
FROM public.ses_feedback_events WHERE event_at < %s
"""
_NOW = """
SELECT now(), coalesce(nullif(current_setting('dpp_feedback.transient_days', true), '')::int, 14)
"""
# A row of a reject is another's only while it waits; those that do not are nobody's any more.
_DELETE_REJECTS = """
DELETE FROM public.ses_feedback_rejects WHERE message_id IN (
  SELECT message_id FROM public.ses_feedback_rejects WHERE resolved_at < %(before)s
  ORDER BY message_id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
)
"""
_DELETE_ACTIONS = """
DELETE FROM public.ses_feedback_dlq_actions WHERE id IN (
  SELECT id FROM public.ses_feedback_dlq_actions WHERE started_at < %(before)s
  ORDER BY id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
)
"""
_COUNT_OTHERS = """
SELECT
  (SELECT count(*) FROM public.ses_feedback_rejects WHERE resolved_at < %(before)s),
  (SELECT count(*) FROM public.ses_feedback_dlq_actions WHERE started_at < %(before)s)
"""


@dataclass(frozen=True, slots=True)
class Removed:
    """What a retention has removed, or would remove.

    Attributes:
        before: events that happened before are old; the beginning of a UTC day, aware. None: no
            number of days is set, and only bodies whose time is over went.
        events: so many events.
        kept: old events that the list of who must not be mailed still rests on.
        rejects: rows of resolved rejects.
        dlq_actions: rows of the record of acts on the dead-letter queue.
        bodies: bodies of rejected messages whose own time is over.
    """

    before: datetime | None
    events: int = 0
    kept: int = 0
    rejects: int = 0
    dlq_actions: int = 0
    bodies: int = 0

    def counts(self) -> dict[str, int]:
        """Return the numbers by their names."""
        return {
            name: getattr(self, name)
            for name in ("events", "kept", "rejects", "dlq_actions", "bodies")
        }


def look(connection: psycopg.Connection, days: int, *, now: datetime | None = None) -> Removed:
    """Say what `remove` would do, and change nothing.

    Args:
        connection: psycopg's, in autocommit mode.
        days: as for `remove`.
        now: as for `remove`.

    Returns:
        `kept` without deliveries, of which a few may stay, too; `bodies` is 0.

    Raises:
        DatabaseRefused, DatabaseUnavailable: as `remove`.
    """
    before = _before(connection, days, now or datetime.now(UTC))
    with explaining("Reading old rows"):
        events = connection.execute(_OLD, [before]).fetchone() or (0, 0)
        others = connection.execute(_COUNT_OTHERS, {"before": before}).fetchone() or (0, 0)
    return Removed(before, events[0] - events[1], events[1], *others)


def remove(
    connection: psycopg.Connection,
    days: int,
    *,
    actor: str,
    run_id: str | None = None,
    now: datetime | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Removed:
    """Remove what is older than so many days; each batch is committed by itself.

    It may be killed at any moment and run again, and two at once do no harm.

    Args:
        connection: psycopg's, in autocommit mode; the login of a maintainer.
        days: 30 or more; whole days of UTC.
        actor: who, without mail address.
        run_id: of Dagster, if a run does it.
        now: the clock of this machine, to be compared with the database's; None: what it says.
        progress: is called after each batch with the number of events removed so far.

    Raises:
        DatabaseRefused: there are too few days, the clocks of database and machine differ, or the
            database refuses.
        DatabaseUnavailable: the database fails. What is removed by then is recorded.
    """
    before = _before(connection, days, now or datetime.now(UTC))
    # First, and committed: from now on these days are not recounted.
    removal = record.begin(connection, actor=actor, events_before=before, run_id=run_id)
    done: Counter[str] = Counter()
    try:
        with explaining(_REMOVING):
            _remove_events(connection, before, done, progress)
            for name, statement in (("rejects", _DELETE_REJECTS), ("dlq_actions", _DELETE_ACTIONS)):
                done[name] = _in_batches(connection, statement, before)
        done["bodies"] = Rejects(connection).drop_old_bodies()
    except Exception as error:
        with suppress(FeedbackError):  # the database is gone
            why = f"It ended early: {type(error).__name__}. The same again goes on from there."
            record.finish(connection, removal, counts=done, error=why)
        raise
    removed = Removed(before, **done)
    record.finish(connection, removal, counts=removed.counts())
    return removed


def _before(connection: psycopg.Connection, days: int, now: datetime) -> datetime:
    """Say before when events are old, by the clock of the database."""
    with explaining("Asking the database for its time"):
        there, transient_days = connection.execute(_NOW).fetchone() or (now, 0)
    if abs(there - now) > _CLOCKS:
        raise DatabaseRefused(
            f"The database's clock says {there.astimezone(UTC):%Y-%m-%d %H:%M} UTC and this "
            f"machine's {now:%Y-%m-%d %H:%M}: one is wrong, and by it too much would be removed. "
            "Set it right first."
        )
    least = max(LEAST_DAYS, transient_days + 1)
    if days < least:
        raise DatabaseRefused(
            f"{days} days are too few: SQS may bring a message again for 14 days, and the rule of "
            f"transient bounces looks back for {transient_days}. Choose {least} or more."
        )
    return datetime.combine(there.astimezone(UTC), datetime.min.time(), UTC) - timedelta(days=days)


def _remove_events(
    connection: psycopg.Connection,
    before: datetime,
    done: Counter[str],
    progress: Callable[[int], None],
) -> None:
    place: dict[str, Any] = {
        "moment": datetime.min.replace(tzinfo=UTC),
        "kind": "",
        "id": "00000000-0000-0000-0000-000000000000",
    }
    while True:
        with connection.transaction():
            connection.execute(LOCK_TIMEOUT)
            rows = connection.execute(_NEXT, {**place, "before": before, "batch": BATCH}).fetchall()
            faults = [row for row in rows if row[1] in ("Bounce", "Complaint") and row[3]]
            who = sorted({row[3] for row in faults})
            listed = {name for (name,) in connection.execute(_LISTED, [who])} if who else set()
            stays = {row[2] for row in faults if row[3] in listed}
            deliveries = {row[2] for row in rows if row[1] == "Delivery"}
            others = [row[2] for row in rows if row[2] not in stays | deliveries]
            removed = connection.execute(_DELETE, [others]).rowcount
            removed += connection.execute(_DELETE_DELIVERIES, [list(deliveries)]).rowcount
        done["events"] += removed
        done["kept"] += len(rows) - removed
        progress(done["events"])
        if len(rows) < BATCH:
            return
        place = dict(zip(("moment", "kind", "id"), rows[-1][:3], strict=True))


def _in_batches(connection: psycopg.Connection, statement: str, before: datetime) -> int:
    removed = 0
    while True:
        with connection.transaction():
            connection.execute(LOCK_TIMEOUT)
            gone = connection.execute(
                statement.encode(), {"before": before, "batch": BATCH}
            ).rowcount
        removed += gone
        if gone < BATCH:
            return removed
