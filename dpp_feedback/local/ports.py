"""TCP ports on loopback: is one free, who holds it when it is not, does a server answer there.

Nothing here starts or stops a process.
"""

import http.client
import random
import socket
import time
from http import HTTPStatus

import psutil

from dpp_feedback.local.errors import StackError

LOOPBACK = "127.0.0.1"

# Below the ports that systems give to outgoing connections (from 32768 on Linux, 49152 on
# macOS): one of those may take a port between the moment it was free and the server's start.
_FREE_PORTS = range(20_000, 32_000)

# How long a port can stay unusable after its last connection was closed.
_LINGER_SECONDS = 70.0

# How long a killed process may still seem to listen, when it can no longer be found.
_DEATH_SECONDS = 5.0


def free_port() -> int:
    """Return a port on loopback that nobody holds at this moment."""
    while True:
        port = random.choice(_FREE_PORTS)  # noqa: S311 - it guards nothing
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this loopback port now."""
    # macOS lets a second server bind 127.0.0.1 beside one on all interfaces: ask first.
    return not _answers(port) and _binds(port)


def listening(process: psutil.Process) -> set[int]:
    """Return the ports this very process listens on; none when it may not be asked."""
    try:
        sockets = process.net_connections(kind="tcp")
    except psutil.Error:
        return set()
    return {s.laddr.port for s in sockets if s.status == psutil.CONN_LISTEN}


def serves(port: int, path: str) -> bool:
    """Tell whether an HTTP server on this loopback port answers for a path."""
    # http.client, because it never goes through a proxy.
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def require_free(port: int, option: str) -> None:
    """Return when the port is free.

    Args:
        port: The port a server is about to listen on.
        option: The command-line option that chooses another port, for the message.

    Raises:
        StackError: The port is taken; the message names the process and the option.
    """
    start = time.monotonic()
    while not is_free(port):
        waited = time.monotonic() - start
        answers = _answers(port)
        holder = _holder(port) if answers else None
        if holder is None and waited < (_DEATH_SECONDS if answers else _LINGER_SECONDS):
            time.sleep(0.1)
            continue
        raise StackError(
            f"Port {port} is taken by {holder or 'a process of another user'}. "
            f"Stop it or choose another with {option}."
        )


def _answers(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((LOOPBACK, port)) == 0


def _binds(port: int) -> bool:
    with socket.socket() as server:
        # As the servers do, so that their own closed connections do not count.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _holder(port: int) -> str | None:
    # Process by process: the system-wide list needs root on macOS.
    for process in psutil.process_iter(["name"]):
        if port in listening(process):
            return f"pid {process.pid} ({process.info['name']})"
    return None
