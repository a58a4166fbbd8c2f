"""SNS's host on loopback: real TLS, under its own name, with a certificate authority of its own."""

from __future__ import annotations

import ssl
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import DER_cert_to_PEM_cert
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from cryptography.hazmat.primitives.serialization import Encoding

from dpp_feedback.sns import certificates
from dpp_feedback.sns.certificates import Certificates
from dpp_feedback.sns.check import SnsCheck
from dpp_feedback_tests.sns.authority import (
    DAY,
    HOST,
    NOW,
    PATH,
    REGION,
    TOPIC,
    Issued,
    issue,
    rsa_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


@dataclass
class Served:
    """What the host answers, by path; what is not there is 404.

    Attributes:
        files: status, body and headers.
        heard: the path of each request.
        drip: whether a body is sent a byte at a time, without an end.
    """

    files: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    drip: bool = False

    def put(self, pem: bytes, path: str = PATH, status: int = 200, **headers: str) -> None:
        self.files[path] = status, pem, headers


@dataclass(frozen=True)
class Authority:
    """A root that is trusted in the tests, an intermediate, and SNS's certificate."""

    root: Issued
    intermediate: Issued
    leaf: Issued

    @property
    def key(self) -> RSAPrivateKey:
        return rsa_key("sns.amazonaws.com")

    @property
    def chain(self) -> bytes:
        return self.leaf.pem + self.intermediate.pem

    @property
    def garbled(self) -> bytes:
        """SNS's certificate, whose issuer's name is no UTF-8: noticed when the name is read."""
        der = self.leaf.certificate.public_bytes(Encoding.DER)
        pem = DER_cert_to_PEM_cert(der.replace(b"Intermediate of the tests", b"\xff" * 25))
        return pem.encode()


@pytest.fixture(scope="session")
def authority() -> Authority:
    old = NOW - 900 * DAY
    root = issue("Root of the tests", ca=True, not_before=old)
    intermediate = issue("Intermediate of the tests", root, ca=True, not_before=old)
    leaf = issue("sns.amazonaws.com", intermediate, names=["sns.amazonaws.com"])
    return Authority(root, intermediate, leaf)


@pytest.fixture(scope="session")
def _folder(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sns")
    server = issue(HOST, authority.root, names=[HOST])
    other = issue("Somebody else", names=["sns.amazonaws.com.evil.example"])
    files = {
        "root": authority.root.pem,
        "server": server.pem + server.key_pem,
        "other": other.pem + other.key_pem,
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in files}


@contextmanager
def _listening(served: Served, certificate: Path | None) -> Iterator[int]:
    """Serve on a free port, over TLS if there is a certificate."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.heard.append(self.path)
            status, content, headers = served.files.get(self.path, (404, b"no", {}))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if not served.drip:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(OSError):  # the reader has gone
                if not served.drip:
                    self.wfile.write(content)
                while served.drip:
                    self.wfile.write(b"-")
                    sleep(0.01)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.server_port
    served.drip = False
    server.shutdown()
    server.server_close()


@pytest.fixture
def _connections(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], int]:
    """Where names lead: to ports of loopback. Only this is not as in production."""
    ports: dict[tuple[str, int], int] = {}
    connect = urllib3.util.connection.create_connection

    def here(address: tuple[str, int], *args: Any, **kwargs: Any) -> Any:
        if address in ports:
            address = "127.0.0.1", ports[address]
        elif address[0].endswith((".amazonaws.com", ".amazontrust.com")):
            raise OSError("no test goes out")
        return connect(address, *args, **kwargs)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", here)
    return ports


@pytest.fixture
def _trusting(_folder: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(_folder["root"]))  # TLS
    monkeypatch.setattr("certifi.where", lambda: str(_folder["root"]))  # chains
    monkeypatch.setattr(certificates, "_PAUSE", 0)


@contextmanager
def _found_as_sns(
    authority: Authority, pem: Path, connections: dict[tuple[str, int], int]
) -> Iterator[Served]:
    """Serve at SNS's name, with this certificate for TLS."""
    served = Served()
    served.put(authority.chain)
    with _listening(served, pem) as port:
        connections[HOST, 443] = port
        yield served


@pytest.fixture
def sns_host(
    authority: Authority,
    _folder: dict[str, Path],
    _connections: dict[tuple[str, int], int],
    _trusting: None,
) -> Iterator[Served]:
    """SNS's host of the region, with its certificate at `PATH`."""
    with _found_as_sns(authority, _folder["server"], _connections) as served:
        yield served


@pytest.fixture
def impostor(
    authority: Authority,
    _folder: dict[str, Path],
    _connections: dict[tuple[str, int], int],
    _trusting: None,
) -> Iterator[Served]:
    """A server that is found under SNS's name, and has no certificate for it."""
    with _found_as_sns(authority, _folder["other"], _connections) as served:
        yield served


@pytest.fixture
def amazon_trust(_connections: dict[tuple[str, int], int]) -> Iterator[Served]:
    """Where Amazon's issuers are found, without TLS as in reality."""
    served = Served()
    with _listening(served, None) as port:
        _connections["crt.r2m09.amazontrust.com", 80] = port
        yield served


@pytest.fixture
def nowhere(_connections: dict[tuple[str, int], int], _trusting: None) -> None:
    """SNS's host refuses connections: nobody listens on port 1."""
    _connections[HOST, 443] = 1


@pytest.fixture
def check() -> SnsCheck:
    """What a body has to show, for one topic, with signatures verified."""
    return SnsCheck(frozenset({TOPIC}), Certificates(REGION))
