"""Python's garbage collector, held back where it finds nothing. Nothing else."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def uncollected() -> Iterator[None]:
    """Let nobody search for reference cycles meanwhile, nor later among what is there by then.

    Each of the many objects of a drain brings the next search nearer, and each search goes through
    them and all that Dagster has imported: half of the time for parsing, and a seventh of a run
    when it happens between the ops (docs/performance.md). A drain's objects make no cycles; they go
    when nobody refers to them. `collected_again` gives everything back to the collector.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def collected_again() -> None:
    """End what `uncollected` began, for a process that goes on with something else."""
    gc.unfreeze()
