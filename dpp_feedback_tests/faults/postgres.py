"""A Postgres that can be stopped, killed and started, and a TCP front that acts between statements.

Real servers, real sockets: nothing here imitates Postgres. The front knows of its protocol only
that a statement's text stands in it as it is.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from signal import SIGKILL, SIGQUIT
from threading import Lock, Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import psycopg

from dpp_feedback.local.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    import pytest

INSERT = "INSERT INTO public.ses_feedback_events"
"""Begins the statement that stores events. A run's first one is the probe before it receives."""

_CHUNK = 65_536


class Server(EmbeddedPostgres):
    """A server of a test's own, which may die."""

    def crash(self) -> None:
        """Let it shut down immediately, as `pg_ctl stop -m immediate` does: it must recover."""
        self._end(SIGQUIT)

    def kill(self) -> None:
        """Kill it with all its processes, as a machine that loses its power does."""
        self._end(SIGKILL)

    def configure(self, line: str) -> None:
        """Put a line before the others of pg_hba.conf, and have it read."""
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"{line}\n{rules.read_text()}")
        with closing(psycopg.connect(self.url("postgres"), autocommit=True)) as connection:
            connection.execute("SELECT pg_reload_conf()")

    def _end(self, number: int) -> None:
        found = self._find()
        assert found, "it runs"
        postmaster = psutil.Process(found[0].pid)
        processes = [postmaster, *postmaster.children()]
        for process in processes if number == SIGKILL else processes[:1]:
            with suppress(psutil.NoSuchProcess):
                os.kill(process.pid, number)
        _, alive = psutil.wait_procs(processes, timeout=30)
        assert not alive


@dataclass
class _Act:
    statement: bytes
    nth: int
    do: Callable[[], None]
    cut_before: bool
    cut_after: bool


class Front:
    """Listens where the product connects, and passes everything on to a server.

    Attributes:
        url: of the database, by this way.
        connections: how many there have been.
    """

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        assert parts.port
        self._behind = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        login = parts.netloc.rpartition("@")[0]
        self.url = parts._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()
        self.connections = 0
        self._acts: list[_Act] = []
        self._seen: Counter[bytes] = Counter()
        self._lock = Lock()
        self._sockets: list[socket.socket] = []
        Thread(target=self._accept, daemon=True).start()

    def before(self, statement: str, do: Callable[[], None], *, nth: int = 1) -> None:
        """Do something before the `nth` statement that holds this text goes to the server."""
        self._acts.append(_Act(statement.encode(), nth, do, cut_before=False, cut_after=False))

    def cut_before(self, statement: str, *, nth: int = 1) -> None:
        """End the connection instead of passing that statement on."""
        act = _Act(statement.encode(), nth, _nothing, cut_before=True, cut_after=False)
        self._acts.append(act)

    def cut_after(self, statement: str, *, nth: int = 1) -> None:
        """End the connection when the server has done that statement, without its answer."""
        act = _Act(statement.encode(), nth, _nothing, cut_before=False, cut_after=True)
        self._acts.append(act)

    def close(self) -> None:
        """End it, and what goes through it."""
        for one in [self._listener, *self._sockets]:
            _end(one)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                try:
                    server = socket.create_connection(self._behind)
                except OSError:
                    _end(client)
                    continue
                self._sockets += [client, server]
                muted: list[bool] = []
                for pump in (self._to_server, self._to_client):
                    Thread(target=pump, args=(client, server, muted), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, muted: list[bool]) -> None:
        with suppress(OSError):
            while data := client.recv(_CHUNK):
                for act in self._due(data):
                    act.do()
                    if act.cut_before:
                        raise ConnectionAbortedError
                    if act.cut_after:
                        muted.append(True)
                server.sendall(data)
        if not muted:
            _end(client)
            _end(server)

    def _to_client(self, client: socket.socket, server: socket.socket, muted: list[bool]) -> None:
        with suppress(OSError):
            while data := server.recv(_CHUNK):
                if muted:
                    break
                client.sendall(data)
        _end(client)
        _end(server)

    def _due(self, data: bytes) -> list[_Act]:
        """Which acts this part of the stream is for: libpq sends a statement's text in one part."""
        with self._lock:
            self._seen.update({act.statement for act in self._acts if act.statement in data})
            return [
                act
                for act in self._acts
                if act.statement in data and self._seen[act.statement] == act.nth
            ]


class Naps:
    """What a run would sleep between two tries: it does not, and something happens meanwhile.

    Attributes:
        seconds: of each nap so far.
        meanwhile: what happens in each.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.meanwhile: Callable[[], object] = _nothing

    @classmethod
    def instead_of_sleeping(cls, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Take the place of the sleep of the library that tries again."""
        naps = cls()
        monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=naps._nap))
        return naps

    def _nap(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.meanwhile()


@contextmanager
def front(database_url: str) -> Iterator[Front]:
    """Put a front before a database while inside."""
    own = Front(database_url)
    try:
        yield own
    finally:
        own.close()


@contextmanager
def beside(do: Callable[[], None]) -> Iterator[None]:
    """Do something on a thread of its own while inside; what it raises is raised at the end."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(do)
        yield
        done.result()


def _nothing() -> None:
    """Only the connection ends."""


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
