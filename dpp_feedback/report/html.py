"""The report as one HTML page, for a browser, for paper and as the body of a mail.

What the page looks like stands in report.html.j2; names come from outside, and are escaped there.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dpp_feedback.feedback.analysis import MONTH, WEEK
from dpp_feedback.feedback.rates import Level
from dpp_feedback.report import words
from dpp_feedback.report.advice import advice
from dpp_feedback.report.changes import changes
from dpp_feedback.report.rows import cause_rows, group_rows, rate_rows, sub_type_rows
from dpp_feedback.report.sentences import (
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
    from collections.abc import Mapping

    from dpp_feedback.feedback.analysis import Analysis, Side
    from dpp_feedback.report.charts import Chart
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
            (title, name, group_rows(found, analysis.min_volume))
            for title, name, found in (
                ("Senders", "Sender", analysis.sources),
                ("Configuration sets", "Configuration set", analysis.configuration_sets),
                ("Recipient domains", "Domain", analysis.domains),
            )
        ],
        sub_types=sub_type_rows(analysis.sub_types),
        min_volume=number(analysis.min_volume),
        week=WEEK,
        month=MONTH,
        percent=percent,
    )


def embedded(drawn: Mapping[Kind, Chart]) -> dict[Kind, Picture]:
    """Put charts into the page, as `data:` URLs: light, dark, and those for phones."""
    return {
        kind: Picture(
            data_url(one.wide),
            others=(
                (f"{_NOT_ON_PAPER}{_PHONE} and {_DARK}", data_url(one.narrow_dark)),
                (f"{_NOT_ON_PAPER}{_PHONE}", data_url(one.narrow)),
                (f"{_NOT_ON_PAPER}{_DARK}", data_url(one.wide_dark)),
            ),
        )
        for kind, one in drawn.items()
    }


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
        "rows": rate_rows(side, kind, analysis.min_volume),
        "trends": _trends(side),
        "picture": picture,
        "alt": chart_sentence(analysis, kind),
        "line": LINES[kind],
        "causes": cause_rows(side.causes),
    }


def _trends(side: Side) -> list[str]:
    """Tell both trends, and the days to AWS's line with the one that counts."""
    told = []
    for trend in (side.trend_week, side.trend_month):
        said = trend_sentence(trend)
        counts = trend.significant and trend is present_trend(side)
        if counts and side.level not in (Level.REVIEW, Level.PAUSE):
            said += f"; {days_sentence(trend)}"
        told.append(f"{said}.")
    return told
