"""An estimate of the figures that AWS itself keeps about an account.

AWS publishes its rules and not its numbers; docs/rates.md says which rule comes from where, and
what stays unknown.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dpp_feedback.feedback.domains import FEEDBACK_LOOP_DOMAINS, SIMULATOR_DOMAIN, ascii_domain
from dpp_feedback.feedback.rates import Place, Rate, Tally, place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from dpp_feedback.feedback.counts import Count

_REPRESENTATIVE = 10_000  # mails. AWS names no number; a review mail that a sender published does
_SHORTEST, _LONGEST = 7, 365  # days; a weekday is not like a Sunday


@dataclass(frozen=True, slots=True)
class Estimate:
    """What AWS's own figure may be: its rules, over a representative volume.

    Attributes:
        bounce, complaint: the rates.
        first, last: the days they cover.
    """

    bounce: Rate
    complaint: Rate
    first: date
    last: date


def estimate(
    as_of: date,
    totals: Mapping[date, Tally],
    of_domains: Sequence[Count],
    verified_domains: frozenset[str],
) -> Estimate:
    """Estimate AWS's figures: at least a week back from `as_of`, until there are mails enough.

    Args:
        as_of: the last day that counts.
        totals: all events by day.
        of_domains: counts of the domains that the rules name: verified ones, the simulator,
            providers with feedback loops, and domains that a complaint came from within a year.
            Of the last two, days before `begin` are not needed.
        verified_domains: domains whose bounces AWS does not count.
    """
    counts = [
        replace(count, recipient_domain=ascii_domain(count.recipient_domain))
        for count in of_domains
        if count.day <= as_of
    ]
    exempt = {SIMULATOR_DOMAIN, *(ascii_domain(domain) for domain in verified_domains)}
    left_out = by_day(count for count in counts if count.recipient_domain in exempt)
    first, eligible = begin(as_of, totals, left_out)
    # A verified domain is among the counts for being verified; it reports complaints if it did.
    silent = exempt - {
        count.recipient_domain for count in counts if place(count) is Place.COMPLAINT
    }
    silent = (silent - FEEDBACK_LOOP_DOMAINS) | {SIMULATOR_DOMAIN}
    looped = Tally.of(
        count for count in counts if count.day >= first and count.recipient_domain not in silent
    )
    return Estimate(
        bounce=Rate(eligible.hard_bounces, eligible.mails, eligible.basis),
        complaint=Rate(looped.complaints, looped.mails, looped.basis),
        first=first,
        last=as_of,
    )


def begin(
    as_of: date, totals: Mapping[date, Tally], left_out: Mapping[date, Tally]
) -> tuple[date, Tally]:
    """Find the day on which AWS's window begins, and sum up what counts in it.

    Args:
        as_of: the last day that counts.
        totals: all events by day.
        left_out: those to verified domains and to the simulator, by day.
    """
    eligible, first = Tally(), as_of
    for day in sorted(totals, reverse=True):
        enough = eligible.mails >= _REPRESENTATIVE and day <= as_of - timedelta(days=_SHORTEST)
        if enough or day <= as_of - timedelta(days=_LONGEST):
            break
        if day <= as_of:
            eligible += totals[day] - left_out.get(day, Tally())
            first = day
    return first, eligible


def by_day(counts: Iterable[Count]) -> dict[date, Tally]:
    """Sum up counts by day."""
    days: dict[date, list[Count]] = defaultdict(list)
    for count in counts:
        days[count.day].append(count)
    return {day: Tally.of(its_counts) for day, its_counts in days.items()}
