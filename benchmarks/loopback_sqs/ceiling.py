"""How many requests a second the server itself can answer: measured with less than boto3.

Raw connections of one event loop, requests that are made before the clock starts, and answers that
are read but not parsed. It costs so little that the server's core is what is full.

    python -m benchmarks.loopback_sqs.ceiling
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit
from uuid import uuid4

import click
import uvloop

from benchmarks.loopback_sqs.control import Control, LoopbackSqs

if TYPE_CHECKING:
    from collections.abc import Iterable

BODY = "x" * 2_500
_REQUESTS = 5_000
_BATCH = 10
_CONNECTIONS = 16
# As many and as long as boto3's: the server reads those too.
_HEADERS = "".join(
    f"{name}: {'x' * length}\r\n"
    for name, length in {
        "User-Agent": 150,
        "X-Amz-Date": 16,
        "Authorization": 230,
        "amz-sdk-invocation-id": 36,
        "amz-sdk-request": 9,
        "Accept-Encoding": 8,
    }.items()
)
_LENGTH = re.compile(rb"Content-Length: (\d+)\r\n\r\n")
_HANDLE = re.compile(rb'"ReceiptHandle":"([^"]+)"')


@dataclass(frozen=True)
class Ceiling:
    """Requests a second that the server answers, each kind alone.

    Attributes:
        receives: ReceiveMessage with 10 messages of 2.5 KB.
        deletes: DeleteMessageBatch of 10.
    """

    receives: float
    deletes: float


def ceiling(url: str, connections: int = _CONNECTIONS) -> Ceiling:
    """Measure the server at this URL, with a queue of its own, which is deleted again.

    Takes 2 to 5 seconds, and a core for itself.

    Args:
        url: the endpoint.
        connections: so many requests are under way; with latency it takes more to fill the server.
    """
    return uvloop.run(_measure(url, connections))


async def _measure(url: str, connections: int) -> Ceiling:
    control, name = Control(url), f"ceiling-{uuid4().hex}"
    queue_url = control.create(name, visibility_timeout=600)
    control.load(name, (BODY for _ in range(_REQUESTS * _BATCH)))
    receive = (
        f'{{"QueueUrl":"{queue_url}","MaxNumberOfMessages":{_BATCH},"MessageSystemAttributeNames":'
        '["SentTimestamp","ApproximateReceiveCount"]}'
    )
    receives, answers = await _ask(url, "ReceiveMessage", [receive] * _REQUESTS, connections)
    handles = [handle.decode() for answer in answers for handle in _HANDLE.findall(answer)]
    if len(set(handles)) != _REQUESTS * _BATCH:
        raise RuntimeError("The server gave some message twice, or none.")
    batches = [handles[i : i + _BATCH] for i in range(0, len(handles), _BATCH)]
    deletes, _ = await _ask(
        url, "DeleteMessageBatch", [_delete(queue_url, some) for some in batches], connections
    )
    await _ask(url, "DeleteQueue", [f'{{"QueueUrl":"{queue_url}"}}'], 1)
    control.close()
    return Ceiling(receives, deletes)


async def _ask(
    url: str, action: str, bodies: Iterable[str], connections: int
) -> tuple[float, list[bytes]]:
    """Send all requests; return how many a second were answered, and the answers."""
    waiting = deque(_request(url, action, body) for body in bodies)
    number, answers = len(waiting), list[bytes]()
    loop, at = asyncio.get_running_loop(), urlsplit(url)
    clients = [
        (
            await loop.create_connection(
                lambda: _Client(waiting, answers), at.hostname or "", at.port or 0
            )
        )[1]
        for _ in range(connections)
    ]
    began = perf_counter()
    for client in clients:
        client.ask()
    await asyncio.gather(*(client.done for client in clients))
    return number / (perf_counter() - began), answers


class _Client(asyncio.Protocol):
    """One connection, which sends what waits until nothing does."""

    def __init__(self, waiting: deque[bytes], answers: list[bytes]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting = waiting
        self._answers = answers
        self._transport: asyncio.Transport
        self._parts: list[bytes] = []
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self) -> None:
        if self._waiting:
            self._transport.write(self._waiting.popleft())
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if not self._parts:
            head = _LENGTH.search(data)
            if head is None or not data.startswith(b"HTTP/1.1 200"):
                self.done.set_exception(RuntimeError(f"The server refused: {data[:500]!r}"))
                self._transport.close()
                return
            self._missing = head.end() + int(head[1])
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing == 0:
            self._answers.append(b"".join(self._parts))
            self._parts = []
            self.ask()

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def _request(url: str, action: str, body: str) -> bytes:
    return (
        f"POST / HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{_HEADERS}"
        f"X-Amz-Target: AmazonSQS.{action}\r\nContent-Type: application/x-amz-json-1.0\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _delete(queue_url: str, handles: Iterable[str]) -> str:
    entries = ",".join(
        f'{{"Id":"{i}","ReceiptHandle":"{handle}"}}' for i, handle in enumerate(handles)
    )
    return f'{{"QueueUrl":"{queue_url}","Entries":[{entries}]}}'


if __name__ == "__main__":
    with LoopbackSqs() as server:
        found = ceiling(server.url)
        click.echo(f"{found.receives:,.0f} receives and {found.deletes:,.0f} deletes a second")
