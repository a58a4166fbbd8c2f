"""What is said when something else than AWS answers: a real HTTP server that is none."""

from __future__ import annotations

import getpass
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, ClassVar

import pytest

from dpp_feedback.aws_errors import AwsUnavailable
from dpp_feedback.dlq.actor import actor
from dpp_feedback.resources import FeedbackQueue

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Portal(BaseHTTPRequestHandler):
    """Answers whatever is asked with the same page, as the login page of a network does."""

    page: ClassVar[bytes]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture(params=[b"<html><br>Log in", b"", b"{}", b"<html></html>"])
def portal(
    request: pytest.FixtureRequest, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The region; whatever is asked of AWS there is answered by the server above."""
    monkeypatch.setattr(_Portal, "page", request.param, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Portal) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        yield environment["AWS_REGION"]
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("portal")
def test_a_portal_that_answers_for_sqs_is_said_to_be_none() -> None:
    queue = FeedbackQueue().connect()
    said = "What answered GetQueueAttributes does not speak as SQS does: check AWS_ENDPOINT_URL"
    for ask in (queue.depth, queue.retention, queue.arn):
        with pytest.raises(AwsUnavailable, match=said):
            ask()


def test_a_portal_that_answers_for_sts_names_nobody(portal: str) -> None:
    assert actor(portal) == f"{getpass.getuser()}@{socket.gethostname()}"
