"""Whether a redrive would help: what would become of a sample of the dead-letter queue now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpp_feedback.dlq import rehearsal
from dpp_feedback.dlq.reasons import IGNORED, READABLE, reason_now
from dpp_feedback.errors import FeedbackError
from dpp_feedback.feedback.glance import glance
from dpp_feedback.feedback.parser import anything

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dpp_feedback.feedback.glance import Glance
    from dpp_feedback.feedback.parser import Admit
    from dpp_feedback.queue import Queue
    from dpp_feedback.store import Store

SAMPLED = 100  # messages


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a redrive would do, by a sample.

    Attributes:
        messages: in the dead-letter queue, roughly.
        in_flight: of these, out of sight now; a redrive does not move them.
        reasons: messages of the sample by what becomes of each now: `READABLE`, `IGNORED`, or why
            it would come back.
        why_partial: why the sample is not the whole queue; "" if it is.
        database: why the database does not take events; "" if it does.
    """

    messages: int
    in_flight: int
    reasons: Mapping[str, int]
    why_partial: str
    database: str

    @property
    def sampled(self) -> int:
        """Messages in the sample."""
        return sum(self.reasons.values())

    @property
    def coming_back(self) -> int:
        """Messages of the sample that would end in the dead-letter queue again."""
        return sum(n for reason, n in self.reasons.items() if reason not in (READABLE, IGNORED))

    @property
    def empty(self) -> bool:
        """Whether nothing is there, also nothing that somebody else has taken for a while."""
        return not self.messages and not self.sampled

    @property
    def why_not(self) -> str:
        """Why a redrive would not help now, and what to do instead; "" if it would."""
        if self.database:
            return f"Nothing could be stored now. {self.database}"
        if not self.sampled:
            return (
                "No message could be looked at, so nobody knows what would come back. "
                f"{self.why_partial}"
            ).strip()
        if self.coming_back:
            sample = "sampled messages" if self.sampled < self.messages else "messages"
            return (
                f"{self.coming_back} of {self.sampled} {sample} would come back to the "
                "dead-letter queue. Mend the cause first; or `dpp-feedback dlq reprocess` stores "
                "what is good and leaves the rest where it is."
            )
        return ""


def examine(dead_letters: Queue, connect: Callable[[], Store], admit: Admit = anything) -> Prospect:
    """Say what a redrive would do: read a sample with the present parser, rehearse its events.

    The sample is handed back at once; nothing is stored.

    Args:
        dead_letters: the queue.
        connect: opens the database; what it raises is a finding.
        admit: see `parser.Admit`.

    Raises:
        AwsRefused, AwsUnavailable: the queue cannot be looked at.
    """
    glances: dict[str, Glance] = {}
    with dead_letters.look() as look:
        for message in look:
            glances[message.id] = glance(message.body, message.sent_at, admit)
            if len(glances) >= SAMPLED:
                break
    refused: dict[str, str] = {}
    database = ""
    try:
        with connect() as store:
            store.check()
            refused = rehearsal.refused(store, glances)
    except FeedbackError as error:
        database = str(error)
    reasons = Counter(reason_now(glanced, id_, refused) for id_, glanced in glances.items())
    return Prospect(
        messages=max(look.depth.waiting + look.depth.in_flight, len(glances)),
        in_flight=look.depth.in_flight,
        reasons=dict(sorted(reasons.items(), key=lambda each: (-each[1], each[0]))),
        why_partial="" if look.complete else look.why_partial,
        database=database,
    )
