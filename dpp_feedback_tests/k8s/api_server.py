"""Stands in for the Kubernetes API: jobs, pods, their logs and events of one namespace.

Over TLS on loopback, for the real client of Dagster's launcher. Like a real server it asks for a
token, refuses what a Role does not allow, and notes each call. No controller runs: `pod_phase` says
what became of the pods.
"""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dpp_feedback_tests.k8s.rendering import Manifest

TOKEN = "token-of-the-daemon"
_VERBS = {"POST": "create", "DELETE": "delete", "PUT": "update", "PATCH": "patch"}

Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""


def rights(rules: Iterable[Manifest]) -> set[Right]:
    """What the rules of a Role allow."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@dataclass
class ApiServer:
    """The state of a namespace, and the server over it; a context manager.

    Attributes:
        namespace: the only one there is.
        allowed: what the token may do.
        folder: where `ca.crt` and `token` are written, as in a pod.
        calls: each right that a request has used.
        jobs: by name, as they were created.
        pods: by name; one for each job.
        pod_phase: of all pods: Running, Succeeded or Failed.
        throttled: whether nothing is created for now: there were too many requests.
    """

    namespace: str
    allowed: set[Right]
    folder: Path
    calls: set[Right] = field(default_factory=set)
    jobs: dict[str, Manifest] = field(default_factory=dict)
    pods: dict[str, Manifest] = field(default_factory=dict)
    pod_phase: str = "Running"
    throttled: bool = False

    def __enter__(self) -> Self:
        _certify(self.folder)
        (self.folder / "token").write_text(TOKEN)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "ca.crt", self.folder / "ca.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    def answer(self, verb: str, resource: str, name: str, body: Manifest) -> tuple[int, Any]:
        """Do one call: status code, and an object, or the text of a log."""
        if self.throttled and verb == "create":
            return _failure(429, "the server has received too many requests")
        if resource == "jobs" and verb == "create":
            return self._create(body)
        if resource in ("jobs", "pods") and verb == "delete":
            found = getattr(self, resource).pop(name, None)
            return (200, _STATUS | {"status": "Success"}) if found else _not_found(name)
        if resource == "jobs/status":
            job = self.jobs.get(name)
            return (200, job | {"status": self._job_status()}) if job else _not_found(name)
        if resource == "pods/log":
            return (200, "the last line of the log\n") if name in self.pods else _not_found(name)
        if resource == "events":
            return 200, {"kind": "EventList", "apiVersion": "v1", "items": []}
        if resource == "pods" and verb == "list":
            items = [pod | {"status": self._pod_status()} for pod in self.pods.values()]
            return 200, {"kind": "PodList", "apiVersion": "v1", "items": items}
        if resource == "jobs" and verb == "list":
            items = list(self.jobs.values())
            return 200, {"kind": "JobList", "apiVersion": "batch/v1", "items": items}
        return _failure(405, f"the stand-in does not know {verb} {resource}")

    def _create(self, job: Manifest) -> tuple[int, Any]:
        name = job["metadata"]["name"]
        if name in self.jobs:
            return _failure(409, f'jobs.batch "{name}" already exists')
        self.jobs[name] = job
        template = job["spec"]["template"]
        labels = template["metadata"]["labels"] | {"job-name": name}
        metadata = {"name": f"{name}-x7k2p", "namespace": self.namespace, "labels": labels}
        self.pods[metadata["name"]] = {"metadata": metadata, "spec": template["spec"]}
        return 201, job

    def _job_status(self) -> Manifest:
        counted = {"Running": "active", "Succeeded": "succeeded", "Failed": "failed"}
        return {counted[self.pod_phase]: 1}

    def _pod_status(self) -> Manifest:
        ended = {"exitCode": int(self.pod_phase == "Failed"), "reason": self.pod_phase}
        state = {"running": {}} if self.pod_phase == "Running" else {"terminated": ended}
        container = {"name": "dagster", "image": "", "imageID": "", "ready": True}
        statuses = [container | {"restartCount": 0, "state": state}]
        return {"phase": self.pod_phase, "containerStatuses": statuses}


_STATUS = {"kind": "Status", "apiVersion": "v1", "metadata": {}}


def _failure(code: int, message: str) -> tuple[int, Any]:
    return code, _STATUS | {"status": "Failure", "code": code, "message": message}


def _not_found(name: str) -> tuple[int, Any]:
    return _failure(404, f'"{name}" not found')


def _handler(api: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or "{}")
            code, answer = self._answer(body)
            text = answer if isinstance(answer, str) else json.dumps(answer)
            kind = "text/plain" if isinstance(answer, str) else "application/json"
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = _serve  # noqa: N815 - http.server's

        def _answer(self, body: Manifest) -> tuple[int, Any]:
            parts = urlsplit(self.path).path.strip("/").split("/")
            # api/v1/namespaces/<ns>/pods/<name>/log; apis/batch/v1/namespaces/<ns>/jobs
            group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
            namespace, resource, name, subresource = (*rest[1:], "", "")[:4]
            verb = _VERBS.get(self.command, "get" if name else "list")
            right = (group, "/".join(filter(None, [resource, subresource])), verb)
            if self.headers.get("Authorization", "").lower() != f"bearer {TOKEN}":
                return _failure(401, "Unauthorized")
            api.calls.add(right)
            if right not in api.allowed or namespace != api.namespace:
                return _failure(403, f"cannot {verb} {right[1]} in {namespace}")
            assert set(parse_qs(urlsplit(self.path).query)) <= {
                "labelSelector",
                "fieldSelector",
                "container",
                "tailLines",
                "timestamps",
            }
            return api.answer(verb, right[1], name, body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's
            pass

    return Handler


def _certify(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
