"""A coroutine that is run from code that is none: results, errors, signals, and nothing left."""

from __future__ import annotations

import asyncio
import signal
import threading
from threading import Thread, current_thread, main_thread
from typing import Any

import pytest

from dpp_feedback import event_loop


@pytest.fixture(autouse=True)
def _ctrl_c(_signals: None) -> None:
    """Let it raise here, also where the shell has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_what_it_returns_is_returned_and_no_thread_is_left() -> None:
    async def work() -> Thread:
        await asyncio.sleep(0)
        return current_thread()

    before = set(threading.enumerate())
    thread = event_loop.run(work)
    assert thread is not main_thread()
    assert not thread.is_alive()
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_what_it_raises_is_raised(error: type[BaseException]) -> None:
    async def work() -> None:
        raise error

    with pytest.raises(error):
        event_loop.run(work)


def test_it_runs_where_the_caller_has_a_loop_already() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    async def notebook() -> int:
        return event_loop.run(work)

    assert asyncio.run(notebook()) == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_tells_the_coroutine_and_does_its_work_once_it_has_ended(number: int) -> None:
    happened = []

    def handle(*_: object) -> None:
        happened.append("handled")
        raise InterruptedError

    async def work() -> None:
        signal.pthread_kill(main_thread().ident or 0, number)
        while happened != ["told"]:
            await asyncio.sleep(0.001)
        happened.append("ended")

    signal.signal(number, handle)
    with pytest.raises(InterruptedError):
        event_loop.run(work, lambda: happened.append("told"))
    assert happened == ["told", "ended", "handled"]


def test_on_another_thread_it_runs_too() -> None:
    done: list[Any] = []

    async def work() -> None:
        done.append(current_thread())

    thread = Thread(target=lambda: event_loop.run(work))
    thread.start()
    thread.join()
    assert done != [thread]
    assert len(done) == 1
