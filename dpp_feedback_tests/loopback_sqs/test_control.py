"""The control side: fill, count, move the clock; and how the process begins and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import boto3
import psutil
import pytest

from benchmarks.loopback_sqs import ceiling as ceilings
from benchmarks.loopback_sqs.account import Account
from benchmarks.loopback_sqs.control import LoopbackSqs
from benchmarks.loopback_sqs.errors import SqsError
from benchmarks.loopback_sqs.messages import read_handle
from benchmarks.loopback_sqs.queues import MOST_IN_FLIGHT
from benchmarks.loopback_sqs.receives import Receive, take
from dpp_feedback_tests.loopback_sqs.conftest import client

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef


REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def sqs(loopback: LoopbackSqs) -> SQSClient:
    return client(loopback.url)


def receive(sqs: SQSClient, url: str) -> list[MessageTypeDef]:
    return sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])


def test_loaded_bodies_come_in_order_in_full_batches_with_the_ids_that_were_told(
    loopback: LoopbackSqs, sqs: SQSClient, name: str
) -> None:
    url = loopback.create(name)
    ids = loopback.load(name, (f"body {i} é" for i in range(2_500)))
    got = [receive(sqs, url) for _ in range(250)]
    assert {len(batch) for batch in got} == {10}
    assert [m["MessageId"] for batch in got for m in batch] == ids
    assert [m["Body"] for batch in got for m in batch] == [f"body {i} é" for i in range(2_500)]
    assert receive(sqs, url) == []


def test_what_sqs_would_not_take_can_be_loaded(
    loopback: LoopbackSqs, sqs: SQSClient, name: str
) -> None:
    url = loopback.create(name)
    bodies = ["", "nul \0", "half of a pair \ud800"]
    loopback.load(name, bodies)
    assert [message["Body"] for message in receive(sqs, url)] == bodies


def test_contents_tell_of_each_message_where_it_is_and_how_often_it_was_received(
    loopback: LoopbackSqs, sqs: SQSClient, name: str
) -> None:
    url = loopback.create(name, visibility_timeout=30)
    ids = loopback.load(name, ["one", "two", "three"])
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=900)
    first = sqs.receive_message(QueueUrl=url)["Messages"][0]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    sqs.receive_message(QueueUrl=url)
    contents = loopback.contents(name)
    assert contents.deleted == {ids[0]: 1}
    assert contents.in_flight == {ids[1]: 1}
    assert contents.waiting == {ids[2]: 0}
    assert len(contents.delayed) == 1
    assert contents.expired == {}


def test_the_clock_moves_visibility_redrive_and_retention(
    loopback: LoopbackSqs, sqs: SQSClient, name: str
) -> None:
    dead = f"{name}-dead"
    loopback.create(dead)
    url = loopback.create(name, visibility_timeout=600, dead_letter=dead, max_receive_count=2)
    ids = loopback.load(name, ["body"])
    before = loopback.now
    for _ in range(2):
        assert len(receive(sqs, url)) == 1
        assert receive(sqs, url) == []
        loopback.tick(600)
    assert loopback.now >= before + 1_200
    assert receive(sqs, url) == []
    assert loopback.contents(dead).waiting == {ids[0]: 2}
    # Retention counts from when it was first sent, not from the move.
    loopback.tick(4 * 86_400 - 1_300)
    assert loopback.contents(dead).waiting == {ids[0]: 2}
    loopback.tick(200)
    assert loopback.contents(dead).expired == {ids[0]: 2}


def test_a_move_task_goes_with_the_clock_at_its_pace(
    loopback: LoopbackSqs, sqs: SQSClient, name: str
) -> None:
    dead = f"{name}-dead"
    dead_url = loopback.create(dead)
    loopback.create(name, dead_letter=dead)
    loopback.load(dead, [f"body {i}" for i in range(3_000)])
    source = sqs.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])
    arn = source["Attributes"]["QueueArn"]
    sqs.start_message_move_task(SourceArn=arn, MaxNumberOfMessagesPerSecond=1)
    loopback.tick(1_000)
    moved = len(loopback.contents(name).waiting)
    assert 1_000 <= moved < 1_300
    loopback.tick(2_000)
    (task,) = sqs.list_message_move_tasks(SourceArn=arn)["Results"]
    assert task["Status"] == "COMPLETED"
    assert len(loopback.contents(name).waiting) == 3_000


def test_a_queue_may_be_created_again_a_minute_after_it_was_deleted(
    loopback: LoopbackSqs, sqs: SQSClient, name: str
) -> None:
    url = loopback.create(name)
    sqs.delete_queue(QueueUrl=url)
    with pytest.raises(sqs.exceptions.QueueDeletedRecently):
        sqs.create_queue(QueueName=name)
    loopback.tick(60)
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == url


def test_stats_count_requests_messages_and_bytes_until_they_are_reset(
    loopback: LoopbackSqs, sqs: SQSClient, name: str
) -> None:
    url = loopback.create(name)
    loopback.load(name, ["x" * 1_000])
    sqs.send_message(QueueUrl=url, MessageBody="y" * 1_000)
    got = receive(sqs, url)
    for message in got:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    stats = loopback.stats()
    assert stats.requests == {"SendMessage": 1, "ReceiveMessage": 1, "DeleteMessage": 2}
    assert (stats.sent, stats.received, stats.deleted) == (1, 2, 2)
    assert stats.bytes_in > 2_000
    assert stats.bytes_out > 2_000
    loopback.reset_stats()
    stats = loopback.stats()
    assert (stats.requests, stats.sent, stats.received, stats.deleted) == ({}, 0, 0, 0)


def test_a_long_poll_whose_client_has_gone_takes_no_message(
    loopback: LoopbackSqs, sqs: SQSClient, name: str
) -> None:
    url = loopback.create(name)
    gone = HTTPConnection(urlsplit(loopback.url).netloc)
    poll = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20})
    gone.request("POST", "/", poll, {"X-Amz-Target": "AmazonSQS.ReceiveMessage"})
    while loopback.stats().requests != {"ReceiveMessage": 1}:
        sleep(0.01)
    gone.close()
    loopback.stats()  # by its answer the server has seen the end of the connection
    ids = loopback.load(name, ["body"])
    assert loopback.contents(name).waiting == {ids[0]: 0}
    assert len(receive(sqs, url)) == 1


def test_a_long_poll_ends_when_its_queue_is_deleted(
    loopback: LoopbackSqs, sqs: SQSClient, name: str
) -> None:
    url = loopback.create(name)
    with ThreadPoolExecutor(1) as pool:
        polling = pool.submit(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=20)
        while loopback.stats().requests != {"ReceiveMessage": 1}:
            sleep(0.01)
        client(loopback.url).delete_queue(QueueUrl=url)
        with pytest.raises(sqs.exceptions.QueueDoesNotExist):
            polling.result()


def test_short_receives_lose_none_and_are_the_same_for_a_seed(
    loopback: LoopbackSqs, sqs: SQSClient, name: str
) -> None:
    def sizes(url: str) -> list[int]:
        loopback.short_receives(5)
        found = []
        while some := receive(sqs, url):
            found.append(len(some))
        return found

    urls = [loopback.create(f"{name}-{i}") for i in range(2)]
    for i in range(2):
        loopback.load(f"{name}-{i}", ["body"] * 100)
    first, second = sizes(urls[0]), sizes(urls[1])
    assert first[:-1] == second[:-1]
    assert sum(first) == sum(second) == 100
    assert len(set(first)) > 3


def test_its_environment_is_all_that_boto3_needs(
    loopback: LoopbackSqs, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback.create(name)
    loopback.create(f"{name}-dead")
    environment = loopback.environment(name, f"{name}-dead")
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    sqs = boto3.Session().client("sqs")
    for setting in ("SQS_QUEUE_URL", "SQS_DLQ_URL"):
        sqs.send_message(QueueUrl=environment[setting], MessageBody="body")
    assert len(loopback.contents(name).waiting) == 1
    assert len(loopback.contents(f"{name}-dead").waiting) == 1


def test_what_the_control_side_refuses_it_explains(loopback: LoopbackSqs, name: str) -> None:
    with pytest.raises(ValueError, match="refused load: The specified queue does not exist"):
        loopback.load(name, ["body"])


def test_handles_are_as_long_as_those_of_aws(
    loopback: LoopbackSqs, sqs: SQSClient, name: str
) -> None:
    url = loopback.create(name)
    loopback.load(name, ["body"])
    (got,) = receive(sqs, url)
    assert len(got["ReceiptHandle"]) in range(390, 421)
    assert read_handle(got["ReceiptHandle"]) is not None
    assert read_handle(got["ReceiptHandle"][:-1]) is None


def test_so_many_may_be_in_flight_and_no_more() -> None:
    account = Account()
    queue = account.create("queue", {}, 0.0)
    for _ in range(MOST_IN_FLIGHT + 1):
        queue.add(account.message("body", 0.0), 0.0)
    assert len(queue.receive(MOST_IN_FLIGHT, 30, 0.0)) == MOST_IN_FLIGHT
    with pytest.raises(SqsError, match="in flight"):
        take(queue, Receive("queue", 10, None, 0, ()), 1.0, None, twice=False)
    # A long poll is told nothing, as AWS documents it.
    assert take(queue, Receive("queue", 10, None, 1, ()), 1.0, None, twice=False) == []
    assert len(take(queue, Receive("queue", 10, None, 0, ()), 30.0, None, twice=False)) == 10


def test_a_ceiling_is_measured_and_leaves_no_queue(
    loopback: LoopbackSqs, sqs: SQSClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceilings, "_REQUESTS", 50)
    found = ceilings.ceiling(loopback.url)
    assert found.receives > 0
    assert found.deletes > 0
    requests = loopback.stats().requests
    assert (requests["ReceiveMessage"], requests["DeleteMessageBatch"]) == (50, 50)
    assert sqs.list_queues(QueueNamePrefix="ceiling-").get("QueueUrls", []) == []


def test_it_listens_on_loopback_alone(loopback: LoopbackSqs) -> None:
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(loopback.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


def test_it_ends_on_sigterm() -> None:
    with LoopbackSqs() as server:
        process = psutil.Process(server.pid)
        os.kill(server.pid, signal.SIGTERM)
        process.wait(timeout=30)


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    found = tmp_path / "server.json"
    program = f"""
import json, os, pathlib, signal
from benchmarks.loopback_sqs.control import LoopbackSqs
pathlib.Path({str(found)!r}).write_text(json.dumps(LoopbackSqs().pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False)
    pid = json.loads(found.read_text())
    try:
        psutil.Process(pid).wait(timeout=30)
    except psutil.NoSuchProcess:
        return


def test_two_servers_share_nothing(loopback: LoopbackSqs, name: str) -> None:
    loopback.create(name)
    with LoopbackSqs() as other:
        assert other.url != loopback.url
        with pytest.raises(ValueError, match="does not exist"):
            other.contents(name)
        other.create(f"queue-{uuid4().hex}")
