"""An estimate of the figures that AWS itself keeps about an account.

AWS publishes its rules and not its numbers; docs/rates.md says which rule comes from where, and
what stays unknown.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dpp_feedback.feedback.domains import FEEDBACK_LOOP_DOMAINS, SIMULATOR_DOMAIN, ascii_domain
from dpp_feedback.feedback.rates import Rate, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from dpp_feedback.feedback.counts import Count

_REPRESENTATIVE = 10_000  # mails. AWS names no number; a review mail that a sender published does
_LONGEST = 365  # days


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
    """Estimate AWS's figures: whole days back from `as_of` until there are mails enough.

    Args:
        as_of: the last day that counts.
        totals: all events by day.
        of_domains: counts of the domains that the rules name: verified ones, the simulator,
            providers with feedback loops, domains that a complaint came from.
        verified_domains: domains whose bounces AWS does not count.
    """
    exempt = {SIMULATOR_DOMAIN, *(ascii_domain(domain) for domain in verified_domains)}
    by_domain: dict[str, list[Count]] = defaultdict(list)
    for count in of_domains:
        if count.day <= as_of:
            by_domain[ascii_domain(count.recipient_domain)].append(count)
    left_out = _by_day(count for domain in exempt for count in by_domain.get(domain, ()))
    eligible, first = Tally(), as_of
    for day in sorted(totals, reverse=True):
        if eligible.mails >= _REPRESENTATIVE or day <= as_of - timedelta(days=_LONGEST):
            break
        if day <= as_of:
            eligible += totals[day] - left_out.get(day, Tally())
            first = day
    looped = Tally.of(
        count
        for domain, its_counts in by_domain.items()
        if domain != SIMULATOR_DOMAIN and _reports_complaints(domain, its_counts)
        for count in its_counts
        if count.day >= first
    )
    return Estimate(
        bounce=Rate(eligible.hard_bounces, eligible.mails, eligible.basis),
        complaint=Rate(looped.complaints, looped.mails, looped.basis),
        first=first,
        last=as_of,
    )


def _reports_complaints(domain: str, counts: Sequence[Count]) -> bool:
    return domain in FEEDBACK_LOOP_DOMAINS or Tally.of(counts).complaints > 0


def _by_day(counts: Iterable[Count]) -> dict[date, Tally]:
    days: dict[date, list[Count]] = defaultdict(list)
    for count in counts:
        days[count.day].append(count)
    return {day: Tally.of(its_counts) for day, its_counts in days.items()}
