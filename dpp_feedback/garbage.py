"""Python's garbage collector, held back where it finds nothing. Nothing else."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def uncollected() -> Iterator[None]:
    """Let nobody search for reference cycles meanwhile.

    Each of the many objects of a drain brings the next search nearer, and each search goes through
    all that Dagster has imported: half of the time for parsing (docs/performance.md). A drain's
    objects make no cycles; they go when nobody refers to them.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
