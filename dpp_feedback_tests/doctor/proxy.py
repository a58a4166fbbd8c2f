"""A real HTTP server on loopback between boto3 and the stand-in: it answers some calls itself.

ministack has no GetIdentityNotificationAttributes, leaves no right out, never has an unconfirmed
subscription of a queue, and its clock is this machine's. What a test does not set goes through.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from email.utils import formatdate
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from email.message import Message

_Answer = tuple[int, str, str]  # status, content type, body


class Proxy:
    """What it answers instead of the stand-in.

    Attributes:
        answers: by AWS's name of the call.
        clock_ahead: seconds by which the Date of every answer is ahead.
        url: where it listens.
    """

    def __init__(self) -> None:
        self.answers: dict[str, _Answer] = {}
        self.clock_ahead = 0.0
        self.url = ""

    def refuse(self, operation: str, code: str = "AccessDenied", status: int = 403) -> None:
        """Refuse a call, in its service's own protocol."""
        self.answers[operation] = (status, "refusal", code)

    def say(self, operation: str, xml: str) -> None:
        """Answer a call of SNS or SES (version 1) with the inside of its result."""
        body = (
            f"<{operation}Response><{operation}Result>{xml}</{operation}Result>"
            f"</{operation}Response>"
        )
        self.answers[operation] = (200, "text/xml", body)

    def say_json(self, operation: str, said: Mapping[str, object]) -> None:
        """Answer a call of SESv2 or SQS."""
        self.answers[operation] = (200, "application/json", json.dumps(said))


def _operation(method: str, target: str, headers: Message, body: bytes) -> str:
    if "X-Amz-Target" in headers:
        return headers["X-Amz-Target"].rpartition(".")[2]
    path = urlsplit(target).path
    if path.startswith("/v2/email/"):
        last = path.rpartition("/")[2]
        return {
            "account": "GetAccount",
            "configuration-sets": "ListConfigurationSets",
            "event-destinations": "GetConfigurationSetEventDestinations",
        }.get(last, f"{method} {path}")
    return parse_qs(body.decode()).get("Action", [""])[0]


@contextmanager
def proxy(stand_in_url: str) -> Iterator[Proxy]:
    """Run one before the stand-in while inside."""
    own, behind = Proxy(), urlsplit(stand_in_url).netloc

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            operation = _operation(self.command, self.path, self.headers, body)
            status, kind, said = own.answers.get(operation) or self._passed_on(body)
            if kind == "refusal":
                kind, said = self._refusal(said)
            written = said.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(written)))
            self.end_headers()
            self.wfile.write(written)

        def _refusal(self, code: str) -> tuple[str, str]:
            if "x-www-form-urlencoded" in self.headers.get("Content-Type", ""):
                return "text/xml", (
                    f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>"
                    "<Message>no</Message></Error></ErrorResponse>"
                )
            return "application/json", json.dumps({"__type": code, "message": "no"})

        def _passed_on(self, body: bytes) -> _Answer:
            connection = HTTPConnection(behind, timeout=10)
            connection.request(self.command, self.path, body, dict(self.headers))
            with connection.getresponse() as response:
                kind = response.headers.get("Content-Type", "text/xml")
                answer = response.status, kind, response.read().decode()
            connection.close()
            return answer

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 - names of http.server

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate((timestamp or time()) + own.clock_ahead, usegmt=True)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        own.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield own
        finally:
            server.shutdown()
            thread.join()
