"""The process: `python -m benchmarks.loopback_sqs --port 0`.

It listens on 127.0.0.1 only, and prints one line of JSON when it does: {"url": ...}. It ends on
SIGTERM or SIGINT, and when its standard input ends, as it does when its parent dies.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import sys

import click
import uvloop

from benchmarks.loopback_sqs.server import HOST, serve
from benchmarks.loopback_sqs.service import Service


@click.command()
@click.option("--port", default=0, help="0: one that is free.")
def main(port: int) -> None:
    """Serve SQS on loopback until SIGTERM, or until standard input ends."""
    # Messages stay; looking for garbage among a hundred thousand again and again would cost more
    # than the requests. Nothing here makes cycles while it serves.
    gc.disable()
    plug = socket.create_server((HOST, port))
    uvloop.run(_serve(plug))


async def _serve(plug: socket.socket) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin.fileno())
            ended.set()

    loop.add_reader(sys.stdin.fileno(), read)
    url = f"http://{HOST}:{plug.getsockname()[1]}"
    serving = asyncio.ensure_future(serve(plug, Service(url), ended))
    await asyncio.sleep(0)
    click.echo(json.dumps({"url": url}))
    await serving


if __name__ == "__main__":
    main()
