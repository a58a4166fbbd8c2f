"""Our counts beside SES's own: where feedback is lost before it reaches us.

Pure: it is given numbers, and hands on values. Where SES's come from is ses.py's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from dpp_feedback.feedback.rates import Basis, Tally

if TYPE_CHECKING:
    from collections.abc import Mapping

TOLERANCE = 0.05  # mails near midnight fall on different days here and there
WINDOW = timedelta(days=14)  # of SES's send statistics
# What may be missing on a day without being a gap: at small numbers 5 % is less than one event.
_HANDFUL = {"mails": 20, "bounces": 5, "complaints": 5}


@dataclass(frozen=True, slots=True)
class SentDay:
    """What SES counts for the whole account and one region on one day (UTC).

    Attributes:
        attempts: mails it accepted for sending, one for each recipient; suppressed ones too.
        bounces, complaints: of any sort.
        rejects: mails it did not send because of a virus.
    """

    attempts: int = 0
    bounces: int = 0
    complaints: int = 0
    rejects: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Feedback of one day that SES has counted and we have not got.

    Attributes:
        day: in UTC.
        what: "mails", "bounces" or "complaints".
        ours: how many we have.
        theirs: how many SES counts; more than `ours`.
    """

    day: date
    what: str
    ours: int
    theirs: int

    @property
    def share(self) -> float:
        """What is missing, as a share of what SES counts: from 0 to 1."""
        return (self.theirs - self.ours) / self.theirs


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What comparing brought.

    Attributes:
        days: those that were compared, the oldest first. None: SES says nothing about whole
            days, and the absence of gaps means nothing.
        gaps: by day, the oldest first.
    """

    days: tuple[date, ...]
    gaps: tuple[Gap, ...]


def reconcile(
    ours: Mapping[date, Tally], theirs: Mapping[date, SentDay], now: datetime
) -> Reconciliation:
    """Compare day by day; only too few of ours is a gap.

    SES's numbers are one account's in one region, ours may be those of several, so more of ours
    is no fault. All bounces and complaints that reached us are counted here, automatic replies
    and suppressed ones too: the question is what arrives, not what it says about the mails.

    Args:
        ours: the tally of each day; a day that is not there has none.
        theirs: SES's numbers; only these days are compared. Today is left out, and so is the day
            on which the two weeks of `GetSendStatistics` begin: of both SES has only a part.
        now: aware.

    Raises:
        ValueError: `now` has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError("now has no time zone")
    today, partial = (moment.astimezone(UTC).date() for moment in (now, now - WINDOW))
    days = tuple(sorted(day for day in theirs if day < today and day != partial))
    return Reconciliation(
        days, tuple(gap for day in days for gap in _gaps(day, ours.get(day, Tally()), theirs[day]))
    )


def _gaps(day: date, ours: Tally, theirs: SentDay) -> list[Gap]:
    found = [
        Gap(day, "mails", _mails(ours), theirs.attempts),
        Gap(
            day,
            "bounces",
            ours.bounces + ours.suppressed_bounces + ours.automatic_replies,
            theirs.bounces,
        ),
        Gap(day, "complaints", ours.complaints + ours.suppressed_complaints, theirs.complaints),
    ]
    return [
        gap for gap in found if gap.theirs - gap.ours > _HANDFUL[gap.what] and gap.share > TOLERANCE
    ]


def _mails(ours: Tally) -> int:
    """SES counts a mail to a suppressed address as sent, and publishes a Send event for it."""
    return ours.mails if ours.basis is Basis.SEND else ours.mails + ours.suppressed_bounces
