"""Which month is simulated, and what goes wrong in it: when, to whose mail, how badly.

Pure tables and dates. How a month is made with one of them is month.py's business.

The numbers are chosen by AWS's lines: it reviews an account at 5 % bounces or 0.1 % complaints,
and may pause it at 10 % or 0.5 % ("Reputation metrics messages" of the SES developer guide).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from dpp_feedback.local import words

if TYPE_CHECKING:
    from datetime import date

Incident: TypeAlias = Literal["bounce-spike", "complaint-spike", "silence"]

INCIDENTS: tuple[Incident, ...] = get_args(Incident)
MIN_DAYS = 14  # of a month with an incident: the days before it say what is usual

_A_DAY = 500  # notifications
_LENGTH = 3  # days of a spike
_AGO = 4  # its last day is so many days before `at`: over, and still within the last closed week


@dataclass(frozen=True, slots=True)
class Spike:
    """Three days on which one sender's mail to one domain fares badly.

    Attributes:
        sender: whose mail.
        domain: to whom.
        reason: why mails bounce; None: they are delivered, and complained of.
        share: of the sender's mails there on these days that do, 0 to 1.
        more: how many more mails the account sends on these days, all of them there: 0.17 is 17 %.
    """

    sender: words.Sender
    domain: str
    reason: words.BounceReason | None
    share: float
    more: float


SPIKES: dict[Incident, Spike] = {
    # About 19 % of the days' mails then are such, so that 6 % of all bounce beside the usual 1 %:
    # over AWS's line on each day, and over half of it in the week.
    "bounce-spike": Spike(
        words.NEWS, "students.university.example", words.UNKNOWN_USER, share=1 / 3, more=0.17
    ),
    # About 25 % of the days' mails then are such, so that 1.5 % of all are complained of: ten
    # a day. With fewer, at 500 mails a day, nobody could tell it from chance.
    "complaint-spike": Spike(words.NEWS, "example.org", None, share=1 / 15, more=0.2),
}


def spike_days(at: datetime) -> tuple[date, date]:
    """Return the first and the last day (UTC) of a spike.

    Args:
        at: the simulated now; aware.
    """
    last = at.astimezone(UTC).date() - timedelta(days=_AGO)
    return last - timedelta(days=_LENGTH - 1), last


def silence_begins(at: datetime) -> datetime:
    """Return since when no feedback arrives: yesterday's midnight in UTC.

    So the last closed day is mute as a whole.
    """
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Month:
    """Which days are simulated, and what goes wrong in them.

    Attributes:
        days: how many, up to `at`.
        at: the simulated now; aware.
        incident: None: nothing.
    """

    days: int
    at: datetime
    incident: Incident | None

    @property
    def count(self) -> int:
        """How many notifications it has unless told: 500 a day, with Send events twice as many."""
        return self.days * _A_DAY * (2 if self.incident == "silence" else 1)

    @property
    def first(self) -> date:
        """The day (UTC) that it begins on."""
        return (self.at.astimezone(UTC) - timedelta(days=self.days)).date()

    @property
    def last(self) -> date:
        """The last day (UTC) that is over."""
        return self.at.astimezone(UTC).date() - timedelta(days=1)

    @property
    def story(self) -> str:
        """What is wrong in it, in a sentence or two."""
        if self.incident is None:
            return "A time in good order: about 1.2 % bounces and 0.03 % complaints."
        if self.incident == "silence":
            return (
                f"The incident: mail is being sent (Send events go on), and since "
                f"{silence_begins(self.at):%-d %B, %H:%M} UTC no feedback arrives."
            )
        spike, (first, last) = SPIKES[self.incident], spike_days(self.at)
        who = f"The incident: from {first:%-d %B} to {last:%-d %B} {spike.sender.address}"
        if spike.reason:
            return (
                f"{who} mailed an old list, and a third of its mails to {spike.domain} bounced "
                f"({spike.reason.kind}/{spike.reason.sub_kind}). The account's bounce rate was "
                "about 7 % on these days; AWS reviews an account at 5 %."
            )
        return (
            f"{who} wrote what people had not asked for, and one in fifteen of its mails to "
            f"{spike.domain} was complained of. The account's complaint rate was about 1.5 % on "
            "these days; AWS reviews an account at 0.1 %, and may pause it at 0.5 %."
        )
