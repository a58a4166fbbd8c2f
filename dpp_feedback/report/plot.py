"""One rate by day, drawn into a figure: days, weeks, mails, incidents and AWS's lines."""

from __future__ import annotations

from math import isnan, nan
from typing import TYPE_CHECKING

from dpp_feedback.feedback.analysis import WEEK
from dpp_feedback.feedback.rates import Tally, bounce_rate, complaint_rate
from dpp_feedback.report.words import LINES, number, percent

if TYPE_CHECKING:
    from datetime import date

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dpp_feedback.feedback.analysis import Analysis
    from dpp_feedback.feedback.rates import Line, Rate
    from dpp_feedback.report.palette import Palette
    from dpp_feedback.report.words import Kind


def plot(
    figure: Figure,
    bottom: float,
    height: float,
    analysis: Analysis,
    kind: Kind,
    palette: Palette,
    *,
    titled: bool = False,
) -> None:
    """Draw one rate into a strip of a figure.

    Args:
        figure: into which.
        bottom: of the strip, in inches from that of the figure.
        height: of the strip, in inches.
        analysis: what is drawn.
        kind: which rate.
        palette: light or dark.
        titled: with the name of the rate above.
    """
    width, whole = figure.get_size_inches()
    incidents = [one for one in analysis.incidents if one.kind == kind]
    left, right, low, high = 0.55, 0.88, 0.3, 0.5 if incidents else 0.34
    axes = figure.add_axes(
        (
            left / width,
            (bottom + low) / whole,
            (width - left - right) / width,
            (height - low - high) / whole,
        )
    )
    line, days = LINES[kind], analysis.days
    rates = [one.bounce if kind == "bounce" else one.complaint for one in days]
    weeks = _weeks(analysis, kind)
    top = _top(rates, line)
    peak = max((one.tally.mails for one in days), default=0)

    for incident in incidents:
        _incident(axes, incident.first, incident.last, analysis, palette)
    if peak:
        heights = [0.3 * top * one.tally.mails / peak for one in days]
        axes.bar(range(len(days)), heights, width=0.82, color=palette.volume, zorder=1)
    _days(axes, rates, top, line, palette)
    axes.plot(range(len(days)), weeks, color=palette.rate, linewidth=2.2, zorder=4)
    if len(weeks) > 1 and isnan(weeks[-2]):  # the first week: no line yet
        axes.plot([len(days) - 1], weeks[-1:], "D", color=palette.rate, markersize=5, zorder=4)
    _lines(axes, line, top, palette)
    _frame(axes, analysis, top, palette)
    legend = "no mail"
    if peak:
        legend = f"line: {WEEK} days, dots: days, bars: mails (up to {number(peak)} a day)"
    top_left = {"x": 0.1 / width, "y": (bottom + height - 0.1) / whole, "va": "top"}
    if titled:
        figure.text(
            s=f"{kind.capitalize()}s", size=9, weight="bold", color=palette.text, **top_left
        )
        top_left["x"] = 1 / width
    figure.text(s=legend, size=7.5, color=palette.faint, **top_left)


def _weeks(analysis: Analysis, kind: Kind) -> list[float]:
    """Our rate over the 7 days up to each day; NaN before the seventh, or when it tells nothing."""
    rate = bounce_rate if kind == "bounce" else complaint_rate
    found = []
    for end in range(1, len(analysis.days) + 1):
        week = rate(sum((one.tally for one in analysis.days[max(0, end - WEEK) : end]), Tally()))
        value = week.value if end >= WEEK and _telling(week, LINES[kind]) else None
        found.append(nan if value is None else value)
    return found


def _telling(rate: Rate, line: Line) -> bool:
    """Whether there are so many mails that one event alone does not pass AWS's review line."""
    return rate.mails * line.review >= 1


def _top(rates: list[Rate], line: Line) -> float:
    """Choose the height: AWS's pause line, and all rates that have mails enough to tell.

    One mail that bounces is a day of 100 %; it must not press the lines onto the floor.
    """
    telling = [rate.value or 0 for rate in rates if _telling(rate, line)]
    return 1.08 * max([line.pause, *telling])


def _days(axes: Axes, rates: list[Rate], top: float, line: Line, palette: Palette) -> None:
    """Draw each day as a dot: hollow when its mails are too few to tell, an arrow at the top."""
    known = [(x, rate.value, _telling(rate, line)) for x, rate in enumerate(rates) if rate.mails]
    inside = [(x, y or 0, telling) for x, y, telling in known if (y or 0) <= top]
    full = [(x, y) for x, y, telling in inside if telling]
    hollow = [(x, y) for x, y, telling in inside if not telling]
    above = [(x, 0.98 * top) for x, y, _ in known if (y or 0) > top]
    for points, marker, size, style in (
        (full, "o", 2.8, "full"),
        (hollow, "o", 3.4, "none"),
        (above, "^", 4.5, "full"),
    ):
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            marker=marker,
            markersize=size,
            fillstyle="none" if style == "none" else "full",
            linestyle="none",
            color=palette.rate,
            alpha=0.8,
            zorder=5,
            clip_on=False,
        )


def _incident(axes: Axes, first: date, last: date, analysis: Analysis, palette: Palette) -> None:
    start = analysis.days[0].day
    left, right = max(0, (first - start).days), (last - start).days
    axes.axvspan(left - 0.5, right + 0.5, color=palette.incident, zorder=0, linewidth=0)
    late = left > len(analysis.days) / 2
    axes.text(
        right + 0.4 if late else left - 0.4,
        1.03,
        "incident",
        transform=axes.get_xaxis_transform(),
        ha="right" if late else "left",
        va="bottom",
        size=7.5,
        color=palette.pause,
    )


def _lines(axes: Axes, line: Line, top: float, palette: Palette) -> None:
    """Draw AWS's lines and half of the first, each named at the right, none upon another."""
    named = [
        (line.review / 2, f"half {percent(line.review / 2)}", palette.half, ":"),
        (line.review, f"review {percent(line.review)}", palette.review, "--"),
        (line.pause, f"pause {percent(line.pause)}", palette.pause, "-"),
    ]
    lowest = 0.0
    for at, name, colour, style in named:
        axes.axhline(at, color=colour, linewidth=1.1, linestyle=style, zorder=3)
        place = max(at / top, lowest)
        lowest = place + 0.085
        axes.annotate(
            name,
            (1.01, place),
            xycoords="axes fraction",
            va="center",
            size=7.5,
            color=colour,
            annotation_clip=False,
        )


def _frame(axes: Axes, analysis: Analysis, top: float, palette: Palette) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    days = analysis.days
    axes.set_facecolor(palette.ground)
    axes.set_xlim(-0.6, len(days) - 0.4)
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    ticks = list(range(len(days) - 1, -1, -WEEK))[::-1]
    axes.set_xticks(ticks, [f"{days[i].day.day} {days[i].day:%b}" for i in ticks])
    axes.tick_params(colors=palette.faint, labelsize=7.5, length=2.5, width=0.6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(palette.faint)
