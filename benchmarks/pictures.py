"""Pictures of measurements, in the report's colours. Imported only where a page is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.results import shown
from dpp_feedback.report.palette import LIGHT

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.results import Plot

_COLOURS = (LIGHT.rate, LIGHT.review, LIGHT.half, LIGHT.pause)
_WIDTH, _LINES_HEIGHT, _BAR_HEIGHT = 8.0, 3.6, 0.24  # inches
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "svg.hashsalt": "dpp_feedback",  # the same picture is the same file
    "text.color": LIGHT.text,
    "axes.labelcolor": LIGHT.faint,
    "axes.edgecolor": LIGHT.volume,
    "xtick.color": LIGHT.faint,
    "ytick.color": LIGHT.text,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(plot: Plot, file: Path) -> None:
    """Draw a plot into an SVG file."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    bars = sum(len(points) for points in plot.series.values())
    height = _LINES_HEIGHT if plot.kind == "lines" else 1 + _BAR_HEIGHT * bars
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor=LIGHT.ground)
        axes = figure.subplots()
        axes.set_title(plot.title, loc="left", fontweight="bold")
        axes.set_xlabel(plot.x)
        axes.set_ylabel(plot.y)
        (_lines if plot.kind == "lines" else _bars)(axes, plot)
        if len(plot.series) > 1:
            axes.legend(frameon=False)
        figure.savefig(file, format="svg", metadata={"Date": None})


def _lines(axes: Axes, plot: Plot) -> None:
    for (name, points), colour in zip(plot.series.items(), _COLOURS, strict=False):
        axes.plot(
            [x for x, _ in points], [y for _, y in points], color=colour, marker="o", label=name
        )
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)  # no marker is cut
    axes.grid(axis="y", color=LIGHT.volume)


def _bars(axes: Axes, plot: Plot) -> None:
    names = list(dict.fromkeys(str(x) for points in plot.series.values() for x, _ in points))
    width = 0.8 / len(plot.series)
    for number, ((name, points), colour) in enumerate(
        zip(plot.series.items(), _COLOURS, strict=False)
    ):
        places = [names.index(str(x)) + (number + 0.5) * width - 0.4 for x, _ in points]
        drawn = axes.barh(places, [y for _, y in points], width * 0.9, color=colour, label=name)
        axes.bar_label(drawn, [shown(y) for _, y in points], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.1)
