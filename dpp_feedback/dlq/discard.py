"""Discarding single messages of the dead-letter queue: find, record, delete, in this order.

A discarded message is feedback that is lost, so there is no way to discard what is not named.
How the command asks and what it prints is commands/dlq_act.py's business.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpp_feedback.dlq import rehearsal
from dpp_feedback.dlq.reasons import reason_now
from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.events import Ignored, Rejected
from dpp_feedback.feedback.glance import glance
from dpp_feedback.feedback.parser import anything
from dpp_feedback.masking import masked
from dpp_feedback.queue import looking_seconds
from dpp_feedback.rejects import Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime
    from typing import TypeAlias

    from dpp_feedback.feedback.glance import Glance
    from dpp_feedback.feedback.parser import Admit
    from dpp_feedback.queue import Message, Queue
    from dpp_feedback.store import Store

    Connect: TypeAlias = Callable[[], Store]

NOT_THERE = "It is not there, or somebody else holds it at the moment."
MAX_IDS = 1_000  # what a person can still look through


@dataclass(frozen=True, slots=True)
class Found:
    """A message that is asked for, back in the queue.

    Attributes:
        id: SQS's.
        sent_at: when it came into the queue, aware, in UTC.
        kinds: notification types, as its body says; without addresses, as an unknown one is any
            text.
        reason: as the present parser and Postgres see it; `READABLE` if it would be stored.
    """

    id: str
    sent_at: datetime
    kinds: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Discarded:
    """What became of the messages that were to go.

    Attributes:
        gone: ids that are recorded and deleted.
        left: why a message is still in the queue, or was not there, by id.
        not_recorded: why the record of the act is not finished; "" if it is.
    """

    gone: frozenset[str]
    left: Mapping[str, str]
    not_recorded: str


def find(
    dead_letters: Queue, connect: Connect, ids: Collection[str], admit: Admit = anything
) -> tuple[list[Found], str]:
    """Look for messages, and make sure that a discard can be recorded.

    Args:
        dead_letters: the queue.
        connect: opens the database.
        ids: which.
        admit: see `parser.Admit`.

    Returns:
        Those that are there, oldest first; and why others may have been overlooked, or "".

    Raises:
        SettingError, DatabaseRefused, DatabaseUnavailable: nothing can be recorded.
        AwsRefused, AwsUnavailable: the queue cannot be looked at.
    """
    wanted = frozenset(ids)
    with connect() as store:
        store.check()
    sent: dict[str, datetime] = {}
    glances: dict[str, Glance] = {}
    with dead_letters.look() as look:
        for message in look:
            if message.id in wanted:
                sent[message.id] = message.sent_at
                glances[message.id] = glance(message.body, message.sent_at, admit)
                if len(glances) == len(wanted):
                    break
    with connect() as store:
        refused = rehearsal.refused(store, glances)
    found = [
        Found(
            id=id_,
            sent_at=sent[id_],
            kinds=tuple(masked(kind) for kind in seen.kinds),
            reason=reason_now(seen, id_, refused),
        )
        for id_, seen in glances.items()
    ]
    why_partial = "" if look.complete or len(found) == len(wanted) else look.why_partial
    return sorted(found, key=lambda each: (each.sent_at, each.id)), why_partial


def discard(
    dead_letters: Queue,
    connect: Connect,
    ids: Collection[str],
    *,
    actor: str,
    why: str,
    admit: Admit = anything,
) -> Discarded:
    """Receive the messages anew, record them as discarded, commit, delete them.

    Ended between record and deletion, a message stays, recorded as discarded: the same call with
    the same ids finishes it, once the message is visible again.

    Args:
        dead_letters: the queue.
        connect: opens the database.
        ids: which.
        actor: who, as `actor.actor` says.
        why: for the record; without addresses.
        admit: see `parser.Admit`.

    Raises:
        SettingError, DatabaseRefused, DatabaseUnavailable: it cannot be recorded; nothing is
            deleted.
        AwsRefused, AwsUnavailable: nothing can be received.
    """
    wanted = frozenset(ids)
    depth = dead_letters.depth()
    visibility = looking_seconds(depth)
    taken = dead_letters.receive(
        len(wanted),
        visibility / 3,
        lambda message: message if message.id in wanted else None,
        waiting=depth.waiting,
        visibility_timeout=visibility,
    )
    left = dict.fromkeys(
        sorted(wanted - {message.id for message in taken.messages}), _why_missing(taken.errors)
    )
    if not taken.messages:
        return Discarded(frozenset(), left, "")
    deleting = False
    try:
        with connect() as store:
            rejects = _rejects(store, taken.messages, dead_letters.name, admit)
            record = store.dlq_actions.begin(
                "discard", actor=actor, selection={"message_ids": sorted(wanted)}, why=why
            )
            store.rejects.discard(rejects, by=actor)
        deleting = True
        failed = dead_letters.acknowledge(taken.messages)
    finally:
        if not deleting:
            dead_letters.release(taken.messages)
    gone = {message.id for message in taken.messages} - failed.keys()
    reasons = Counter(reject.reason for reject in rejects if reject.message_id in gone)
    not_recorded = ""
    try:
        with connect() as store:
            store.rejects.reopen(list(failed))
            store.dlq_actions.finish(
                record,
                moved=len(gone),
                counts=reasons,
                error=f"{len(failed)} of {len(rejects)} messages could not be deleted"
                if failed
                else None,
            )
    except FeedbackError as error:
        not_recorded = str(error)
    dead_letters.release([message for message in taken.messages if message.id in failed])
    return Discarded(frozenset(gone), left | failed, not_recorded)


def _rejects(store: Store, messages: Sequence[Message], queue: str, admit: Admit) -> list[Reject]:
    """What is to be recorded of messages, as the present parser and Postgres see them."""
    glances = {message.id: glance(message.body, message.sent_at, admit) for message in messages}
    refused = rehearsal.refused(store, glances)
    return [
        Reject.of(
            message,
            seen,
            reason_now(seen, message.id, refused),
            seen.outcome.detail
            if isinstance(seen.outcome, Rejected | Ignored)
            else refused.get(message.id, "It would have been stored."),
            queue,
        )
        for message, seen in zip(messages, glances.values(), strict=True)
    ]


def _why_missing(errors: list[FeedbackError]) -> str:
    return f"{NOT_THERE} {errors[0]}" if errors else NOT_THERE
