"""The report as one HTML page, for a browser, for paper and as the body of a mail.

What the page looks like stands in report.html.j2; names come from outside, and are escaped there.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dpp_feedback.feedback.analysis import MONTH, WEEK
from dpp_feedback.feedback.rates import Level, level
from dpp_feedback.report import charts, words
from dpp_feedback.report.advice import advice
from dpp_feedback.report.changes import changes
from dpp_feedback.report.sentences import (
    cause_name,
    chart_sentence,
    days_sentence,
    estimate_sentence,
    headline,
    incident_sentence,
    present_trend,
    side_of,
    trend_sentence,
)
from dpp_feedback.report.words import KINDS, LINES, counted, number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dpp_feedback.feedback.analysis import Analysis, Group, Side
    from dpp_feedback.feedback.rates import Rate
    from dpp_feedback.report.words import Kind

_NOT_ON_PAPER = "screen and "  # paper is light, whatever the screen is
_DARK = "(prefers-color-scheme: dark)"
_PHONE = "(max-width: 520px)"


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart on the page.

    Attributes:
        url: the picture's, a `data:` or `cid:` one.
        width: in pixels of the page; where there is less room, it shrinks.
        others: other pictures of the same, each with the media query for which it is.
    """

    url: str
    width: int = 720
    others: tuple[tuple[str, str], ...] = ()


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


def page(analysis: Analysis, before: Analysis | None, pictures: Mapping[Kind, Picture]) -> str:
    """Write the page.

    Args:
        analysis: what it reports.
        before: that of the previous report; None for the first.
        pictures: `embedded`, or those that a mail carries.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        title=f"Bounces and complaints, {words.day(analysis.as_of)}",
        headline=headline(analysis),
        covered=_covered(analysis),
        sides=[_side(analysis, kind, pictures[kind]) for kind in KINDS],
        estimate=estimate_sentence(analysis),
        incidents=[(incident_sentence(one), advice(one.cause)) for one in analysis.incidents],
        before=words.day(before.as_of) if before else "",
        changes=changes(analysis, before) if before else [],
        groups=[
            ("Senders", "Sender", _groups(analysis.sources, analysis)),
            (
                "Configuration sets",
                "Configuration set",
                _groups(analysis.configuration_sets, analysis),
            ),
            ("Recipient domains", "Domain", _groups(analysis.domains, analysis)),
        ],
        sub_types=[
            CauseRow(
                one.name if one.name.strip("/") else words.NOT_SAID,
                number(one.bounce.events),
                percent(one.bounce.value),
                advice(one.name or "-"),
            )
            for one in analysis.sub_types
        ],
        min_volume=number(analysis.min_volume),
        week=WEEK,
        month=MONTH,
        percent=percent,
    )


def embedded(analysis: Analysis) -> dict[Kind, Picture]:
    """Draw the charts of the page, to stand in it as `data:` URLs: light, dark, for phones."""
    return {kind: _picture(analysis, kind) for kind in KINDS}


def _picture(analysis: Analysis, kind: Kind) -> Picture:
    def url(palette: charts.Palette, narrow: bool) -> str:
        return data_url(charts.chart(analysis, kind, palette=palette, narrow=narrow))

    return Picture(
        url(charts.LIGHT, False),
        others=(
            (f"{_NOT_ON_PAPER}{_PHONE} and {_DARK}", url(charts.DARK, True)),
            (f"{_NOT_ON_PAPER}{_PHONE}", url(charts.LIGHT, True)),
            (f"{_NOT_ON_PAPER}{_DARK}", url(charts.DARK, False)),
        ),
    )


def data_url(png: bytes) -> str:
    """Write a picture as a URL that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _unbroken(value: object) -> object:
    """Keep "1.8 %" on one line."""
    return value.replace(" %", "\N{NO-BREAK SPACE}%") if isinstance(value, str) else value


def _covered(analysis: Analysis) -> str:
    """Say what the page covers, and how much of it had mail."""
    first, with_mail = analysis.days[0].day, sum(one.tally.mails > 0 for one in analysis.days)
    said = f"{words.days(first, analysis.as_of)}, in UTC"
    if with_mail < len(analysis.days):
        said += f"; {counted(with_mail, 'day')} with mail"
    return said


def _side(analysis: Analysis, kind: Kind, picture: Picture) -> dict[str, object]:
    side = side_of(analysis, kind)
    return {
        "title": f"{kind.capitalize()}s",
        "kind": kind,
        "level": side.level,
        "rows": _rates(analysis, kind, side),
        "trend": _trend(side),
        "picture": picture,
        "alt": chart_sentence(analysis, kind),
        "line": LINES[kind],
        "causes": [
            CauseRow(cause_name(one), number(one.events), percent(one.share), text)
            for one, text in zip(
                side.causes, _advice([c.sub_type for c in side.causes]), strict=True
            )
        ],
    }


def _rates(analysis: Analysis, kind: Kind, side: Side) -> list[RateRow]:
    named = {
        f"Ours, {WEEK} days": side.week,
        f"Ours, {MONTH} days": side.month,
        "Ours, last day": side.yesterday,
        "AWS's (estimate)": side.estimate,
    }
    return [_rate(name, kind, rate, analysis.min_volume) for name, rate in named.items()]


def _rate(name: str, kind: Kind, rate: Rate, min_volume: int) -> RateRow:
    return RateRow(
        name=name,
        rate=percent(rate.value) if rate.value is not None else "no mail",
        interval=words.interval(rate.low, rate.high) if rate.value is not None else "",
        of=f"{number(rate.events)} of {counted(rate.mails, 'mail')}",
        basis=str(rate.basis) if rate.mails else "",
        level=level(rate, LINES[kind], min_volume),
    )


def _trend(side: Side) -> str:
    trend = present_trend(side)
    said = trend_sentence(trend)
    if trend.significant and side.level not in (Level.REVIEW, Level.PAUSE):
        said += f"; {days_sentence(trend)}"
    return f"{said}."


def _advice(sub_types: Sequence[str]) -> list[str]:
    """Say what to do once for each subtype."""
    return [advice(name) if name not in sub_types[:i] else "" for i, name in enumerate(sub_types)]


def _groups(groups: Sequence[Group], analysis: Analysis) -> list[GroupRow]:
    return [
        GroupRow(
            name=words.shown(one.name),
            mails=number(one.tally.mails),
            bounces=number(one.bounce.events),
            bounce_rate=percent(one.bounce.value),
            bounce_level=_bad(one.bounce, "bounce", analysis.min_volume),
            complaints=number(one.complaint.events),
            complaint_rate=percent(one.complaint.value),
            complaint_level=_bad(one.complaint, "complaint", analysis.min_volume),
        )
        for one in groups
    ]


def _bad(rate: Rate, kind: Kind, min_volume: int) -> str:
    found = level(rate, LINES[kind], min_volume)
    return "" if found in (Level.TOO_FEW, Level.FINE) else str(found)
