"""Debian's pgbouncer before a server: a transaction pooler, as Supabase's port 6543 is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from time import sleep
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest

from dpp_feedback.local import ports

if TYPE_CHECKING:
    from pathlib import Path

_SBIN = "/usr/sbin"  # where Debian puts it; not on the path of an ordinary user


class PgBouncer:
    """One pgbouncer before one server, in transaction mode, with two connections to it.

    Args:
        folder: its own, empty.
        server_url: of any database of the server.
    """

    def __init__(self, folder: Path, server_url: str) -> None:
        found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:{_SBIN}")
        if found is None:
            pytest.skip("pgbouncer is not installed: `apt-get install pgbouncer`")
        self._program = found
        self._settings = folder / "pgbouncer.ini"
        self._log = folder / "pgbouncer.log"
        self._port = ports.free_port()
        behind = urlsplit(server_url)
        # "any" asks nobody who he is: all are the user that the databases are given with.
        self._settings.write_text(f"""
[databases]
* = host={behind.hostname} port={behind.port} user={behind.username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self._port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
server_login_retry = 1
""")
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database_url: str) -> str:
        """Give the address of a database by way of the pooler."""
        parts = urlsplit(database_url)
        return parts._replace(netloc=f"{parts.username}@127.0.0.1:{self._port}").geturl()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # Root it refuses to be; "nobody" it becomes when it has read its settings.
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *user, self._settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        for _ in range(500):
            try:
                psycopg.connect(self.url("postgresql://postgres@/postgres")).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, self._log.read_text()
                sleep(0.02)
            else:
                return
        raise AssertionError(self._log.read_text())

    def stop(self) -> None:
        """Kill it: whoever is connected loses the connection."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
