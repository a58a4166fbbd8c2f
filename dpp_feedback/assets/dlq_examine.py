"""What lies in the dead-letter queue, found by looking: for the asset `dlq_health`.

The rejects table tells two things that SQS cannot: which messages the database refused, and which
an older parser rejected. In return it learns what the look found. Without it the look goes on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dpp_feedback.dlq.reasons import IGNORED, NOT_KNOWN, READABLE, reason_now
from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.events import Rejected, RejectedReason
from dpp_feedback.feedback.glance import glance
from dpp_feedback.feedback.parser import anything

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dpp_feedback.feedback.parser import Admit
    from dpp_feedback.move_tasks import MoveTask
    from dpp_feedback.queue import Message, Queue
    from dpp_feedback.rejects import Rejects
    from dpp_feedback.resources import FeedbackQueue, FeedbackStore

EXPIRING = timedelta(days=3)
"""Messages that SQS deletes within this time are a matter for today."""

_LOOKED_AT, _LOOKED_AT_BY_A_NEW_PARSER = 1_000, 10_000
# SQS deletes a message some time after its retention; a shortened one takes 15 minutes to be felt.
_SURELY_DELETED = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Health:
    """What is known about the dead-letter queue.

    Attributes:
        waiting, in_flight: messages, roughly: SQS's counts lag by up to a minute.
        reasons: messages looked at by `reason_now`, or `NOT_KNOWN`, the most frequent first.
        looked_at: how many messages that are.
        why_partial: why these are not all there are; "" if they are.
        oldest_age: of the oldest looked at; None without one.
        expiring: messages looked at that SQS deletes within `EXPIRING`.
        retention: how long SQS keeps a message, from when the main queue received it: moving it
            to a dead-letter queue does not change its `SentTimestamp` ("Setting-up dead-letter
            queue retention" in SQS's developer guide).
        older: messages that wait by the rejects table, and that an older parser rejected.
        expired: rows of the rejects table whose message SQS has deleted, as found just now.
        move_task: the latest redrive; None where SQS does not say.
        fed: whether the main queue's redrive policy names this queue; None if that is not known.
        why_not: sentences: what is not known, and why; "" where nothing is missing.
    """

    waiting: int
    in_flight: int
    reasons: Mapping[str, int]
    looked_at: int
    why_partial: str
    oldest_age: timedelta | None
    expiring: int
    retention: timedelta
    older: int
    expired: int
    move_task: MoveTask | None
    fed: bool | None
    why_not: str

    @property
    def messages(self) -> int:
        """How many there are; at least those looked at, whatever the lagging count says."""
        return max(self.waiting + self.in_flight, self.looked_at)

    @property
    def leaving(self) -> int:
        """How many of those looked at would be stored or ignored by now."""
        return self.reasons.get(READABLE, 0) + self.reasons.get(IGNORED, 0)

    @property
    def time_left(self) -> timedelta | None:
        """Until SQS deletes the oldest of those looked at; not below zero."""
        if self.oldest_age is None:
            return None
        return max(self.retention - self.oldest_age, timedelta())


@dataclass(slots=True)
class _Tally:
    """Counts over the messages of one look; no body is kept."""

    admit: Admit = anything
    refused: frozenset[str] = frozenset()
    older: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    seen: dict[str, datetime] = field(default_factory=dict)
    rejected: dict[str, tuple[str, str]] = field(default_factory=dict)
    why_not: str = ""

    def add(self, message: Message) -> None:
        self.seen[message.id] = message.sent_at
        try:
            glanced = glance(message.body, message.sent_at, self.admit)
        except FeedbackError as error:  # SNS gives no certificate: people are told all the same
            self.reasons[NOT_KNOWN] += 1
            self.why_not = str(error)
            return
        reason = reason_now(glanced, message.id, self.refused)
        self.reasons[reason] += 1
        if self.older and isinstance(glanced.outcome, Rejected):
            self.rejected[message.id] = reason, glanced.outcome.detail


def examine(
    dead_letters: Queue,
    main: FeedbackQueue,
    store: FeedbackStore,
    now: datetime,
    run_id: str | None = None,
    admit: Admit = anything,
) -> Health:
    """Ask the queue, look at what lies in it, and let the rejects table know.

    Args:
        dead_letters: the dead-letter queue. One with a redrive policy of its own is not looked at.
        main: the queue that feeds it; it may be missing.
        store: the database; it may be away.
        now: aware.
        run_id: Dagster run.
        admit: see `parser.Admit`.

    Raises:
        AwsRefused, AwsUnavailable: the dead-letter queue cannot be asked, or not received from.
    """
    depth, retention = dead_letters.depth(), dead_letters.retention()
    looking = not dead_letters.redrive_policy()
    tally = _Tally(admit)
    why_not = [_read(store, tally)]
    expired, why_partial = 0, ""
    if looking:
        why_partial = _look(dead_letters, tally)
        why_not.append(tally.why_not)
        if not why_not[0]:
            expired, why = _write(store, tally, now - retention - _SURELY_DELETED, run_id)
            why_not.append(why)
    else:
        why_partial = (
            "The dead-letter queue has a redrive policy of its own, so looking at messages would "
            "move them on: nobody looks."
        )
    try:
        policy = main.connect().redrive_policy()
        fed = policy is not None and policy.target_arn == dead_letters.arn()
    except FeedbackError as error:
        fed = None
        why_not.append(str(error))
    oldest = min(tally.seen.values(), default=None)
    return Health(
        waiting=depth.waiting,
        in_flight=depth.in_flight,
        reasons=dict(sorted(tally.reasons.items(), key=lambda each: (-each[1], each[0]))),
        looked_at=len(tally.seen),
        why_partial=why_partial,
        oldest_age=None if oldest is None else max(now - oldest, timedelta()),
        expiring=sum(sent_at + retention < now + EXPIRING for sent_at in tally.seen.values()),
        retention=retention,
        older=tally.older,
        expired=expired,
        move_task=dead_letters.move_tasks.latest(),
        fed=fed,
        why_not=" ".join(filter(None, why_not)),
    )


def _look(dead_letters: Queue, tally: _Tally) -> str:
    """Fill the tally; return why it is not about the whole queue."""
    limit = _LOOKED_AT_BY_A_NEW_PARSER if tally.older else _LOOKED_AT
    with dead_letters.look() as look:
        for message in look:
            tally.add(message)
            if look.seen == limit:
                break
    return look.why_partial


def _read(store: FeedbackStore, tally: _Tally) -> str:
    """Learn from the rejects table what a look cannot see; return why that failed.

    Nothing is held open meanwhile: a look may take minutes. Kept bodies go here, whose time is
    over, so that they go even where the look fails.
    """
    missing = (
        f"So messages that the database refused count as {READABLE}, and what an older parser "
        "rejected is not known."
    )
    try:
        with store.connect() as database:
            refused, older = database.rejects.refused(), database.rejects.waiting().older
            tally.refused, tally.older = refused, older
            missing = "So bodies whose time is over are still kept."
            database.rejects.drop_old_bodies()
    except FeedbackError as error:
        return f"{error} {missing}"
    return ""


def _write(
    store: FeedbackStore, tally: _Tally, sent_before: datetime, run_id: str | None
) -> tuple[int, str]:
    """Tell the rejects table what the look found; return expired rows, and why that failed."""
    try:
        with store.connect() as database:
            rejects = database.rejects
            if tally.older:
                rejects.judge(tally.rejected | _still_refused(rejects, tally))
            return rejects.expire(sent_before, except_ids=tally.seen, run_id=run_id), ""
    except FeedbackError as error:
        return 0, f"{error} So public.ses_feedback_rejects does not say what this look found."


def _still_refused(rejects: Rejects, tally: _Tally) -> dict[str, tuple[str, str]]:
    """What the database refused and the parser reads as before: only a run finds out more."""
    reason = RejectedReason.REFUSED_BY_DATABASE.value
    ids = (tally.refused & tally.seen.keys()) - tally.rejected.keys()
    return {name: (reason, row.detail) for name, row in rejects.find(sorted(ids)).items()}
