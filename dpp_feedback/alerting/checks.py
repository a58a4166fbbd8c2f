"""Which failed asset checks are alerts, how urgent they are, and what to do about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpp_feedback.alerting.alert import Alert, Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dpp_feedback.alerting.readings import CheckResult

_FIGURES = 5  # of a check's metadata


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a failed check means.

    Attributes:
        key: of its alert.
        severity: of its alert; None: as severe as the check itself.
        next_step: what to do.
        only_errors: a WARN of it is no alert.
    """

    key: str
    severity: Severity | None
    next_step: str
    only_errors: bool = False


_RULES = {
    "bounce_rate": _Rule(
        "bounce_rate",
        None,
        "Open bounce_rate_report: it names the sources and domains behind it. Stop mailing the "
        "worst of them, and take suppressed_recipients off the list.",
    ),
    "complaint_rate": _Rule(
        "complaint_rate",
        None,
        "Open bounce_rate_report: it names the mailing behind it. Stop that mailing until it has "
        "an easy way out and goes only to people who asked for it.",
    ),
    "incidents": _Rule(
        "incident",
        Severity.CRITICAL,
        "Stop what is sent from the source or to the domain that it names, then look for what "
        "changed on the day it began.",
        only_errors=True,  # the check warns for weeks of an incident that is over
    ),
    "silence": _Rule(
        "silence",
        None,
        "Stop nothing; find out where feedback ends. Until it arrives again, no rate is true.",
    ),
    "reconciliation": _Rule(
        "reconciliation",
        Severity.WARNING,
        "Count by day and kind in public.ses_feedback_daily_totals: one kind missing is a topic "
        "that is not wired, some of all kinds are messages lost on the way.",
    ),
    "counters_equal_events": _Rule(
        "counters_equal_events",
        Severity.WARNING,
        "Look for an older version that still runs, a restore, or a person at the database.",
    ),
    "unknown_kinds": _Rule(
        "unknown_kinds",
        Severity.WARNING,
        "Nothing is lost: they count as soon as a version that knows them runs.",
    ),
    "events_from_the_future": _Rule(
        "events_from_the_future",
        Severity.WARNING,
        "Look at their source and sns_message_id: only SES may write to the topics.",
    ),
}
CHECKS = tuple(_RULES)
"""The names of these checks."""


def check_failed(result: CheckResult) -> list[Alert]:
    """Make the alerts about a check, if it failed and is one of these.

    Each incident that goes on is an alert of its own: a second sender's must not hide behind the
    first one's.
    """
    rule = _RULES.get(result.name)
    if result.passed or rule is None or (rule.only_errors and not result.error):
        return []
    figures = [f"{name} {value:g}" for name, value in list(result.figures.items())[:_FIGURES]]

    def alert(key: str, sentence: str) -> Alert:
        return Alert(
            key,
            rule.severity or (Severity.CRITICAL if result.error else Severity.WARNING),
            sentence,
            ", ".join(figures) or "see the asset check",
            rule.next_step,
        )

    if result.ongoing:
        return [
            alert(f"{rule.key}:{one.kind}:{one.dimension}:{one.name}", one.sentence)
            for one in result.ongoing
        ]
    return [alert(rule.key, result.description or f"The asset check {result.name} failed.")]


def told_by_incidents(checks: Sequence[Alert], known: Collection[str]) -> set[str]:
    """Find warnings about a rate that an incident of their kind tells already.

    Args:
        checks: alerts about checks.
        known: the keys of all alerts that begin or are open.

    Returns:
        Their keys. At the line itself the rate is an alert whatever else is told.
    """
    rates = {f"{key.split(':')[1]}_rate" for key in known if key.startswith("incident:")}
    return {alert.key for alert in checks if alert.severity is Severity.WARNING} & rates
