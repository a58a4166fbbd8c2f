"""Processes of the local stack: started detached, recorded in a file, ended by that record.

A record is a pid together with the moment its process began, because pids are reused. What is
neither recorded here nor of a recorded one's session is never signalled. What a server is, and
when it is ready, its module knows.
"""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from dpp_feedback.local.errors import StackError

# What a server inherits. Not the rest: PGDATA, SMTP_HOST, AWS_PROFILE or USE_SSL, set for other
# things, would change what the servers do.
_INHERITED = frozenset({"PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"})

# The time of a system's start, of which psutil makes the other times, moves with the clock's
# corrections. No pid comes round again within this time.
_CREATE_TIME_SLACK_SECONDS = 2.0

_LOCK_SECONDS = 120.0

# A Popen that is collected while its process lives warns; these outlive this program on purpose.
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Record:
    """One process of ours: which, and since when (seconds since the epoch)."""

    pid: int
    create_time: float
    name: str

    @classmethod
    def of(cls, process: psutil.Process) -> "Record":
        """Describe a living process.

        Raises:
            psutil.NoSuchProcess: It has ended.
        """
        return cls(process.pid, process.create_time(), process.name())

    @classmethod
    def read(cls, path: Path) -> "Record | None":
        """Read what `write` wrote; None when there is no file, or not such a one."""
        try:
            content = json.loads(path.read_bytes())
            return cls(int(content["pid"]), float(content["create_time"]), str(content["name"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Keep this record in a file."""
        write_atomically(path, json.dumps(asdict(self)) + "\n")

    def process(self) -> psutil.Process | None:
        """Return the living process that this record means; None when it ended."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time) < _CREATE_TIME_SLACK_SECONDS
            # A child of this program that ended is a zombie until somebody asks how.
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


def start_detached(
    argv: Sequence[str], *, folder: Path, log: Path, env: Mapping[str, str]
) -> Record:
    """Start a process that outlives this program and ignores its terminal.

    Args:
        argv: Program and arguments.
        folder: Where it runs.
        log: File that receives what it prints, after what is there.
        env: Its whole environment.
    """
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(child)
    return Record.of(psutil.Process(child.pid))


def stop(record: Record, *, politely: signal.Signals = signal.SIGTERM, seconds: float = 30) -> bool:
    """End the recorded process, and only that one.

    Args:
        record: Which.
        politely: The signal that asks it to end in good order.
        seconds: How long it may take before it is killed.

    Returns:
        Whether it was alive.
    """
    process = record.process()
    if process is None:
        return False
    with suppress(psutil.NoSuchProcess):
        process.send_signal(politely)
        if not _ended(record, seconds):
            process.kill()
            _ended(record, seconds)
    return True


def session(leader: Record) -> list[Record]:
    """Return the living processes that a detached process started, at any remove."""
    found = []
    for child in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            # A session's number is its leader's pid, and is not given again while a member lives.
            if os.getsid(child.pid) == leader.pid and child.create_time() > leader.create_time:
                found.append(Record.of(child))
    return found


def _ended(record: Record, seconds: float) -> bool:
    # Not psutil's wait: it also waits until the parent has asked how a process ended, and the
    # first process of a container may never ask.
    deadline = time.monotonic() + seconds
    while record.process() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    _children[:] = [child for child in _children if child.poll() is None]
    return True


def inherited_environment() -> dict[str, str]:
    """Return the little of this program's environment that a server needs."""
    return {name: value for name, value in os.environ.items() if name in _INHERITED}


def write_atomically(path: Path, content: str) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(content, encoding="utf-8")
    unfinished.replace(path)


@contextmanager
def exclusively(folder: Path) -> Iterator[None]:
    """Make a folder if need be and hold it against every other holder, threads included.

    The lock is on the folder itself: no lock file is left behind, and it ends with its holder
    however that ends.

    Raises:
        StackError: Somebody held it for two minutes.
    """
    deadline = time.monotonic() + _LOCK_SECONDS
    while (held := _try_to_hold(folder)) is None:
        if time.monotonic() > deadline:
            raise StackError(
                f"Another program has been starting or stopping {folder} for two minutes. "
                "End it and try again."
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        os.close(held)


@contextmanager
def alone(folder: Path, otherwise: str) -> Iterator[None]:
    """Hold a folder as `exclusively` does, but wait for nobody.

    Raises:
        StackError: somebody holds it; with the message `otherwise`.
    """
    if (held := _try_to_hold(folder)) is None:
        raise StackError(otherwise)
    try:
        yield
    finally:
        os.close(held)


def _try_to_hold(folder: Path) -> int | None:
    folder.mkdir(parents=True, exist_ok=True)
    held = None
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who waited while another wiped the folder holds one that is gone.
        if os.path.samestat(os.fstat(held), folder.stat()):
            return held
    except (BlockingIOError, FileNotFoundError):
        pass
    if held is not None:
        os.close(held)
    return None
