"""Which failed asset checks are alerts, how urgent they are, and what to do about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpp_feedback.alerting.alert import Alert, Severity

if TYPE_CHECKING:
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
        "Send a mail to bounce@simulator.amazonses.com, and follow it: SES's notifications, the "
        "SNS topic, its subscription, the queue.",
    ),
    "reconciliation": _Rule(
        "reconciliation",
        Severity.WARNING,
        "Compare the kinds in bounce_rate_report: one kind missing is a topic that is not wired, "
        "some of all kinds are messages lost on the way.",
    ),
}
CHECKS = tuple(_RULES)
"""The names of these checks."""


def check_failed(result: CheckResult) -> Alert | None:
    """Make the alert about a check, if it failed and is one of these."""
    rule = _RULES.get(result.name)
    if result.passed or rule is None or (rule.only_errors and not result.error):
        return None
    figures = [f"{name} {value:g}" for name, value in list(result.figures.items())[:_FIGURES]]
    return Alert(
        rule.key,
        rule.severity or (Severity.CRITICAL if result.error else Severity.WARNING),
        result.description or f"The asset check {result.name} failed.",
        ", ".join(figures) or "see the asset check",
        rule.next_step,
    )
