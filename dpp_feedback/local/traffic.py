"""Simulated SES traffic: how many notifications of what, in which order, from a seed.

Pure: no I/O, no clock, no global random, so that the same arguments always give the same bodies
and a run can be repeated. What a single body looks like is the business of mails.py,
happenings.py and poison.py; publishing is simulate.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Literal, TypeAlias

from dpp_feedback.local.happenings import KINDS, NOTIFIED, Format, Happening, happen
from dpp_feedback.local.mails import compose, whole
from dpp_feedback.local.poison import control, poison

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Topic: TypeAlias = Literal["bounce", "complaint", "delivery"]
Expected: TypeAlias = Literal["stored", "duplicate", "ignored", "rejected"]
FormatChoice: TypeAlias = Literal["notification", "event-publishing", "mixed"]

TOPICS: tuple[Topic, ...] = ("bounce", "complaint", "delivery")
DEFAULT_KINDS = ("Bounce", "Complaint", "Delivery")

_WINDOW = timedelta(minutes=60)  # the mails were sent in the hour before `at`,
_SETTLED = timedelta(minutes=1)  # but not in its last minute, so that something can happen to them
_CONTROLS = 0.002  # share of control messages
_OTHER_FORMAT = 0.4  # share of the duplicates that come in the other format, where there is one

# Mail of a list in good order. Only the proportions among the chosen kinds matter.
_WEIGHTS = {
    "Delivery": 90,
    "Bounce": 8,
    "Complaint": 2,
    "Send": 100,
    "Open": 35,
    "Click": 8,
    "DeliveryDelay": 4,
    "Reject": 1,
    "Rendering Failure": 1,
    "Subscription": 1,
}


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to publish, and what must become of it.

    Attributes:
        topic: which of the three topics it goes to.
        body: what SES gives to SNS.
        expected: "stored" (new rows), "duplicate" (its rows are there already), "ignored"
            (acknowledged without rows) or "rejected" (ends in the dead-letter queue).
        dedupe_keys: of the rows that must be there afterwards; none for the last two.
    """

    topic: Topic
    body: str
    expected: Expected
    dedupe_keys: tuple[str, ...] = ()


def traffic(
    count: int,
    *,
    seed: int,
    at: datetime,
    duplicates: float = 0.05,
    poison: float = 0.01,
    kinds: Sequence[str] = DEFAULT_KINDS,
    format: FormatChoice = "mixed",  # noqa: A002 - the name of the command's option
) -> Iterator[Notification]:
    """Make notifications as SES publishes them, the oldest first.

    Exactly `round(count * duplicates)` repeat an earlier one and exactly `round(count * poison)`
    are broken. From 100 on, about 0.2 % are control messages of SES. The rest are events.

    Args:
        count: how many, all sorts together.
        seed: which ones.
        at: the simulated now; aware. The mails were sent in the hour before it.
        duplicates: share of repeats, 0 to 1. With format "mixed" some come in the other format,
            as when identity notifications and event publishing are both on.
        poison: share of messages that cannot be stored, 0 to 1.
        kinds: SES's event kinds to choose from, such as "Bounce" or "Rendering Failure".
        format: SES's format; kinds that have no notification are always published as events.

    Raises:
        ValueError: an argument is out of its range.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"kinds must be some of {', '.join(KINDS)}, not {unknown or 'none'}")
    if at.tzinfo is None:
        raise ValueError("at has no time zone")
    if count < 0 or not (0 <= duplicates <= 1 and 0 <= poison <= 1):
        raise ValueError("count must not be negative; duplicates and poison are shares, 0 to 1")
    repeats, broken = round(count * duplicates), round(count * poison)
    controls = max(1, round(count * _CONTROLS)) if count >= 100 else 0
    events = count - repeats - broken - controls
    if events < 0 or (repeats and not events):
        raise ValueError("duplicates and poison leave no room for the events they are made from")
    plan = _Plan(seed, at.astimezone(UTC), events, tuple(kinds), format)
    return plan.play(repeats, broken, controls)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything that decides what event number n is; nothing of it is kept in memory."""

    seed: int
    at: datetime
    events: int
    kinds: tuple[str, ...]
    format: FormatChoice

    def play(self, repeats: int, broken: int, controls: int) -> Iterator[Notification]:
        rng = chance(self.seed, "order")
        order: list[Expected] = ["stored"] * self.events
        order += ["duplicate"] * repeats
        order += ["rejected"] * broken
        order += ["ignored"] * controls
        rng.shuffle(order)
        if repeats:  # nothing can be repeated before the first event
            first, event = order.index("duplicate"), order.index("stored")
            if first < event:
                order[first], order[event] = order[event], order[first]
        told = spoiled = controlled = 0
        for expected in order:
            match expected:
                case "stored":
                    yield self._event(told)
                    told += 1
                case "duplicate":
                    yield self._repeat(rng.randrange(told), rng)
                case "rejected":
                    topic = rng.choice(TOPICS)
                    yield broken_one(self.seed, spoiled, topic, self.at)
                    spoiled += 1
                case "ignored":
                    yield Notification(TOPICS[controlled % 3], control(controlled), "ignored")
                    controlled += 1

    def _event(self, number: int) -> Notification:
        happening, form = self._happening(number)
        return Notification(
            topic_of(happening.kind), happening.body(form), "stored", happening.dedupe_keys
        )

    def _repeat(self, number: int, rng: Random) -> Notification:
        happening, form = self._happening(number)
        twice = self.format == "mixed" and happening.kind in NOTIFIED
        if twice and rng.random() < _OTHER_FORMAT:
            form = "event-publishing" if form == "notification" else "notification"
        return Notification(
            topic_of(happening.kind), happening.body(form), "duplicate", happening.dedupe_keys
        )

    def _happening(self, number: int) -> tuple[Happening, Format]:
        """Event number n is made anew whenever it is needed: repeats cost no memory."""
        rng = chance(self.seed, f"event/{number}")
        part = (number + rng.random()) / self.events  # so that ids ascend with the number
        sent = whole(self.at - _WINDOW + (_WINDOW - _SETTLED) * part)
        kind = rng.choices(self.kinds, [_WEIGHTS[kind] for kind in self.kinds])[0]
        mail = compose(rng, sent)
        form: Format = "event-publishing"
        if kind in NOTIFIED and self.format != "event-publishing":
            form = "notification"
            if self.format == "mixed" and rng.random() < 0.5:
                form = "event-publishing"
        # Servers answer within seconds, people within minutes; nothing happens after `at`.
        delay = rng.expovariate(1 / (3 if kind in {"Bounce", "Delivery"} else 300))
        moment = min(sent + timedelta(seconds=0.2 + delay), self.at)
        return happen(kind, rng, mail, whole(moment)), form


def broken_one(seed: int, number: int, topic: Topic, at: datetime) -> Notification:
    """Make a message that must be rejected; numbers that follow one another differ in sort."""
    rng = chance(seed, f"poison/{number}")
    mail = compose(rng, whole(at - _WINDOW * rng.random()))
    spoiled = happen(rng.choice(("Bounce", "Delivery")), rng, mail, whole(at))
    return Notification(topic, poison(number, spoiled), "rejected")


def chance(seed: int, purpose: str) -> Random:
    """Return a source of chance that the seed and the purpose alone decide."""
    return Random(f"{seed}/{purpose}")  # noqa: S311 - a simulation must be repeatable


def topic_of(kind: str) -> Topic:
    """Say which of the three topics SES's kinds go to."""
    return "bounce" if kind == "Bounce" else "complaint" if kind == "Complaint" else "delivery"
