"""HTTP and JSON of SQS's protocol, AWS JSON 1.0: answers, and errors as AWS sends them. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from typing import TYPE_CHECKING, Any

from benchmarks.loopback_sqs.errors import SqsError, no_such_queue

if TYPE_CHECKING:
    from benchmarks.loopback_sqs.faults import Armed, Kind

_JSON = b"application/x-amz-json-1.0"
_requests = count(1)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response.

    Attributes:
        body: its body.
        status: its status.
        content_type: what the body is.
        query_error: the value of x-amzn-query-error, which names the older protocol's error.
    """

    body: bytes
    status: int = 200
    content_type: bytes = _JSON
    query_error: bytes = b""

    def encode(self) -> bytes:
        """Give it as it goes over the wire."""
        if self.status == HTTPStatus.OK:
            line = b"HTTP/1.1 200 OK"
        else:
            line = b"HTTP/1.1 %d %s" % (self.status, HTTPStatus(self.status).phrase.encode())
        query = b"x-amzn-query-error: %s\r\n" % self.query_error if self.query_error else b""
        return (
            b"%s\r\nx-amzn-RequestId: 00000000-0000-4000-8000-%012x\r\n%sContent-Type: %s\r\n"
            b"Content-Length: %d\r\n\r\n%s"
        ) % (line, next(_requests), query, self.content_type, len(self.body), self.body)


def said(content: Any) -> Answer:
    """Give an answer of JSON."""
    return Answer(json.dumps(content).encode())


def refused(error: SqsError) -> Answer:
    """Give an error as AWS's JSON services send it."""
    fault = "Sender" if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else "Receiver"
    return Answer(
        json.dumps({"__type": error.type, "message": error.message}).encode(),
        error.status,
        query_error=f"{error.query_code};{fault}".encode(),
    )


def not_json() -> Answer:
    """Answer a request that cannot be read."""
    return refused(
        SqsError("SerializationException", "The request is not valid JSON.", modelled=False)
    )


def failed() -> Answer:
    """Answer a request that this server cannot carry out by its own fault."""
    return refused(
        SqsError("InternalFailure", "The server failed.", status=500, modelled=False),
    )


def failure(kind: Kind, action: str) -> Answer | None:
    """Give the answer of a fault that carries nothing out; None: the fault has none."""
    if kind == "garbage":
        return Answer(b"<html><body><h1>Sign in</h1></body></html>", content_type=b"text/html")
    if kind == "not_found":
        return refused(no_such_queue())
    if kind not in _FAILURES:
        return None
    name, message, query_code, status, modelled = _FAILURES[kind]
    words = message.format(action=action.lower())
    return refused(SqsError(name, words, query_code=query_code, status=status, modelled=modelled))


def without_failing(body: bytes, armed: Armed) -> tuple[bytes, list[dict[str, Any]]]:
    """Take entries out of a batch that fail by a fault.

    Returns:
        The request without them, and what Failed says of each.
    """
    request = json.loads(body)
    entries = [(entry, armed.fails_entry()) for entry in request.get("Entries") or []]
    request["Entries"] = [entry for entry, fails in entries if not fails]
    failed = [
        {
            "Id": entry.get("Id", ""),
            "SenderFault": False,
            "Code": "InternalError",
            "Message": "The request processing has failed because of an unknown error.",
        }
        for entry, fails in entries
        if fails
    ]
    return json.dumps(request).encode(), failed


# The name, the words, the name of the older protocol, the status, whether the model names it.
_FAILURES: dict[str, tuple[str, str, str | None, int, bool]] = {
    "throttle": ("RequestThrottled", "Rate exceeded.", None, 400, True),
    "over_limit": ("OverLimit", "Too many messages in flight.", None, 400, True),
    "error500": (
        "InternalFailure",
        "The request processing has failed because of an unknown error, exception or failure.",
        "InternalFailure",
        500,
        False,
    ),
    "unavailable503": (
        "ServiceUnavailable",
        "Service is unable to handle request.",
        "ServiceUnavailable",
        503,
        False,
    ),
    "expired_token": (
        "ExpiredTokenException",
        "The security token included in the request is expired",
        "ExpiredToken",
        403,
        False,
    ),
    "access_denied": (
        "AccessDeniedException",
        (
            "User: arn:aws:sts::000000000000:assumed-role/test/session is not authorized to "
            "perform: sqs:{action} because no identity-based policy allows it"
        ),
        "AccessDenied",
        403,
        False,
    ),
}
