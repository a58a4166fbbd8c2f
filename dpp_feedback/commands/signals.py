"""What a command does when it is told to end."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


INTERRUPTED = 130  # exit code, as shells count Ctrl-C


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def like_ctrl_c(_number: int, _: FrameType | None) -> None:
    """For a command that runs a job: Dagster knows Ctrl-C as an end, and SystemExit as a fault."""
    signal.raise_signal(signal.SIGINT)


@contextmanager
def handing_back(end: Callable[[int, FrameType | None], None] = _end) -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the command as Ctrl-C does: with its `finally` blocks.

    Messages that are held are so handed back. What was told to ignore a closed terminal (nohup)
    goes on ignoring it.

    Args:
        end: what a signal does.

    Raises:
        SystemExit: by default with 128 and the signal's number, where the signal came.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
