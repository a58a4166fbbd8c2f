"""The lines of the page's tables, in words. Which tables there are is html.py's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpp_feedback.feedback.analysis import MONTH, WEEK
from dpp_feedback.feedback.rates import Level, level, sure_level
from dpp_feedback.report import words
from dpp_feedback.report.advice import advice
from dpp_feedback.report.sentences import cause_name
from dpp_feedback.report.words import LINES, counted, number, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dpp_feedback.feedback.analysis import Group, Side
    from dpp_feedback.feedback.causes import Cause
    from dpp_feedback.feedback.rates import Rate
    from dpp_feedback.report.words import Kind


@dataclass(frozen=True, slots=True)
class RateRow:
    """One line of the table of a rate."""

    name: str
    rate: str
    interval: str
    of: str
    basis: str
    level: Level


@dataclass(frozen=True, slots=True)
class CauseRow:
    """One line of the table of causes."""

    name: str
    events: str
    share: str
    advice: str


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One line of the tables of sources, domains, ...; a level only where it is no good one."""

    name: str
    mails: str
    bounces: str
    bounce_rate: str
    bounce_level: str
    complaints: str
    complaint_rate: str
    complaint_level: str


def rate_rows(side: Side, kind: Kind, min_volume: int) -> list[RateRow]:
    """Set ours over three windows beside AWS's figure, estimated."""
    line = LINES[kind]
    ours = {
        f"Ours, {WEEK} days": side.week,
        f"Ours, {MONTH} days": side.month,
        "Ours, last day": side.yesterday,
    }
    rows = [_rate(name, rate, level(rate, line, min_volume)) for name, rate in ours.items()]
    # As the heading and the check judge it.
    estimated = sure_level(side.estimate, line, min_volume)
    return [*rows, _rate("AWS's (estimate)", side.estimate, estimated)]


def _rate(name: str, rate: Rate, its_level: Level) -> RateRow:
    return RateRow(
        name=name,
        rate=percent(rate.value) if rate.value is not None else "no mail",
        interval=words.interval(rate.low, rate.high) if rate.value is not None else "",
        of=f"{number(rate.events)} of {counted(rate.mails, 'mail')}",
        basis=str(rate.basis) if rate.mails else "",
        level=its_level,
    )


def cause_rows(causes: Sequence[Cause]) -> list[CauseRow]:
    """List causes; what to do stands once for each subtype, with the first."""
    told: set[str] = set()
    rows = []
    for one in causes:
        said = "" if one.sub_type in told else advice(one)
        told.add(one.sub_type)
        rows.append(CauseRow(cause_name(one), number(one.events), percent(one.share), said))
    return rows


def sub_type_rows(sub_types: Sequence[Group]) -> list[CauseRow]:
    """List bounce subtypes, with what to do about each."""
    return [
        CauseRow(
            one.name if one.name.strip("/") else words.NOT_SAID,
            number(one.bounce.events),
            percent(one.bounce.value),
            advice(one.name or "-"),
        )
        for one in sub_types
    ]


def group_rows(groups: Sequence[Group], min_volume: int) -> list[GroupRow]:
    """List sources, configuration sets or domains."""
    return [
        GroupRow(
            name=words.shown(one.name),
            mails=number(one.tally.mails),
            bounces=number(one.bounce.events),
            bounce_rate=percent(one.bounce.value),
            bounce_level=_bad(one.bounce, "bounce", min_volume),
            complaints=number(one.complaint.events),
            complaint_rate=percent(one.complaint.value),
            complaint_level=_bad(one.complaint, "complaint", min_volume),
        )
        for one in groups
    ]


def _bad(rate: Rate, kind: Kind, min_volume: int) -> str:
    found = level(rate, LINES[kind], min_volume)
    return "" if found in (Level.TOO_FEW, Level.FINE) else str(found)
