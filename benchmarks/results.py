"""What a measurement found: its file in benchmarks/results/, written and read back.

A number is rounded before it is written, so that the file, the terminal and docs/performance.md
show the same one.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = Path(__file__).with_name("results")

Number: TypeAlias = float | int
Cell: TypeAlias = str | float | int


def rounded(value: float, digits: int = 3) -> Number:
    """Round to significant digits; what is before the point stays whole."""
    if value == 0:
        return 0
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    shorter = round(value, places)
    return int(shorter) if shorter == int(shorter) else shorter


def shown(cell: Cell) -> str:
    """Write a cell as a person reads it."""
    return cell if isinstance(cell, str) else f"{cell:,}"


@dataclass(frozen=True, slots=True)
class Goal:
    """Something that was to be reached.

    Attributes:
        what: was measured.
        value: that was measured, rounded.
        unit: of value and limit; "" for a ratio.
        limit: the goal.
        at_least: whether more is better.
    """

    what: str
    value: Number
    unit: str
    limit: Number
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def goal(self) -> str:
        """The goal in words."""
        return f"at {'least' if self.at_least else 'most'} {self._with_unit(self.limit)}"

    @property
    def measured(self) -> str:
        """The value in words."""
        return self._with_unit(self.value)

    def _with_unit(self, number: Number) -> str:
        return f"{shown(number)} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers for people, each rounded."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture.

    Attributes:
        file: its name in docs/performance/, without suffix.
        title: what it shows.
        x: what the horizontal axis shows; of bars, the vertical one's.
        y: likewise.
        kind: bars are horizontal, one for each point of each series.
        series: by name, points of x and y; of bars, a name and a length.
    """

    file: str
    title: str
    x: str
    y: str
    kind: Literal["bars", "lines"]
    series: dict[str, list[tuple[Cell, Number]]]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement, whole.

    Attributes:
        name: of its file and its module.
        title: a heading.
        how: what was measured and how, in sentences, in Markdown.
        goals: what was to be reached; without those that the sizes of `--quick` cannot show.
        tables: what was measured.
        plots: pictures of it.
        binds: where a goal is missed, what binds, and the experiment that shows it.
        figures: numbers that another measurement computes with.
    """

    name: str
    title: str
    how: str
    goals: list[Goal]
    tables: list[Table]
    plots: list[Plot] = field(default_factory=list)
    binds: str = ""
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """A measurement, and what it was made on."""

    measurement: Measurement
    machine: dict[str, str]
    quick: bool


def write(result: Result, folder: Path = FOLDER) -> Path:
    """Write a result; return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.measurement.name}.json"
    content = asdict(result)
    for goal, written in zip(
        result.measurement.goals, content["measurement"]["goals"], strict=True
    ):
        written["met"] = goal.met
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def read(name: str, folder: Path = FOLDER) -> Result:
    """Read a result back.

    Raises:
        FileNotFoundError: nobody has measured it.
    """
    return _result(json.loads((folder / f"{name}.json").read_text()))


def read_all(names: Sequence[str], folder: Path = FOLDER) -> list[Result]:
    """Read those of these results that are there, in this order."""
    return [read(name, folder) for name in names if (folder / f"{name}.json").exists()]


def _result(content: dict[str, Any]) -> Result:
    said = content["measurement"]
    for goal in said["goals"]:
        del goal["met"]
    said["goals"] = [Goal(**goal) for goal in said["goals"]]
    said["tables"] = [Table(**table) for table in said["tables"]]
    said["plots"] = [Plot(**plot) for plot in said["plots"]]
    return Result(Measurement(**said), content["machine"], content["quick"])
