"""What a command does when it is told to end."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dpp_feedback.interrupts import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


INTERRUPTED = 130  # exit code, as shells count Ctrl-C


def _end(number: int, _: FrameType | None) -> None:
    _deaf(*SIGNALS)
    sys.exit(128 + number)


def like_ctrl_c(_number: int, _: FrameType | None) -> None:
    """For a command that runs a job: Dagster knows Ctrl-C as an end, and SystemExit as a fault."""
    _deaf(signal.SIGTERM, signal.SIGHUP)
    signal.raise_signal(signal.SIGINT)


def _interrupt(_number: int, _: FrameType | None) -> None:
    _deaf(*SIGNALS)
    raise KeyboardInterrupt


def _deaf(*numbers: signal.Signals) -> None:
    """Hand back in peace: whoever is impatient signals again."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def handing_back(end: Callable[[int, FrameType | None], None] = _end) -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the command as Ctrl-C does: with its `finally` blocks.

    Messages that are held are so handed back. The first signal counts; further ones do not disturb
    that. What was told to ignore a closed terminal (nohup) goes on ignoring it.

    Args:
        end: what SIGTERM and SIGHUP do.

    Raises:
        KeyboardInterrupt: where Ctrl-C came.
        SystemExit: by default with 128 and the signal's number, where another signal came.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt if number is signal.SIGINT else end)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # told to end: stay deaf
                signal.signal(number, handler)
