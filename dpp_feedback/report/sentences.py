"""What an analysis says, in sentences: for the report, for checks and for alerts.

Pure: nothing but words from values. Figures and names by themselves are words.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpp_feedback.feedback.analysis import MONTH, WEEK
from dpp_feedback.feedback.counts import OTHERS
from dpp_feedback.feedback.rates import Level, level, sure_level
from dpp_feedback.report.words import (
    KINDS,
    LINES,
    counted,
    day,
    days,
    number,
    part_of_line,
    percent,
    shown,
    sub_type,
)

if TYPE_CHECKING:
    from dpp_feedback.feedback.analysis import Analysis, Side
    from dpp_feedback.feedback.causes import Cause
    from dpp_feedback.feedback.incidents import Incident
    from dpp_feedback.feedback.rates import Rate
    from dpp_feedback.feedback.trend import Trend
    from dpp_feedback.report.words import Kind

HORIZON = 90  # days that we look ahead
_TREND_DAYS = 3  # with mail: fewer have no trend
_LEVELS = list(Level)  # the worse, the later
_GROUPS = {
    "source": "from {}",
    "configuration_set": "with the configuration set {}",
    "domain": "to {}",
    "recipient_domain": "to {}",
    "sub_type": "of the type {}",
}


def headline(analysis: Analysis) -> str:
    """Say all of it in one sentence, the worse of the two rates first.

    "Bounces 1.8 % of 41,230 mails in 7 days, about a third of AWS's review line; complaints fine
    at 0.02 %; at this trend no line is reached in 90 days".
    """
    sides = [(kind, side_of(analysis, kind)) for kind in KINDS]
    sides.sort(key=lambda pair: -_LEVELS.index(pair[1].level))
    bad = [pair for pair in sides if pair[1].level not in (Level.TOO_FEW, Level.FINE)]
    if not bad and analysis.week.mails == 0 and analysis.week.complaints == 0:
        return _no_mail(analysis)
    if not bad and all(side.level is Level.TOO_FEW for _, side in sides):
        clauses = [_too_few(analysis)]
    else:
        clauses = [
            side_sentence(sides[0][0], sides[0][1], analysis.min_volume),
            _second(sides[1][0], sides[1][1], analysis.min_volume),
        ]
        clauses += [clause for clause in [_look_ahead(analysis)] if clause]
    ongoing = [incident for incident in analysis.incidents if incident.ongoing]
    if ongoing:
        first = min(incident.first for incident in ongoing)
        clauses.append(f"far above the usual since {first.day} {first:%B}")
    return _capital("; ".join(clauses))


def side_sentence(kind: Kind, side: Side, min_volume: int) -> str:
    """Say how one rate stands: "bounces 1.8 % of 41,230 mails in 7 days, about a third of ..."."""
    ours, line = side.week, LINES[kind]
    own = level(ours, line, min_volume)
    mails = f"{counted(ours.mails, 'mail')} in {WEEK} days"
    if ours.value is None:
        said = _without_mails(kind, ours)
    elif own is Level.TOO_FEW:
        said = f"{counted(ours.events, kind)} in {mails}, too few to judge"
    elif ours.events == 0:
        said = f"no {kind}s in {mails}"
    else:
        said = f"{kind}s {percent(ours.value)} of {mails}, {part_of_line(ours.value, line)}"
    theirs = sure_level(side.estimate, line, min_volume)
    if theirs not in (own, Level.TOO_FEW) and side.estimate.value is not None:
        said += f", while AWS's own figure may be {percent(side.estimate.value)}"
        if _LEVELS.index(theirs) > _LEVELS.index(own):
            said += f", {part_of_line(side.estimate.value, line)}"
    return said


def days_sentence(trend: Trend) -> str:
    """Say when AWS's review line is reached: "at this trend no line is reached in 90 days"."""
    left = trend.days_to_review
    if left is None or left > HORIZON:
        return f"at this trend no line is reached in {HORIZON} days"
    if left == 0:
        return "the last days are on AWS's review line already"
    return f"at this trend AWS's review line is reached in {counted(left, 'day')}"


def trend_sentence(trend: Trend) -> str:
    """Say where a rate is heading: "Over 28 days rising by 0.05 percentage points a day"."""
    if not trend.significant:
        return f"No sure trend over {trend.days} days"
    way = "rising" if trend.per_day > 0 else "falling"
    points = percent(abs(trend.per_day)).removesuffix(" %")
    return f"Over {trend.days} days {way} by {points} percentage points a day"


def present_trend(side: Side) -> Trend:
    """Choose the trend that counts: of the week when it is significant, else of the month."""
    return side.trend_week if side.trend_week.significant else side.trend_month


def cause_sentence(cause: Cause) -> str:
    """Name a cause: "gmail.com, MailboxFull, from news@example.com: 42 % of all bounces"."""
    kind = "bounces" if cause.sub_type else "complaints"
    return f"{cause_name(cause)}: {percent(cause.share)} of all {kind}"


def cause_name(cause: Cause) -> str:
    """Name a combination: "gmail.com, MailboxFull, from news@example.com"."""
    domain = shown(cause.recipient_domain) if cause.recipient_domain != OTHERS else "other domains"
    source = shown(cause.source) if cause.source != OTHERS else "other senders"
    parts = [domain if cause.recipient_domain else "unnamed domains"]
    if cause.sub_type:
        parts.append(sub_type(cause.sub_type))
    parts.append(f"from {source}" if cause.source else "from unnamed senders")
    return ", ".join(parts)


def incident_sentence(incident: Incident) -> str:
    """Tell an incident: when, what, how much more than usual, and what is behind it."""
    if incident.ongoing:
        when = f"Since {day(incident.first)}, still going on"
    else:
        when = days(incident.first, incident.last)
    group = _GROUPS.get(incident.dimension, "").format(shown(incident.name))
    what = (
        f"{incident.kind}s {group}".strip() if group else f"{incident.kind}s of the whole account"
    )
    more = f"{number(incident.surplus)} more than usual"
    part = "most" if incident.cause.share > 0.5 else percent(incident.cause.share)
    return (
        f"{when}: {what} at {percent(incident.rate.value)}, usually {percent(incident.usual)}; "
        f"{more}, {part} of them {cause_name(incident.cause)}."
    )


def estimate_sentence(analysis: Analysis) -> str:
    """Say what AWS's figure is made of, and which days it covers."""
    return (
        "AWS's own figures are not published to us; this is an estimate by its rules over "
        f"{days(analysis.estimate_first, analysis.estimate_last)}"
    )


def chart_sentence(analysis: Analysis, kind: Kind) -> str:
    """Say what the chart of a rate shows, to those who do not see it."""
    side, line = side_of(analysis, kind), LINES[kind]
    known = [
        (rate.value, one.day)
        for one in analysis.days
        if (rate := one.bounce if kind == "bounce" else one.complaint).value is not None
    ]
    title = f"Chart: {kind}s by day, {days(analysis.days[0].day, analysis.as_of)}"
    lines = f"AWS's review line is {percent(line.review)}, its pause line {percent(line.pause)}"
    if not known:
        return f"{title}. No day with mail. {lines}."
    high, at = max(known)
    said = f"{title}. Over the last {WEEK} days {percent(side.week.value)}"
    if side.week.value is None:
        said = f"{title}. No mail in the last {WEEK} days"
    said += f"; the highest day is {at.day} {at:%B} with {percent(high)}. {lines}."
    for incident in reversed(analysis.incidents):
        if incident.kind == kind:
            said += f" Incident: {days(incident.first, incident.last)}."
    return said


def side_of(analysis: Analysis, kind: Kind) -> Side:
    """Pick one of the two rates."""
    return analysis.bounce if kind == "bounce" else analysis.complaint


def _second(kind: Kind, side: Side, min_volume: int) -> str:
    """Say the better rate, in few words when there is nothing to say."""
    if side.level is Level.FINE and side.week.value is not None:
        return f"{kind}s fine at {percent(side.week.value)}" if side.week.events else f"no {kind}s"
    return side_sentence(kind, side, min_volume)


def _look_ahead(analysis: Analysis) -> str:
    """Say which line is reached first; nothing when both are, or nobody can tell."""
    if sum(one.tally.mails > 0 for one in analysis.days) < _TREND_DAYS:
        return ""
    ahead = []
    for kind in KINDS:
        side = side_of(analysis, kind)
        if side.level not in (Level.TOO_FEW, Level.REVIEW, Level.PAUSE):
            left = present_trend(side).days_to_review
            ahead.append((HORIZON + 1 if left is None else left, kind))
    if not ahead:
        return ""
    left, kind = min(ahead)
    if left > HORIZON:
        if len(ahead) < len(KINDS):
            return ""
        return f"at this trend no line is reached in {HORIZON} days"
    if left == 0:
        return f"the last days' {kind}s are on AWS's review line already"
    return f"at this trend {kind}s reach AWS's review line in {counted(left, 'day')}"


def _no_mail(analysis: Analysis) -> str:
    if analysis.month.mails == 0:
        return f"No mail in the {MONTH} days to {day(analysis.as_of)}: nothing to judge"
    return (
        f"No mail in the {WEEK} days to {day(analysis.as_of)}, "
        f"{number(analysis.month.mails)} in the last {MONTH}: nothing to judge"
    )


def _too_few(analysis: Analysis) -> str:
    week = analysis.week
    bounces, complaints = (
        counted(n, kind) for n, kind in zip((week.bounces, week.complaints), KINDS, strict=True)
    )
    return (
        f"{bounces} and {complaints} in {counted(week.mails, 'mail')} in {WEEK} days: "
        f"too few to judge, which takes {number(analysis.min_volume)}"
    )


def _without_mails(kind: Kind, rate: Rate) -> str:
    if rate.events == 0:
        return f"no {kind}s and no mail in {WEEK} days"
    return f"{counted(rate.events, kind)} in {WEEK} days, and no mail to set against"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
