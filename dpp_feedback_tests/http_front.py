"""A real HTTP server before the loopback SQS: TLS, a proxy, or answers of the test's own.

It hears every request, and passes it on unless the test says what to answer.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from select import select
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Heard(NamedTuple):
    """A request: its line, its headers with names in lower case, its body."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    """What a test answers."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


@dataclass
class Front:
    """What the server has heard, and what it answers.

    Attributes:
        url: where it listens.
        heard: every request.
        answer: the answer to each; None: that of the server behind.
        hangs: whether it answers nothing at all.
    """

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    answer: Answer | None = None
    hangs: bool = False


@contextmanager
def front(behind: str, tls: ssl.SSLContext | None = None) -> Iterator[Front]:
    """Serve on a free port until the block ends; as a proxy, too.

    Args:
        behind: the URL to which requests are passed on.
        tls: the certificate to show.
    """
    own = Front()
    server = _Server(("127.0.0.1", 0), _handler(own, behind))
    if tls:
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    own.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield own
    finally:
        own.hangs = False
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Keep quiet: clients leave when they do not trust the certificate."""


def _handler(own: Front, behind: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._hear(body)
            self._say(own.answer or _passed_on(behind, self.headers.items(), body))

        def do_CONNECT(self) -> None:
            self._hear(b"")
            if own.answer:
                self._say(own.answer)
                return
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port))) as there:
                self.send_response(200)
                self.end_headers()
                _join(self.connection, there)
            self.close_connection = True

        def _hear(self, body: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            own.heard.append(Heard(self.command, self.path, headers, body))
            while own.hangs and not select([self.connection], [], [], 0.05)[0]:
                pass

        def _say(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    return Handler


def _passed_on(behind: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
    connection = HTTPConnection(urlsplit(behind).netloc, timeout=30)
    connection.request("POST", "/", body, dict(headers))
    with connection.getresponse() as got:
        kept = {
            name: value
            for name, value in got.getheaders()
            if name.lower() in ("content-type", "x-amzn-query-error", "x-amzn-requestid")
        }
        answer = Answer(got.status, got.read(), kept)
    connection.close()
    return answer


def _join(one: socket.socket, other: socket.socket) -> None:
    """Pass on what comes, until either side ends."""
    with suppress(OSError):
        while True:
            for plug in select([one, other], [], [])[0]:
                some = plug.recv(65536)
                if not some:
                    return
                (other if plug is one else one).sendall(some)


def certify(folder: Path, address: str = "127.0.0.1") -> tuple[Path, ssl.SSLContext]:
    """Make a CA, and a certificate of it for an address.

    Returns:
        The CA's file, for AWS_CA_BUNDLE; what the server shows.
    """
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a company's own")])
    ca = (
        _certificate(authority, authority, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    named = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
    own = (
        _certificate(x509.Name([]), authority, key)
        .add_extension(named, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    bundle, chain = folder / "ca.pem", folder / "server.pem"
    bundle.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    chain.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + own.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return bundle, context


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )
