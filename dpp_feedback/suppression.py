"""Who must not be mailed, as the view `public.ses_suppressed_recipients` says, and as SES says.

The rules stand in the view's migration, and for people in docs/suppression.md:

- after a complaint, and after an unsubscription that SES's list management knows of: for ever;
- after a Permanent bounce: until a mail sent at least a day later was delivered;
- after a bounce of SES's global list: 14 days, or until such a delivery;
- after N (5) Transient bounces within M (14) days without a delivery: M days from the last one.

The view is the one place that applies them, so that the sending application and this product
cannot disagree. Reading and comparing is done here; SES's own list is ses.py's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from dpp_feedback.connection import explaining

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import psycopg

_READ = """
SELECT recipient, reason, since, last_event_at, events, evidence, expires_at
FROM public.ses_suppressed_recipients
ORDER BY recipient
"""
_HASHES = "SELECT count(*) FROM public.ses_suppressed_hashes"


class Reason(StrEnum):
    """Why a recipient must not be mailed; the strongest first, in the view's words."""

    COMPLAINT = "complaint"
    UNSUBSCRIBED = "unsubscribed"
    PERMANENT_BOUNCE = "permanent_bounce"
    GLOBAL_LIST = "global_list"
    TRANSIENT_BOUNCES = "transient_bounces"


# SES's list is for hard bounces and complaints; the other reasons pass, or are kept elsewhere.
LISTED_AT_SES: dict[Reason, Literal["BOUNCE", "COMPLAINT"]] = {
    Reason.COMPLAINT: "COMPLAINT",
    Reason.PERMANENT_BOUNCE: "BOUNCE",
}
"""The reasons for which an address belongs on SES's own list, and what SES calls them."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A recipient who must not be mailed; the address stays out of its repr, and so out of logs.

    Attributes:
        recipient: in lower case.
        reason: the strongest.
        since: when the first event of this reason happened that still counts; aware.
        last_event_at: when the last event happened that counts, for any reason; aware.
        events: how many count, for all reasons.
        evidence: one object for each reason, the strongest first: `reason`, `kind`, `sub_types`,
            `events`, `first_at`, `last_at`, `last_ses_message_id`.
        expires_at: when the recipient may be mailed again if nothing else happens; None: never.
    """

    recipient: str = field(repr=False)
    reason: Reason
    since: datetime
    last_event_at: datetime
    events: int
    evidence: list[dict[str, Any]]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Differences:
    """How our list and SES's differ; no addresses in its repr.

    Attributes:
        missing_at_ses: of ours, those that belong on SES's list and are not there.
        unknown_to_us: addresses that SES lists and we do not, for any reason.
    """

    missing_at_ses: tuple[Suppressed, ...] = field(repr=False)
    unknown_to_us: tuple[str, ...] = field(repr=False)


class Suppression:
    """The view, through a connection.

    Args:
        connection: psycopg's, in autocommit mode.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def recipients(self) -> list[Suppressed]:
        """Read the whole list, by address.

        Raises:
            DatabaseRefused, DatabaseUnavailable: it cannot be read.
        """
        with explaining("Reading public.ses_suppressed_recipients"):
            rows = self._connection.execute(_READ).fetchall()
        return [Suppressed(row[0], Reason(row[1]), *row[2:]) for row in rows]

    def hashes(self) -> int:
        """Count the addresses that were erased and stay suppressed by a keyed hash.

        Raises:
            DatabaseRefused, DatabaseUnavailable: they cannot be read.
        """
        with explaining("Reading public.ses_suppressed_hashes"):
            row = self._connection.execute(_HASHES).fetchone()
        return int(row[0]) if row else 0


def compare(ours: Iterable[Suppressed], ses_list: Mapping[str, str]) -> Differences:
    """Compare our list with SES's, both ways.

    Args:
        ours: our list.
        ses_list: SES's, address in lower case -> reason, as `Ses.suppressed` returns it.
    """
    ours = list(ours)
    known = {each.recipient for each in ours}
    return Differences(
        tuple(
            each for each in ours if each.reason in LISTED_AT_SES and each.recipient not in ses_list
        ),
        tuple(sorted(ses_list.keys() - known)),
    )
