"""A real TCP front on loopback before Postgres that loses commits: unsent, or only their answers.

A client that loses its connection at COMMIT cannot know which of the two happened.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager, suppress
from select import select
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import TYPE_CHECKING, Literal, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

Loss: TypeAlias = Literal["before", "after"]
"""Whether the connection ends before Postgres commits, or after it, without the answer."""

_COMMIT = b"COMMIT\0"  # the end of a simple query's message


class Front(ThreadingTCPServer):
    """Passes connections on to Postgres.

    Args:
        database_url: where to.

    Attributes:
        url: the same database, through the front.
        is_down: whether new connections end at once.
    """

    daemon_threads = True

    def __init__(self, database_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = conninfo_to_dict(database_url)
        self.url = psycopg.conninfo.make_conninfo(
            database_url, host="127.0.0.1", port=self.server_address[1]
        )
        self.is_down = False
        self.loss: Loss | None = None
        self._passing = 0
        self._down_after = False

    def lose(self, loss: Loss, after: int, *, then_down: bool = False) -> None:
        """Lose one commit.

        Args:
            loss: what is lost.
            after: lets so many commits pass first.
            then_down: take no new connections from then on.
        """
        self.loss, self._passing, self._down_after = loss, after, then_down

    def mend(self) -> None:
        """Lose nothing from now on."""
        self.loss, self.is_down = None, False

    def losing(self) -> Loss | None:
        """Decide about one commit."""
        if self.loss is None or self._passing:
            self._passing -= 1
            return None
        loss, self.loss, self.is_down = self.loss, None, self._down_after
        return loss


class _Handler(BaseRequestHandler):
    server: Front
    request: socket.socket

    def handle(self) -> None:
        if self.server.is_down:
            return
        target = (str(self.server.target["host"]), int(str(self.server.target["port"])))
        with socket.create_connection(target) as upstream, suppress(ConnectionError):
            other = {self.request: upstream, upstream: self.request}
            while True:
                for side in select(list(other), [], [])[0]:
                    data = side.recv(65536)
                    if not data:
                        return
                    loss = self.server.losing() if data.endswith(_COMMIT) else None
                    if loss != "before":
                        other[side].sendall(data)
                    if loss == "after":
                        upstream.recv(65536)  # it has committed when it answers
                    if loss:
                        return


@contextmanager
def front(database_url: str) -> Iterator[Front]:
    """Serve until the end of the block."""
    with Front(database_url) as server:
        thread = Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
