"""As a user has it: the real web server and daemon, whose sensor launches real runs.

Two trials, several minutes each because they wait for timeouts as a user does; they run side by
side.
"""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from contextlib import closing, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dagster as dg
import psutil
import psycopg
import pytest

from dpp_feedback.ingest import process_feedback
from dpp_feedback.local import ports
from dpp_feedback.local.account import account
from dpp_feedback.local.dagster_dev import DagsterDev
from dpp_feedback.local.ledger import Ledger
from dpp_feedback.local.simulate import publish
from dpp_feedback.local.stack import Stack
from dpp_feedback.local.traffic import traffic
from dpp_feedback.migrate import migrate
from dpp_feedback.resources import FeedbackQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOON = datetime(2026, 2, 17, 12, tzinfo=UTC)
COMMAND = str(Path(sys.executable).with_name("dpp-feedback"))


@pytest.fixture(scope="module", autouse=True)
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """`dpp-feedback run --once`, started before the other trial and waited for after it."""
    started = [str(ports.free_port()) for _ in range(3)]
    options = zip(["--port", "--postgres-port", "--aws-port"], started, strict=True)
    with subprocess.Popen(
        [COMMAND, "run", "--once", "--count", "400", *[word for pair in options for word in pair]],
        cwd=tmp_path_factory.mktemp("run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        yield running
        running.terminate()


class HoldingProxy(ThreadingHTTPServer):
    """Passes AWS calls on to the stand-in, but holds those that acknowledge until told to drop."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.holding = True
        self.held = Event()
        self.drop = Event()


class _Handler(BaseHTTPRequestHandler):
    server: HoldingProxy
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        deletes = self.headers.get("X-Amz-Target", "").endswith(".DeleteMessageBatch")
        if deletes and self.server.holding:
            self.server.held.set()
            self.server.drop.wait(300)
            self.close_connection = True
            return
        with closing(http.client.HTTPConnection(self.server.target, timeout=60)) as upstream:
            upstream.request("POST", self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
        with suppress(OSError):  # whoever asked may have been killed
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _pid(instance: dg.DagsterInstance, run_id: str) -> int:
    """The process of a run, as Dagster's own event log tells it."""
    for entry in instance.all_logs(run_id):
        if found := re.search(r"\(pid: (\d+)\)", entry.user_message or ""):
            return int(found[1])
    raise AssertionError("no event names the run's process")


def _succeeded(instance: dg.DagsterInstance) -> int:
    return instance.get_runs_count(
        dg.RunsFilter(job_name=process_feedback.name, statuses=[dg.DagsterRunStatus.SUCCESS])
    )


def _wait(what: str, seconds: float, arrived: Callable[[], bool]) -> None:
    end = monotonic() + seconds
    while not arrived():
        assert monotonic() < end, f"waited {seconds} s for {what}"
        sleep(0.5)


def test_a_run_killed_between_persist_and_acknowledge_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stack = Stack(tmp_path / "stack")
    settings = stack.up(postgres_port=ports.free_port(), aws_port=ports.free_port())
    proxy = HoldingProxy(settings["AWS_ENDPOINT_URL"])
    Thread(target=proxy.serve_forever, daemon=True).start()
    through_proxy = settings | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_port}"}
    home = stack.folder / "dagster"
    dagster = DagsterDev(home, ports.free_port())
    ledger = Ledger(stack.folder)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    try:
        migrate(settings["DATABASE_URL"])
        dagster.start(through_proxy)
        messages = traffic(600, seed=1, at=NOON, duplicates=0.05, poison=0)
        ledger.append(publish(messages, settings))

        assert proxy.held.wait(90), "no run came as far as acknowledging"
        with psycopg.connect(settings["DATABASE_URL"]) as connection:
            (rows,) = connection.execute(
                "SELECT count(*) FROM public.ses_feedback_events"
            ).fetchone() or (0,)
        assert rows >= 500, "acknowledging began before the rows were committed"
        assert FeedbackQueue().connect().depth().in_flight == 600

        with dg.DagsterInstance.from_config(str(home)) as instance:
            (killed,) = instance.get_runs(dg.RunsFilter(job_name=process_feedback.name))
            psutil.Process(_pid(instance, killed.run_id)).kill()
            proxy.holding = False
            proxy.drop.set()

            def counted() -> bool:
                return account(settings["DATABASE_URL"], settings, ledger).accounted_for

            _wait("every message to be accounted for", 300, counted)
            # The queue may be empty a moment before the run says that it is done.
            _wait("the second run to end", 30, lambda: _succeeded(instance) >= 1)
            ended = instance.get_run_by_id(killed.run_id)
        assert ended
        assert ended.status is dg.DagsterRunStatus.FAILURE
        assert account(settings["DATABASE_URL"], settings, ledger).stored == 569
        with psycopg.connect(settings["DATABASE_URL"]) as connection:
            assert connection.execute(
                "SELECT count(*), count(DISTINCT dedupe_key) FROM public.ses_feedback_events"
            ).fetchone() == (rows, rows)
    finally:
        dagster.stop()
        proxy.shutdown()
        stack.down(wipe=True)


def test_run_once_accounts_for_every_message_and_stops_what_it_started(
    whole_run: subprocess.Popen[str],
) -> None:
    said, _ = whole_run.communicate(timeout=600)
    assert whole_run.returncode == 0, said
    assert re.search(r"published +│ +405 ", said), said
    assert re.search(r"duplicates dropped +│ +20 ", said), said
    assert re.search(r"ignored \(control messages of SES\) +│ +1 ", said), said
    assert re.search(r"in the dead-letter queue +│ +4 ", said), said
    assert re.search(r"still waiting +│ +0 ", said), said
    assert re.search(r"stored +│ +380 ", said), said
    assert "Every message is accounted for." in said
    assert isinstance(whole_run.args, list)
    listened = [int(str(word)) for word in whole_run.args[6::2]]
    assert len(listened) == 3
    assert all(ports.is_free(port) for port in listened)
