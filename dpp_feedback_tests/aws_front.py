"""A loopback server in front of the AWS stand-in, for tests of the scripts.

It passes everything on to the stand-in, but for calls that the stand-in lacks, which it answers as
AWS's API references document them: SES's GetIdentityNotificationAttributes and
SetIdentityHeadersInNotificationsEnabled, and EKS's DescribeCluster. It also refuses what a test
wants refused, since the stand-in refuses nobody.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = ("Bounce", "Complaint", "Delivery")
_SECOND = ":the-second"  # how the ARN of a doubled subscription ends


@dataclass
class Front:
    """What a test sets, and what the server has heard.

    Attributes:
        url: where it listens.
        refused: names of calls ("CreateTopic") that are refused, with the error code.
        clusters: the issuer of each EKS cluster, by name.
        topics: of identities, by (identity, kind).
        headers: (identity, kind) whose notifications hold headers.
        no_forwarding: identities whose feedback SES does not mail to the sender.
        sandbox: SES's account is in the sandbox.
        unverified: identities that are not verified; the stand-in verifies all.
        doubled: topics to which each subscriber is subscribed twice: neither the stand-in nor SNS
            lets a test do it.
    """

    url: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    clusters: dict[str, str] = field(default_factory=dict)
    topics: dict[tuple[str, str], str] = field(default_factory=dict)
    headers: set[tuple[str, str]] = field(default_factory=set)
    no_forwarding: set[str] = field(default_factory=set)
    sandbox: bool = False
    unverified: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)

    def answer(self, operation: str, form: dict[str, str], path: str) -> tuple[int, str] | None:
        """Answer one call; None: the stand-in does."""
        if operation in self.refused:
            return self._refusal(self.refused[operation], operation, form)
        identity = form.get("Identity") or form.get("Identities.member.1", "")
        kind = (identity, form.get("NotificationType", ""))
        if operation == "SetIdentityNotificationTopic":
            self.topics[kind] = form.get("SnsTopic", "")
            return None  # the stand-in has to know it as well: it publishes
        if operation == "SetIdentityFeedbackForwardingEnabled":
            change = self.no_forwarding.discard if form["ForwardingEnabled"] == "true" else None
            (change or self.no_forwarding.add)(identity)
        elif operation == "SetIdentityHeadersInNotificationsEnabled":
            (self.headers.add if form["Enabled"] == "true" else self.headers.discard)(kind)
            return 200, f"<{operation}Response><{operation}Result/></{operation}Response>"
        elif operation == "GetIdentityNotificationAttributes":
            return 200, self._notification_attributes(identity)
        elif operation == "GetIdentityVerificationAttributes" and identity in self.unverified:
            value = "<value><VerificationStatus>Pending</VerificationStatus></value>"
            return 200, _attributes(operation, "VerificationAttributes", identity, value)
        elif operation == "GetAccount" and self.sandbox:
            return 200, json.dumps({"ProductionAccessEnabled": False, "SendingEnabled": True})
        elif operation == "Unsubscribe" and form["SubscriptionArn"].endswith(_SECOND):
            self.doubled.discard(form["SubscriptionArn"].rpartition(":")[0])
            return 200, "<UnsubscribeResponse/>"
        elif operation == "DescribeCluster":
            return self._cluster(path.rpartition("/")[2])
        return None

    def rewrite(self, operation: str, form: dict[str, str], body: bytes) -> bytes:
        """What becomes of the stand-in's answer."""
        if operation != "ListSubscriptionsByTopic" or form["TopicArn"] not in self.doubled:
            return body
        arn = f"<SubscriptionArn>{form['TopicArn']}{_SECOND}</SubscriptionArn>"
        member = re.compile("<member>.*?</member>", re.DOTALL)
        return member.sub(
            lambda found: found[0] + re.sub("<SubscriptionArn>.*</SubscriptionArn>", arn, found[0]),
            body.decode(),
        ).encode()

    def _notification_attributes(self, identity: str) -> str:
        value = (
            f"<ForwardingEnabled>{_bool(identity not in self.no_forwarding)}</ForwardingEnabled>"
        )
        for kind in _KINDS:
            headers = f"HeadersIn{kind}NotificationsEnabled"
            value += f"<{headers}>{_bool((identity, kind) in self.headers)}</{headers}>"
            if topic := self.topics.get((identity, kind)):
                value += f"<{kind}Topic>{topic}</{kind}Topic>"
        return _attributes(
            "GetIdentityNotificationAttributes",
            "NotificationAttributes",
            identity,
            f"<value>{value}</value>",
        )

    def _cluster(self, name: str) -> tuple[int, str]:
        if name not in self.clusters:
            said = {"__type": "ResourceNotFoundException", "message": f"No cluster found: {name}."}
            return 404, json.dumps(said)
        issuer = {"oidc": {"issuer": self.clusters[name]}}
        return 200, json.dumps({"cluster": {"name": name, "status": "ACTIVE", "identity": issuer}})

    def _refusal(self, code: str, operation: str, form: dict[str, str]) -> tuple[int, str]:
        if form:
            error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{operation}</Message>"
            return 403, f"<ErrorResponse>{error}</Error></ErrorResponse>"
        return 403, json.dumps({"__type": code, "message": operation})


def _attributes(operation: str, members: str, identity: str, value: str) -> str:
    entry = f"<{members}><entry><key>{identity}</key>{value}</entry></{members}>"
    return (
        f"<{operation}Response><{operation}Result>{entry}</{operation}Result></{operation}Response>"
    )


def _bool(value: bool) -> str:
    return str(value).lower()


def _operation(method: str, path: str, target: str, form: dict[str, str]) -> str:
    """The name of a call in each of the protocols that AWS's services speak."""
    if target or form:
        return target.rpartition(".")[2] or form.get("Action", "")
    if path == "/v2/email/account":
        return "GetAccount"
    if re.fullmatch("/clusters/[^/]+", path):
        return "DescribeCluster"
    if path.endswith("/event-destinations") and method == "GET":
        return "GetConfigurationSetEventDestinations"
    return ""


@contextmanager
def front(stand_in_url: str) -> Iterator[Front]:
    """Serve on a free port of loopback until the block ends.

    Args:
        stand_in_url: where the stand-in listens.
    """
    state = Front()
    behind = urlsplit(stand_in_url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            pass

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            target = self.headers.get("X-Amz-Target", "")
            form = {}
            if "form-urlencoded" in self.headers.get("Content-Type", ""):
                form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            operation = _operation(self.command, urlsplit(self.path).path, target, form)
            answered = state.answer(operation, form, self.path)
            if answered:
                kind = "text/xml" if answered[1].startswith("<") else "application/json"
                self._send(answered[0], {"Content-Type": kind}, answered[1].encode())
                return
            connection = HTTPConnection(behind, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers))
            got = connection.getresponse()
            self._send(
                got.status, dict(got.getheaders()), state.rewrite(operation, form, got.read())
            )
            connection.close()

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the base's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
