"""The machine's clock jumps by two days: at the signatures, in a run's process, for the sensor."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.auth
import dagster as dg
import psycopg
import pytest

from benchmarks.loopback_sqs.faults import Fault
from dpp_feedback.sensors import Past, runs_to_launch
from dpp_feedback.store import Store
from dpp_feedback_tests.failures import failure
from dpp_feedback_tests.faults.conftest import numbers
from dpp_feedback_tests.faults.run_worker import SECONDS, new_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback_tests.faults.conftest import Drain, Queues

JUMPS = [timedelta(days=2), timedelta(days=-2)]
_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


class Clock:
    """The one that botocore signs with; `ahead` of this machine's."""

    ahead = timedelta()

    def now(self, remove_tzinfo: bool = True) -> datetime:
        told = datetime.now(UTC) + self.ahead
        return told.replace(tzinfo=None) if remove_tzinfo else told


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(botocore.auth, "get_current_datetime", clock.now)
    return clock


@pytest.fixture
def strict(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An SQS that reads the signatures' times, as AWS does: they may be five minutes off."""
    with _strict(queues.server.url) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_is_wrong_is_named_and_costs_no_receive(
    jump: timedelta, clock: Clock, queues: Queues, drain: Drain
) -> None:
    queues.publish(30)
    clock.ahead = jump
    said = failure(drain())
    assert "this clock is wrong" in said
    assert queues.server.stats().received == 0
    clock.ahead = timedelta()
    assert numbers(drain())["received"] == 30
    queues.assert_nothing_lost()


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("jump", JUMPS)
def test_what_a_jump_keeps_from_being_acknowledged_is_a_duplicate_later(
    jump: timedelta,
    clock: Clock,
    queues: Queues,
    drain: Drain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    insert = Store.insert

    def insert_and_jump(self: Store, *arguments: Any, **named: Any) -> Any:
        inserted = insert(self, *arguments, **named)
        clock.ahead = jump
        return inserted

    queues.publish(30)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "insert", insert_and_jump)
        said = failure(drain())
    assert "None of 30 messages could be acknowledged" in said
    assert "this clock is wrong" in said
    clock.ahead = timedelta()
    queues.tick()
    assert numbers(drain())["duplicates"] == 30
    queues.assert_nothing_lost()


@pytest.mark.skipif(not _LIBRARIES, reason="Debian's faketime is not installed")
@pytest.mark.parametrize("jump", ["+2d", "-2d"])
def test_a_run_does_not_notice_that_the_clock_of_its_process_jumps(
    jump: str, queues: Queues, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    told = tmp_path / "clock"
    told.write_text("+0")
    faked = {
        "LD_PRELOAD": str(_LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(told),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as with a real jump
    }
    queues.publish(300)
    queues.server.faults([Fault("late", "ReceiveMessage", seconds=2, times=1)])
    run_id, arguments = new_run(instance, max_messages=300)
    with subprocess.Popen(
        [sys.executable, "-m", "dagster", *arguments], env=os.environ | faked
    ) as run:
        end = monotonic() + SECONDS
        while not queues.server.stats().faults:
            assert monotonic() < end, "the run receives nothing"
            sleep(0.05)
        told.write_text(jump)
        assert run.wait(SECONDS) == 0
    ended = instance.get_run_record_by_id(run_id)
    assert ended
    assert ended.dagster_run.status is dg.DagsterRunStatus.SUCCESS
    assert ended.end_time
    off = datetime.fromtimestamp(ended.end_time, UTC) - datetime.now(UTC)
    assert abs(off) > timedelta(days=1), "the clock has not jumped"
    queues.assert_nothing_lost()
    with closing(psycopg.connect(queues.database_url)) as database:
        stored = database.execute(
            "SELECT bool_and(received_at BETWEEN now() - interval '1 hour' AND now()) "
            "FROM public.ses_feedback_events"
        ).fetchone()
    assert stored == (True,), "the database's clock says when a row was stored"


def test_a_failure_of_a_clock_that_was_set_back_since_does_not_keep_the_sensor_waiting() -> None:
    now = datetime(2026, 2, 20, 12, tzinfo=UTC)

    def decide(last_failure: datetime) -> list[int] | str:
        return runs_to_launch(9, Past(0, 1, last_failure), 1, now)

    assert decide(now + timedelta(days=2)) == [100]
    assert isinstance(decide(now + timedelta(seconds=5)), str), "clocks differ by seconds"


@contextmanager
def _strict(behind: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            signed = datetime.strptime(self.headers["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
            if abs(datetime.now(UTC) - signed) > timedelta(minutes=5):
                said = {"__type": "InvalidSignatureException", "message": "Signature expired"}
                self._answer(403, json.dumps(said).encode())
                return
            with closing(http.client.HTTPConnection(urlsplit(behind).netloc)) as upstream:
                upstream.request("POST", self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                self._answer(answer.status, answer.read())

        def _answer(self, status: int, body: bytes) -> None:
            with suppress(OSError):  # whoever asked may be gone
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
