"""When to say something about an alert: once when it begins, and once when it is over.

Decided here:
- An alert is over when it has not been seen for 5 minutes and in two looks. So one that comes and
  goes within minutes is one incident, and its end is the moment it was seen last.
- Critical after warning is told again; warning after critical is not.
- Of a critical one that goes on people are reminded every 24 hours.
- What cannot be judged, because its input cannot be read, neither begins nor ends.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dpp_feedback.alerting.alert import Alert, Notice, Occasion, Severity
from dpp_feedback.alerting.memory import OpenAlert

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

QUIET = timedelta(minutes=5)
QUIET_LOOKS = 2
REMIND_AFTER = timedelta(hours=24)


def transitions(
    open_alerts: Mapping[str, OpenAlert],
    firing: Sequence[Alert],
    now: datetime,
    held: Collection[str] = (),
) -> tuple[list[Notice], dict[str, OpenAlert]]:
    """Compare what is wrong now with what is known.

    Args:
        open_alerts: what is known, by key.
        firing: what is wrong now; each key once.
        now: the time of the look.
        held: keys that cannot be judged now.

    Returns:
        What to send, the critical first, and what is known once it is sent.
    """
    notices: list[Notice] = []
    kept: dict[str, OpenAlert] = {}
    for alert in firing:
        known = open_alerts.get(alert.key)
        occasion = _occasion(alert, known, now)
        since = known.since if known else now
        if occasion:
            notices.append(Notice(occasion, alert, since, now))
        told = Severity.CRITICAL if known and known.told is Severity.CRITICAL else alert.severity
        told_at = known.told_at if known and not occasion else now
        kept[alert.key] = OpenAlert(alert, since, told, told_at)
    for key, known in open_alerts.items():
        if key in kept:
            continue
        if key in held:
            kept[key] = known
            continue
        quiet_since = known.quiet_since or now
        looks = known.quiet_looks + 1
        if looks >= QUIET_LOOKS and now - quiet_since >= QUIET:
            notices.append(Notice(Occasion.OVER, known.alert, known.since, quiet_since))
        else:
            kept[key] = replace(known, quiet_since=quiet_since, quiet_looks=looks)
    notices.sort(key=lambda notice: notice.alert.severity is not Severity.CRITICAL)
    return notices, kept


def unsent(
    before: Mapping[str, OpenAlert], after: Mapping[str, OpenAlert], notices: Sequence[Notice]
) -> dict[str, OpenAlert]:
    """Take back what could not be told, so that the next look tells it.

    Args:
        before: what was known before.
        after: what would be known if all had been sent.
        notices: those that could not be sent.
    """
    keys = {notice.alert.key for notice in notices}
    known = {key: alert for key, alert in after.items() if key not in keys}
    return known | {key: alert for key, alert in before.items() if key in keys}


def _occasion(alert: Alert, known: OpenAlert | None, now: datetime) -> Occasion | None:
    if known is None:
        return None if alert.told else Occasion.BEGINS
    if alert.severity is not Severity.CRITICAL:
        return None
    if known.told is not Severity.CRITICAL:
        return Occasion.WORSE
    return Occasion.STILL if now - known.told_at >= REMIND_AFTER else None
