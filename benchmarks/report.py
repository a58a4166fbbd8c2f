"""Writes docs/performance.md from the files of results, and from nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.machine import REPOSITORY
from benchmarks.pictures import draw
from benchmarks.results import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Cell, Result

PAGE = REPOSITORY / "docs" / "performance.md"


def write(found: Sequence[Result], page: Path) -> None:
    """Write the page, and its pictures into a folder beside it that has its name."""
    page.parent.mkdir(parents=True, exist_ok=True)
    folder = page.with_suffix("")
    for result in found:
        for plot in result.measurement.plots:
            folder.mkdir(exist_ok=True)
            draw(plot, folder / f"{plot.file}.svg")
    page.write_text(text(found, folder.name))


def text(found: Sequence[Result], pictures: str) -> str:
    """Return the page.

    Args:
        found: what was measured, in the order of the page.
        pictures: the folder of the pictures, from the page.
    """
    # Markdown has nothing to escape here: the words are those of the measurements' modules.
    templates = Environment(  # noqa: S701 - it is Markdown
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["row"] = _row
    return templates.get_template("performance.md.j2").render(found=found, pictures=pictures)


def _row(cells: Sequence[Cell]) -> str:
    """Write one line of a table in Markdown."""
    return f"| {' | '.join(shown(cell) for cell in cells)} |"
