"""Signals that wait until threads have ended. Nothing else.

Python raises KeyboardInterrupt between any two instructions of the main thread, those of
`threading` and `concurrent.futures` included. There it leaves a lock taken, so that the pool never
ends, or a thread that the pool does not know and does not wait for.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def deferred(told: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal wait for the end of the block.

    There the first one that came does what it would have done; what is ignored stays ignored. On
    other threads than the main one there is nothing to defer.

    Args:
        told: called when one comes, to end the block early. It takes no lock: what it interrupts
            may hold it.
    """
    if current_thread() is not main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)
        told()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    # None: a handler that Python did not set, and cannot set again.
    before = {n: handler for n, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, note)
        yield
    finally:
        # Ctrl-C last: from then on it raises, and the others must be themselves again by then.
        for number, handler in reversed(before.items()):
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
