"""The two rates by day as PNG pictures, with AWS's lines drawn in.

No names in them: the pictures' font has no letters for domains in every script.
"""

from __future__ import annotations

import io
import logging
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpp_feedback.report.palette import DARK, LIGHT, Palette
from dpp_feedback.report.plot import plot
from dpp_feedback.report.sentences import headline
from dpp_feedback.report.words import KINDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dpp_feedback.feedback.analysis import Analysis
    from dpp_feedback.report.words import Kind

_DPI = 200  # two pixels of the picture for one of the page: sharp on paper, too
_COLOURS = 64  # of the palette: a third of the bytes, and no difference to be seen


@dataclass(frozen=True, slots=True)
class Chart:
    """One rate as PNG: wide, and narrow for a phone or a mail; each light and dark."""

    wide: bytes
    wide_dark: bytes
    narrow: bytes
    narrow_dark: bytes


def drawn(analysis: Analysis) -> dict[Kind, Chart]:
    """Draw both rates once, for the page and for the mail."""
    return {
        kind: Chart(
            wide=chart(analysis, kind),
            wide_dark=chart(analysis, kind, palette=DARK),
            narrow=chart(analysis, kind, narrow=True),
            narrow_dark=chart(analysis, kind, palette=DARK, narrow=True),
        )
        for kind in KINDS
    }


def chart(
    analysis: Analysis, kind: Kind, *, palette: Palette = LIGHT, narrow: bool = False
) -> bytes:
    """Draw one rate over the days of the analysis, as PNG.

    Args:
        analysis: what is drawn.
        kind: which rate.
        palette: light or dark.
        narrow: for a phone or a mail: 360 pixels of a page instead of 720.
    """
    width, height = (3.6, 2.5) if narrow else (7.2, 2.8)
    figure = _figure(width, height, _DPI, palette)
    plot(figure, 0, height, analysis, kind, palette)
    return _png(figure)


def picture(analysis: Analysis) -> bytes:
    """Draw both rates below the headline, as one PNG of about 800 by 700 pixels."""
    lines = textwrap.wrap(headline(analysis), 76)
    above, each = 0.25 + 0.19 * len(lines), 2.7
    height = above + len(KINDS) * each
    figure = _figure(7.2, height, 112, LIGHT)
    figure.text(
        *(0.1 / 7.2, 1 - 0.1 / height),
        "\n".join(lines),
        va="top",
        size=10.5,
        weight="bold",
        color=LIGHT.text,
    )
    for i, kind in enumerate(KINDS):
        plot(figure, each * (len(KINDS) - 1 - i), each, analysis, kind, LIGHT, titled=True)
    return _png(figure)


def _figure(width: float, height: float, dpi: int, palette: Palette) -> Figure:
    """Make an empty picture, of so many inches.

    Where no home can be written, as in a pod with a read-only file system, matplotlib keeps its
    font cache in a temporary folder by itself. That costs a second, and needs no warning.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=dpi, facecolor=palette.ground)


def _png(figure: Figure) -> bytes:
    """Write a PNG with a palette; the same picture gives the same bytes."""
    from PIL import Image

    drawn, written = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(written, "PNG", optimize=True)
    return written.getvalue()
