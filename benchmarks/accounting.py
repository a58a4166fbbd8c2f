"""What a process has cost: as it sees itself, or with its children as others see it."""

from __future__ import annotations

import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import psutil

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of the clock, and of the processor: user and system, of all threads."""

    seconds: float
    cpu_seconds: float


class Clock:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = perf_counter(), process_time()

    def spent(self) -> Spent:
        """Read it."""
        return Spent(perf_counter() - self._wall, process_time() - self._cpu)


def peak_mb() -> float:
    """Return the most memory that this process has had resident at a time, in MB of 10^6 bytes."""
    if _STATUS.exists():  # Linux's getrusage counts the process before exec in
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
        if found:
            return int(found[1]) * 1024 / 1e6
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1e6 if sys.platform == "darwin" else used * 1024 / 1e6


def tree_cpu_seconds(pid: int) -> float:
    """Return the seconds of the processor that a process, and all it has started, have used."""
    parent = psutil.Process(pid)
    times = parent.cpu_times()
    ended = times.children_user + times.children_system
    living = [parent, *parent.children(recursive=True)]
    return float(ended) + sum(t.user + t.system for t in (one.cpu_times() for one in living))
