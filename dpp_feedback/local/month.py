"""A simulated month: every mail with one fate, at believable rates, and perhaps an incident.

Where traffic.py mixes an hour of everything, here the numbers mean something: whoever computes
rates from them finds what incidents.py says, on its days and nowhere else.

Pure, as traffic.py is: the same arguments always give the same bodies.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from dpp_feedback.local import words
from dpp_feedback.local.happenings import bounce, complaint, happen
from dpp_feedback.local.incidents import MIN_DAYS, SPIKES, silence_begins, spike_days
from dpp_feedback.local.mails import choose, compose_to, whole
from dpp_feedback.local.pace import Pace
from dpp_feedback.local.traffic import TOPICS, Notification, broken_one, chance, topic_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from random import Random

    from dpp_feedback.local.incidents import Incident, Spike

DUPLICATES = 0.01  # share of repeats, unless told
BOUNCES = 0.012  # of mails, in good order: those that count against the sender
COMPLAINTS = 0.0003
# Other bounces come beside them, by the weights of the table: an out-of-office reply answers a
# mail that was delivered, and what is on the account's suppression list was never sent.
_REASONS = tuple(reason for reason in words.BOUNCES if reason is not words.OUT_OF_OFFICE)
_WEIGHTS = tuple(reason.weight for reason in _REASONS)
_OURS = sum(r.weight for r in _REASONS if r.sub_kind != "OnAccountSuppressionList")
_BOUNCED = BOUNCES * sum(_WEIGHTS) / _OURS
_REPLIES = BOUNCES * words.OUT_OF_OFFICE.weight / _OURS

# Seconds until a server answers, a mailbox for somebody who is away, and somebody who complains.
_SERVER, _MAILBOX, _PERSON = 3, 300, 7_200


def month(
    count: int,
    *,
    days: int,
    seed: int,
    at: datetime,
    incident: Incident | None = None,
    duplicates: float = DUPLICATES,
    poison: float = 0.0,
) -> Iterator[Notification]:
    """Make the notifications of the last days as SES publishes them, the oldest first.

    Every mail goes to one person, and is delivered or bounces; a few of the delivered ones are
    answered later, by a complaint or an out-of-office reply. All are published as events. With
    the incident "silence" each mail has a Send event too, since without them silence cannot be
    told from no mail.

    Args:
        count: how many notifications, all sorts together.
        days: how far back they go; with an incident at least 14.
        seed: which ones.
        at: the simulated now; aware.
        incident: what goes wrong; see incidents.py.
        duplicates: share of exact repeats, 0 to 1.
        poison: share of messages that cannot be stored, 0 to 1.

    Raises:
        ValueError: an argument is out of its range.
    """
    if at.tzinfo is None:
        raise ValueError("at has no time zone")
    if days < 1 or count < 0 or not (0 <= duplicates <= 1 and 0 <= poison <= 1):
        raise ValueError("days and count must not be negative; duplicates and poison are shares")
    if incident and days < MIN_DAYS:
        raise ValueError(f"an incident needs {MIN_DAYS} days or more; the first say what is usual")
    repeats, broken = round(count * duplicates), round(count * poison)
    events = count - repeats - broken
    if events < 0 or (repeats and not events):
        raise ValueError("duplicates and poison leave no room for the events they are made from")
    return _Plan(seed, at.astimezone(UTC), days, incident).play(events, repeats, broken)


class _Mail(NamedTuple):
    number: int
    sent: datetime
    sender: words.Sender
    domain: str


class _Event(NamedTuple):
    """What happens to a mail, when, and for a bounce why."""

    moment: datetime
    kind: str
    mail: _Mail
    reason: words.BounceReason | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything that decides what happens; bodies are made one at a time."""

    seed: int
    at: datetime
    days: int
    incident: Incident | None

    def play(self, events: int, repeats: int, broken: int) -> Iterator[Notification]:
        planned = self._events(events)
        rng = chance(self.seed, "month/order")
        repeated = Counter(rng.choices(range(events), k=repeats))
        spoiled = Counter(rng.randint(0, events) for _ in range(broken))
        number = 0
        for place in range(events + 1):
            for _ in range(spoiled[place]):
                yield broken_one(self.seed, number, rng.choice(TOPICS), self.at)
                number += 1
            if place < events:
                one = self._notification(planned[place])
                yield one
                repeat = Notification(one.topic, one.body, "duplicate", one.dedupe_keys)
                yield from [repeat] * repeated[place]

    def _notification(self, event: _Event) -> Notification:
        number, sent, sender, domain = event.mail
        mail = compose_to(chance(self.seed, f"mail/{number}"), sent, sender, domain)
        rng = chance(self.seed, f"mail/{number}/{event.kind}")
        if event.reason:
            happening = bounce(rng, mail, event.moment, event.reason)
        elif event.kind == "Complaint":
            happening = complaint(rng, mail, event.moment)
        else:
            happening = happen(event.kind, rng, mail, event.moment)
        body = happening.body("event-publishing")
        return Notification(topic_of(event.kind), body, "stored", happening.dedupe_keys)

    def _events(self, number: int) -> list[_Event]:
        """Plan so many events, in the order of their times.

        Slightly more than asked for are planned, and the oldest of them left out: the number is
        exact, and all days but the first are whole.
        """
        pace = Pace.before(self.at, self.days, self._burst)
        silent = self.incident == "silence"
        # Of a mail in the silence only the Send event is there.
        outcomes = 2 - pace.share_since(silence_begins(self.at)) if silent else 1
        a_mail = outcomes + _REPLIES + COMPLAINTS
        mails = self._mails(pace, ceil(number / a_mail * 1.0002) + 3)
        planned = self._fates(mails)
        if silent:
            planned = [event for event in planned if event.moment < silence_begins(self.at)]
            planned += [_Event(mail.sent, "Send", mail) for mail in mails]
        planned.sort(key=lambda event: (event.moment, event.mail.number))
        return planned[len(planned) - number :]

    def _mails(self, pace: Pace, number: int) -> list[_Mail]:
        rng = chance(self.seed, "month/mails")
        mails = []
        for n in range(number):
            sent = whole(pace.moment((n + rng.random()) / number))
            sender, domain = choose(rng, words.SENDERS), choose(rng, words.DOMAINS)
            burst = self._burst(sent)
            if self.spike and rng.random() < burst / (1 + burst):
                sender, domain = self.spike.sender, self.spike.domain
            mails.append(_Mail(n, sent, sender, domain))
        return mails

    def _fates(self, mails: list[_Mail]) -> list[_Event]:
        """Decide what happens to each mail: in fixed numbers, so that no rate hangs on luck."""
        rng = chance(self.seed, "month/fates")
        bounced = {
            mail.number: rng.choices(_REASONS, _WEIGHTS)[0]
            for mail in rng.sample(mails, round(len(mails) * _BOUNCED))
        }
        if self.spike and self.spike.reason:
            hit = self._hit(rng, self.spike, mails)
            bounced |= dict.fromkeys((mail.number for mail in hit), self.spike.reason)
        delivered = [mail for mail in mails if mail.number not in bounced]
        away = rng.sample(delivered, round(len(mails) * _REPLIES))
        until = dict.fromkeys(_angry(delivered, round(len(mails) * COMPLAINTS)), self.at)
        if self.spike and not self.spike.reason:
            # Not a day later: its days stand out, and no others.
            until |= {mail: _day_after(mail.sent) for mail in self._hit(rng, self.spike, delivered)}

        return [
            *(
                self._event(rng, "Bounce", mails[n], _SERVER, reason)
                for n, reason in bounced.items()
            ),
            *(self._event(rng, "Delivery", mail, _SERVER) for mail in delivered),
            *(self._event(rng, "Bounce", mail, _MAILBOX, words.OUT_OF_OFFICE) for mail in away),
            *(self._event(rng, "Complaint", mail, _PERSON, by=end) for mail, end in until.items()),
        ]

    def _event(
        self,
        rng: Random,
        kind: str,
        mail: _Mail,
        takes: float,
        reason: words.BounceReason | None = None,
        by: datetime | None = None,
    ) -> _Event:
        """Let something happen, mostly so many seconds after the mail, and before a time."""
        left = ((by or self.at) - mail.sent).total_seconds()
        seconds = 0.2 + rng.expovariate(1 / takes)
        seconds = seconds if seconds < left else rng.uniform(0, left)
        return _Event(whole(mail.sent + timedelta(seconds=seconds)), kind, mail, reason)

    def _hit(self, rng: Random, spike: Spike, mails: list[_Mail]) -> list[_Mail]:
        """Choose the mails that fare badly in a spike: the same share of them on each day."""
        theirs: dict[date, list[_Mail]] = defaultdict(list)
        for mail in mails:
            if mail[2:] == (spike.sender, spike.domain) and self._in_spike(mail.sent):
                theirs[mail.sent.date()].append(mail)
        days = theirs.values()
        return [mail for day in days for mail in rng.sample(day, round(len(day) * spike.share))]

    @property
    def spike(self) -> Spike | None:
        """The incident, if it is one."""
        return SPIKES.get(self.incident) if self.incident else None

    def _in_spike(self, moment: datetime) -> bool:
        first, last = spike_days(self.at)
        return first <= moment.date() <= last

    def _burst(self, moment: datetime) -> float:
        """How much more mail than usual is sent at a time: 0.2 is 20 %."""
        return self.spike.more if self.spike and self._in_spike(moment) else 0.0


def _angry(delivered: list[_Mail], number: int) -> Iterator[_Mail]:
    """Choose mails that are complained of: at even distances, at one provider after another.

    AWS sets complaints against the mails of the providers that any came from. Left to chance, the
    few of a month could fall into one week, or all come from a small provider, and would alarm.
    """
    for n in range(number):
        part = delivered[len(delivered) * n // number : len(delivered) * (n + 1) // number]
        domain = words.LOOP_DOMAINS[n % len(words.LOOP_DOMAINS)]
        heard = [mail for mail in part if mail.domain == domain]
        yield from heard[len(heard) // 2 :][:1]


def _day_after(moment: datetime) -> datetime:
    return datetime.combine(moment.date() + timedelta(days=1), time(), UTC)
