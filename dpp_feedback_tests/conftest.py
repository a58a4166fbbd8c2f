"""The real parts that tests talk to: one PostgreSQL and one AWS stand-in for the whole session.

Each test gets a database and queues of its own. No test data here, and no helpers that only one
test file needs.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import psycopg
import pytest

from benchmarks.loopback_sqs.control import LoopbackSqs
from dpp_feedback.interrupts import SIGNALS
from dpp_feedback.local import ports, postgres, wiring
from dpp_feedback.local.postgres import EmbeddedPostgres
from dpp_feedback.local.stack import Stack
from dpp_feedback.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from mypy_boto3_sqs import SQSClient


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", metavar="FOLDER", help="take pictures of Dagster's pages")
    parser.addoption("--cluster", action="store_true", help="use the cluster of KUBECONFIG")
    parser.addoption("--image", metavar="NAME", help="run the commands of this image")
    parser.addoption("--builder", default="docker", help="what has it: docker, podman or buildah")
    parser.addoption("--fuzz-minutes", type=float, help="how long the fuzz target runs")
    parser.addoption("--fuzz-seed", type=int, default=1, help="seed of its first round")


@pytest.fixture(autouse=True)
def environment_as_before() -> Iterator[None]:
    """No test leaves a setting to the next: the command reads a file .env into its process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack"))
    stack.up(postgres_port=ports.free_port(), aws_port=ports.free_port())
    yield stack
    stack.down()


@pytest.fixture
def database_url(stack: Stack) -> Iterator[str]:
    """The URL of an empty database of the test's own, as superuser."""
    name = f"test_{uuid4().hex}"
    with closing(psycopg.connect(stack.postgres.url("postgres"), autocommit=True)) as server:
        server.execute(f"CREATE DATABASE {name}")
        yield stack.postgres.url(name)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to a migrated database of the test's own; `database_url` is its URL."""
    migrate(database_url)
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        yield connection


@pytest.fixture(scope="session")
def pgcrypto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of the system's own packages: the wheel's has no extensions."""
    found = [
        path
        for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if Path(f"/usr/share/postgresql/{path.parent.name}/extension/pgcrypto.control").exists()
        and (path / "initdb").exists()
    ]
    if not found:
        pytest.skip("no PostgreSQL with pgcrypto is installed under /usr/lib/postgresql")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "_programs", lambda: found[-1])
        server = EmbeddedPostgres(tmp_path_factory.mktemp("pgcrypto"), ports.free_port())
        server.start()
    yield server
    server.stop()


@pytest.fixture
def crypto_url(pgcrypto_server: EmbeddedPostgres) -> str:
    """A migrated database of the test's own, whose server has pgcrypto to offer."""
    name = f"crypto_{uuid4().hex}"
    pgcrypto_server.create_database(name)
    migrate(pgcrypto_server.url(name))
    return pgcrypto_server.url(name)


@pytest.fixture
def environment(stack: Stack, database_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The product's settings, in the environment: a database and wired queues of the test's own.

    A message that is received and not acknowledged is back after 3 seconds.
    """
    settings = stack.settings()
    own = uuid4().hex
    names = wiring.Names(
        bounce_topic=f"bounce-{own}",
        complaint_topic=f"complaint-{own}",
        delivery_topic=f"delivery-{own}",
        alert_topic=f"alerts-{own}",
        queue=f"queue-{own}",
        dead_letter_queue=f"dlq-{own}",
        sender_domain=f"{own}.example",
        visibility_seconds=3,
    )
    settings |= wiring.wire(settings["AWS_ENDPOINT_URL"], settings["AWS_REGION"], names)
    settings["DATABASE_URL"] = database_url
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def sqs(environment: dict[str, str]) -> SQSClient:
    """boto3 as anybody uses it: it finds everything in the environment."""
    return boto3.client("sqs", region_name=environment["AWS_REGION"])


@pytest.fixture(scope="session")
def _loopback_server() -> Iterator[LoopbackSqs]:
    with LoopbackSqs() as server:
        yield server


@pytest.fixture
def loopback(_loopback_server: LoopbackSqs) -> Iterator[LoopbackSqs]:
    """The SQS that fails on request; at the beginning of each test it does not."""
    _loopback_server.reset_stats()
    yield _loopback_server
    _loopback_server.faults([])
    _loopback_server.latency(0)
    _loopback_server.short_receives(None)


@pytest.fixture(autouse=True)
def _whole_tracebacks() -> Iterator[None]:
    """Undo what a plain failure sets, so that a later test shows its traceback."""
    yield
    sys.__dict__.pop("tracebacklimit", None)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Start each process with signals that end it, whatever this one ignores.

    A command that is told to end ignores signals from then on, here where tests call it; a shell
    has Ctrl-C ignored by what it starts in the background. What a process ignores, its children
    ignore too; what it handles, they do not.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
