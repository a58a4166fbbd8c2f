"""Run a coroutine from code that is none. Nothing else."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from dpp_feedback.interrupts import deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


def run(work: Callable[[], Coroutine[Any, Any, T]], told: Callable[[], None] = lambda: None) -> T:
    """Run it to its end on a thread of its own, and return or raise what it does.

    A thread of its own, because the caller's may have an event loop already (a notebook), and
    because what a signal raises there must not come out of the middle of the loop: calls under way
    would be given up, and with them the messages that they bring.

    Args:
        work: makes the coroutine.
        told: called when a signal comes, to end the coroutine early; it is still waited for.
    """
    with deferred(told):
        return _on_a_thread(work)


def _on_a_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    # A function of its own: its end frees the pool while signals are deferred. Python calls
    # back then, and an exception in there is ignored.
    with ThreadPoolExecutor(1, "sqs") as pool:
        return pool.submit(lambda: asyncio.run(work())).result()
