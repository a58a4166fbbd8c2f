"""How much memory a run takes: of the usual size, and of the largest that is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results import Goal, Measurement, Table, rounded

if TYPE_CHECKING:
    from benchmarks.bench import Bench

_LATENCY = 10
_GOALS = {10_000: 250, 100_000: 400}  # MB by messages


def measure(bench: Bench, *, quick: bool) -> Measurement:
    """Measure; takes a minute, or 10 seconds."""
    drains = []
    for messages in (10_000,) if quick else (10_000, 30_000, 100_000):
        bench.say(f"a run of {messages:,}")
        queue = bench.load(messages, latency_ms=_LATENCY)
        drains.append(bench.drain(queue, bench.fresh_database(), max_messages=messages))
    return Measurement(
        name="memory",
        title="Memory of a run",
        how="The most memory that the run's process had resident at a time (VmHWM; MB are 10⁶ "
        f"bytes), at {_LATENCY} ms, with `max_messages` set to what waits.",
        goals=[
            Goal(
                f"peak memory of a run of {drain.messages:,}",
                rounded(drain.peak_mb),
                "MB",
                _GOALS[drain.messages],
                at_least=False,
            )
            for drain in drains
            if drain.messages in _GOALS
        ],
        tables=[
            Table(
                "Runs by size",
                ["messages", "peak MB", "messages/s", "seconds"],
                [
                    [
                        drain.messages,
                        rounded(drain.peak_mb),
                        rounded(drain.rate),
                        rounded(drain.seconds),
                    ]
                    for drain in drains
                ],
            )
        ],
    )
