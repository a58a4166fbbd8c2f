"""The sockets: HTTP on loopback with httptools, answers held back, and connections broken."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

import httptools

from benchmarks.loopback_sqs import control_routes, protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.loopback_sqs.faults import Armed
    from benchmarks.loopback_sqs.protocol import Answer
    from benchmarks.loopback_sqs.service import Service

HOST = "127.0.0.1"
_TICK = 0.01  # seconds; how finely long polls, visibility and move tasks go by


class Connection(asyncio.Protocol):
    """One client's connection.

    Args:
        service: what carries out its requests.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._is_open = False
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; asyncio calls this."""
        self._transport = cast("asyncio.Transport", transport)
        self._is_open = True

    def connection_lost(self, _exc: Exception | None) -> None:
        """Answer no more; asyncio calls this."""
        self._is_open = False
        del self._parser  # which knows this object: nobody else would end the cycle

    def data_received(self, data: bytes) -> None:
        """Parse; asyncio calls this."""
        self._service.bytes_in += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        """Take the path; httptools calls this, as the next three."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Find the action."""
        if name == b"X-Amz-Target" or name.lower() == b"x-amz-target":
            self._target = value

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer."""
        path, target, body = self._path, self._target, b"".join(self._body)
        self._begin()
        if path.startswith(control_routes.PREFIX):
            self._write(control_routes.answer(self._service, path, body))
            return
        action = target.decode("latin-1").removeprefix("AmazonSQS.")
        armed = self._service.fault_of(action)
        if armed is None:
            self._service.carry_out(action, body, self._send, self._still_there)
        else:
            self._befall(armed, action, body)

    def _begin(self) -> None:
        self._path = self._target = b""
        self._body: list[bytes] = []

    def _befall(self, armed: Armed, action: str, body: bytes) -> None:
        """Let a request fail as the fault says."""
        fault = armed.fault

        def carry_out(send: Callable[[Answer], None]) -> None:
            self._service.carry_out(action, body, send, self._still_there, armed)

        if answer := protocol.failure(fault.kind, action):
            self._send(answer)
        elif fault.kind == "hang":
            if fault.seconds:
                self._loop.call_later(
                    fault.seconds, lambda: carry_out(self._send) if self._is_open else None
                )
        elif fault.kind == "late":
            carry_out(lambda answer: self._after(fault.seconds, lambda: self._send(answer)))
        elif fault.kind == "reset":
            self._reset()
        elif fault.kind == "reset_after":
            carry_out(lambda _answer: self._reset())
        elif fault.kind == "cut":
            carry_out(self._cut)
        else:
            carry_out(self._send)

    def _send(self, answer: Answer) -> None:
        if self._service.latency:
            self._after(self._service.latency, lambda: self._write(answer))
        else:
            self._write(answer)

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._loop.call_later(seconds, act)

    def _write(self, answer: Answer) -> None:
        if self._is_open:
            encoded = answer.encode()
            self._service.bytes_out += len(encoded)
            self._transport.write(encoded)

    def _cut(self, answer: Answer) -> None:
        whole = answer.encode()
        head = len(whole) - len(answer.body)
        self._transport.write(whole[: head + len(answer.body) // 2])
        self._transport.close()

    def _reset(self) -> None:
        plug: socket.socket = self._transport.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _still_there(self) -> bool:
        return self._is_open


async def serve(plug: socket.socket, service: Service, until: asyncio.Event) -> None:
    """Serve until the event.

    Args:
        plug: a socket that is bound.
        service: what carries out the requests.
        until: ends it.
    """
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), sock=plug)

    def tick() -> None:
        loop.call_later(_TICK, tick)
        service.serve_polls()

    tick()
    await until.wait()
    server.close()
