"""Whether something that is sampled again and again stays as it was. Pure.

The rule: the median of the last third is not above that of the first third by more than a
tolerance. Medians, because a sample in the middle of a fault tells of that fault; the tolerance
for memory, because Python's and malloc's arenas breathe.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much more is still flat.

    Attributes:
        what: is sampled.
        share: of the first third's median.
        more: on top of that, in units of the samples.
    """

    what: str
    share: float
    more: float


TOLERANCES = {
    "memory_mb": Tolerance("memory of the process that stays, MB", 0.05, 5),
    "threads": Tolerance("its threads", 0, 1),
    "files": Tolerance("its open files", 0, 2),
    "connections": Tolerance("connections to Postgres", 0, 1),
}


@dataclass(frozen=True, slots=True)
class Flatness:
    """What the samples say.

    Attributes:
        what: was sampled.
        samples: how many.
        first: median of the first third.
        last: median of the last third.
        most: up to which the last third is flat.
    """

    what: str
    samples: int
    first: float
    last: float
    most: float

    @property
    def is_flat(self) -> bool:
        """Whether the rule holds."""
        return self.last <= self.most


def flatness(samples: Sequence[float], tolerance: Tolerance) -> Flatness:
    """Compare the last third of the samples with the first.

    Raises:
        ValueError: there are fewer than six.
    """
    third = len(samples) // 3
    if third < 2:
        raise ValueError(f"{len(samples)} samples are too few to compare thirds of them.")
    first, last = median(samples[:third]), median(samples[-third:])
    most = first * (1 + tolerance.share) + tolerance.more
    return Flatness(tolerance.what, len(samples), first, last, most)
