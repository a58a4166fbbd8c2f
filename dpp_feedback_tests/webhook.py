"""A real HTTP server on loopback in Slack's place: it keeps what is posted and answers as told."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "/services/T0000/B0000/very-secret"


@dataclass
class Webhook:
    """What came, and what is answered: the first of `answers` once, then 200."""

    url: str = ""
    texts: list[str] = field(default_factory=list)
    refused: int = 0
    answers: list[tuple[int, str]] = field(default_factory=list)


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Start one on a free port."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, text = hook.answers.pop(0) if hook.answers else (200, "ok")
            if self.path == SECRET and status == 200:
                hook.texts.append(body["text"])
            else:
                hook.refused += 1
            self.send_response(status)
            if status == 302:
                self.send_header("Location", hook.url)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.url = f"http://127.0.0.1:{server.server_port}{SECRET}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
