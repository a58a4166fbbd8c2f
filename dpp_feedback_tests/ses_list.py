"""A real HTTP server on loopback that keeps an account-level suppression list as SESv2 does.

ministack only ever answers with an empty list, in one page, and takes no address. This one speaks
the three calls of the SESv2 REST protocol that the product makes, and refuses on demand.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH = "/v2/email/suppression/addresses"


class SesList:
    """What the server holds, and what it does next.

    Attributes:
        addresses: the list: address -> reason.
        page: addresses in one answer, at most, whatever is asked for.
        refusals: status and error code of the next answers, instead of an answer.
        refuse_all: the same for every answer.
        refuse_changes: the same for every answer that would change the list.
        calls: method and path of each request.
        url: where it listens.
    """

    def __init__(self, addresses: dict[str, str] | None = None, page: int = 1000) -> None:
        self.addresses = dict(addresses or {})
        self.page = page
        self.refusals: list[tuple[int, str]] = []
        self.refuse_all: tuple[int, str] | None = None
        self.refuse_changes: tuple[int, str] | None = None
        self.calls: list[str] = []
        self.url = ""

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, Any]]:
        parts = urlsplit(target)
        self.calls.append(f"{method} {parts.path}")
        refusal = self.refusals.pop(0) if self.refusals else self.refuse_all
        if method != "GET":
            refusal = refusal or self.refuse_changes
        if refusal:
            return refusal[0], {"__type": refusal[1], "message": "no"}
        if method == "GET" and parts.path == _PATH:
            return 200, self._listed({k: v[0] for k, v in parse_qs(parts.query).items()})
        if method == "PUT" and parts.path == _PATH:
            said = json.loads(body)
            self.addresses[said["EmailAddress"]] = said["Reason"]
            return 200, {}
        if method == "DELETE" and parts.path.startswith(f"{_PATH}/"):
            address = unquote(parts.path.removeprefix(f"{_PATH}/"))
            if self.addresses.pop(address, None) is None:
                return 404, {"__type": "NotFoundException", "message": "no"}
            return 200, {}
        return 400, {"__type": "BadRequestException", "message": target}

    def _listed(self, asked: dict[str, str]) -> dict[str, Any]:
        start = int(asked.get("NextToken", "0"))
        end = start + min(self.page, int(asked["PageSize"]))
        entries = [
            {"EmailAddress": address, "Reason": reason, "LastUpdateTime": 1_770_000_000.0}
            for address, reason in list(self.addresses.items())[start:end]
        ]
        more = {"NextToken": str(end)} if end < len(self.addresses) else {}
        return {"SuppressedDestinationSummaries": entries, **more}


@contextmanager
def serving(listed: SesList) -> Iterator[SesList]:
    """Run the server while inside."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = listed.answer(self.command, self.path, body)
            written = json.dumps(said).encode()
            self.send_response(status)
            if "__type" in said:
                self.send_header("x-amzn-ErrorType", said["__type"])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(written)))
            self.end_headers()
            self.wfile.write(written)

        do_GET = do_PUT = do_DELETE = do_POST = _answer  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        listed.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield listed
        finally:
            server.shutdown()
            thread.join()
