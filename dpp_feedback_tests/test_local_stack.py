"""The embedded stack with its real processes: up, down, left-over state, and what it wires.

How the product uses it is tested elsewhere.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import psutil
import psycopg
import pytest
from dotenv import dotenv_values

from dpp_feedback.local import unprivileged
from dpp_feedback.local.aws import AwsStandIn
from dpp_feedback.local.ledger import Ledger, Published, Sent
from dpp_feedback.local.ports import free_port
from dpp_feedback.local.postgres import EmbeddedPostgres
from dpp_feedback.local.process import Record, alone
from dpp_feedback.local.stack import Stack, StackError
from dpp_feedback.local.wiring import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Names, wire
from dpp_feedback.queue import DEFAULT_REGION

if TYPE_CHECKING:
    from mypy_boto3_ses import SESClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

SENDER = f"Newsletter <news@{Names().sender_domain}>"
SESSION = boto3.Session(ACCESS_KEY_ID, SECRET_ACCESS_KEY, region_name=DEFAULT_REGION)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A folder for a stack; whatever is started in it is stopped."""
    stack = Stack(tmp_path / "stack")
    yield stack
    with suppress(StackError):  # a folder of somebody else: nothing was started there
        stack.down()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that runs through this module; nobody may break it."""
    stack = Stack(tmp_path_factory.mktemp("running") / "stack")
    up(stack)
    yield stack
    stack.down()


@pytest.fixture
def settings(running: Stack) -> dict[str, str]:
    """The settings of the running stack, whose queues are empty."""
    settings = running.settings()
    for queue in ("SQS_QUEUE_URL", "SQS_DLQ_URL"):
        sqs_client(settings["AWS_ENDPOINT_URL"]).purge_queue(QueueUrl=settings[queue])
    return settings


@pytest.fixture
def bystander() -> Iterator[psutil.Process]:
    """A process that is nobody's business."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield psutil.Process(child.pid)
        child.kill()


def up(stack: Stack) -> dict[str, str]:
    return stack.up(free_port(), free_port())


def processes(stack: Stack) -> dict[str, psutil.Process]:
    found = {}
    for name in ("postgres", "aws"):
        record = Record.read(stack.folder / name / "process.json")
        process = record.process() if record else None
        if process:
            found[name] = process
    return found


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@cache
def sqs_client(endpoint_url: str) -> "SQSClient":
    return SESSION.client("sqs", endpoint_url=endpoint_url)


@cache
def ses_client(endpoint_url: str) -> "SESClient":
    return SESSION.client("ses", endpoint_url=endpoint_url)


def send_mail(settings: dict[str, str], local_part: str) -> str:
    sent = ses_client(settings["AWS_ENDPOINT_URL"]).send_email(
        Source=SENDER,
        Destination={"ToAddresses": [f"{local_part}@simulator.amazonses.com"]},
        Message={"Subject": {"Data": "Hello"}, "Body": {"Text": {"Data": "Hello"}}},
    )
    return sent["MessageId"]


def receive(settings: dict[str, str], queue: str = "SQS_QUEUE_URL") -> "list[MessageTypeDef]":
    return (
        sqs_client(settings["AWS_ENDPOINT_URL"])
        .receive_message(
            QueueUrl=settings[queue],
            MaxNumberOfMessages=10,
            WaitTimeSeconds=5,
            MessageSystemAttributeNames=["All"],
        )
        .get("Messages", [])
    )


def test_rows_and_waiting_messages_are_still_there_after_down_and_up(stack: Stack) -> None:
    ports = free_port(), free_port()
    settings = stack.up(*ports)
    query(settings["DATABASE_URL"], "CREATE TABLE kept AS SELECT 42 AS answer")
    send_mail(settings, "bounce")

    Ledger(stack.folder).append(Published((Sent("stored"),)))

    assert len(stack.down()) == 2
    assert stack.down() == []
    with pytest.raises(StackError, match="not running"):
        stack.settings()

    assert stack.up() == settings, "the ports are those of the last time"
    assert len(Ledger(stack.folder).read()) == 1
    assert query(settings["DATABASE_URL"], "SELECT answer FROM kept") == [(42,)]
    assert len(receive(settings)) == 1


def test_a_second_up_restarts_nothing_and_says_the_same(running: Stack) -> None:
    settings, before = running.settings(), processes(running)

    assert running.up() == settings
    assert processes(running) == before
    with pytest.raises(StackError, match=r"PostgreSQL .* already runs on port \d+.*down"):
        running.up(postgres_port=free_port())
    with pytest.raises(StackError, match=r"stand-in .* already runs on port \d+.*down"):
        running.up(aws_port=free_port())
    assert processes(running) == before
    assert running.settings() == settings


def test_up_mends_servers_that_were_killed(stack: Stack) -> None:
    settings = up(stack)
    query(settings["DATABASE_URL"], "CREATE TABLE kept AS SELECT 42 AS answer")
    ports = stack.postgres.port, stack.aws.port
    killed = processes(stack)
    killed["postgres"].kill()

    assert stack.up(*ports) == settings
    assert query(settings["DATABASE_URL"], "SELECT answer FROM kept") == [(42,)]
    assert processes(stack)["aws"] == killed["aws"]

    ledger = Ledger(stack.folder)
    ledger.append(Published((Sent("stored"),)))
    killed["aws"].kill()
    assert stack.up() == settings
    assert ledger.read() == [], "the stand-in has forgotten what was published, so nobody counts it"
    send_mail(settings, "bounce")
    assert len(receive(settings)) == 1


def test_who_wants_a_folder_alone_gets_it_or_a_clear_answer(tmp_path: Path) -> None:
    with (
        alone(tmp_path / "dagster", "busy"),
        pytest.raises(StackError, match="busy"),
        alone(tmp_path / "dagster", "busy"),
    ):
        pass
    with alone(tmp_path / "dagster", "busy"):
        assert (tmp_path / "dagster").is_dir()


def test_six_racing_starters_end_up_with_one_stack(stack: Stack) -> None:
    ports = free_port(), free_port()
    with ThreadPoolExecutor(6) as pool:
        starters = [pool.submit(Stack(stack.folder).up, *ports) for _ in range(6)]
    settings = [starter.result() for starter in starters]

    assert settings == [stack.settings()] * 6
    assert len(stack.down()) == 2
    assert stack.down() == []


@pytest.mark.parametrize("option", ["--postgres-port", "--aws-port"])
def test_a_busy_port_is_named_with_its_holder_and_nothing_stays_running(
    stack: Stack, option: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        busy = holder.getsockname()[1]
        ports = (busy, free_port()) if option == "--postgres-port" else (free_port(), busy)
        with pytest.raises(StackError) as refusal:
            stack.up(*ports)

    name = psutil.Process().name()
    assert str(refusal.value) == (
        f"Port {busy} is taken by pid {os.getpid()} ({name}). "
        f"Stop it or choose another with {option}."
    )
    assert processes(stack) == {}


def test_the_env_file_is_written_anew_but_never_over_somebody_elses(
    running: Stack, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("DATABASE_URL=postgresql://production/\n")
    with pytest.raises(StackError, match="stays as it is"):
        running.up(env_file=env_file)
    assert env_file.read_text() == "DATABASE_URL=postgresql://production/\n"

    env_file.unlink()
    settings = running.up(env_file=env_file)
    written = env_file.read_text()
    assert written.startswith("# written by dpp-feedback up\n")
    assert dotenv_values(env_file) == settings
    running.up(env_file=env_file)
    assert env_file.read_text() == written


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(
    stack: Stack, bystander: psutil.Process
) -> None:
    ports = free_port(), free_port()
    settings = stack.up(*ports)
    stack.down()
    # As after a reboot: the recorded pids live, and are other processes.
    stale = Record(bystander.pid, bystander.create_time() - 3600, "postgres")
    for name in ("postgres", "aws"):
        stale.write(stack.folder / name / "process.json")
    lock = "\n".join([str(bystander.pid), str(stack.folder), "1", str(ports[0]), "", "", ""])
    (stack.folder / "postgres" / "data" / "postmaster.pid").write_text(lock)
    (stack.folder / "postgres" / f".s.PGSQL.{ports[0]}.lock").write_text(lock)

    assert stack.down() == []
    assert bystander.is_running()
    assert stack.up(*ports) == settings
    assert len(stack.down(wipe=True)) == 2
    assert bystander.is_running()
    assert not stack.folder.exists()


def test_a_folder_of_somebody_else_is_neither_used_nor_wiped(stack: Stack) -> None:
    stack.folder.mkdir()
    (stack.folder / "thesis.txt").write_text("the only copy")
    with pytest.raises(StackError, match="Choose another folder"):
        up(stack)
    with pytest.raises(StackError, match="Choose another folder"):
        stack.down(wipe=True)
    assert [path.name for path in stack.folder.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_folder_is_a_clear_answer(tmp_path: Path) -> None:
    (tmp_path / "stack").touch()
    with pytest.raises(StackError, match=r"can not work in .*Choose another folder"):
        up(Stack(tmp_path / "stack"))


def test_a_half_made_folder_is_completed(stack: Stack) -> None:
    unfinished = stack.folder / "postgres" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("16\n")
    (stack.folder / "stack.json").write_text(
        json.dumps({"settings": {}, "made_by": "the local stack of dpp-feedback"})
    )
    with pytest.raises(StackError, match="not running"):
        stack.settings()
    assert query(up(stack)["DATABASE_URL"], "SELECT 42") == [(42,)]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder with a short name, open to other users; pytest's own are neither."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_folder_may_have_an_odd_name_and_move_to_one_too_long_for_sockets(
    open_folder: Path,
) -> None:
    server = EmbeddedPostgres(open_folder / 'it\'s "odd" $HOME', free_port())
    try:
        server.start()
        with psycopg.connect(host=str(server.folder), port=server.port, user="postgres") as db:
            assert db.execute("SHOW fsync").fetchall() == [("on",)]
        server.stop()
        server.folder.rename(open_folder / ("x" * 99))
        server = EmbeddedPostgres(open_folder / ("x" * 99), free_port())
        server.start()
        assert query(server.url(), "SHOW unix_socket_directories") == [("",)]
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_without_user_namespaces_runs_postgres_as_nobody(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedPostgres(open_folder / "postgres", free_port())
    try:
        server.start()
        query(server.url(), "CREATE TABLE kept AS SELECT 42 AS answer")
        server.stop()
        monkeypatch.setattr(unprivileged, "_NAMESPACE", ("no-such-program",))
        try:
            server.start()
        except StackError as refusal:
            assert "does not run as root" in str(refusal)  # noqa: PT017
            pytest.skip("this environment is closed to others")
        record = Record.read(server.folder / "process.json")
        assert record is not None
        assert psutil.Process(record.pid).uids().real == 65534
        assert query(server.url(), "SELECT answer FROM kept") == [(42,)]
        server.stop()
        monkeypatch.undo()
        server.start()
        assert query(server.url(), "SELECT answer FROM kept") == [(42,)]
    finally:
        server.stop()


def test_nothing_listens_beyond_loopback(running: Stack) -> None:
    roots = processes(running).values()
    everyone = [p for root in roots for p in (root, *root.children(recursive=True))]
    addresses = {s.laddr.ip for p in everyone for s in p.net_connections(kind="inet")}
    assert addresses == {"127.0.0.1"}
    assert len(everyone) > 2


def test_mail_to_the_simulator_arrives_in_the_queue_as_a_notification(
    settings: dict[str, str],
) -> None:
    message_id = send_mail(settings, "bounce")

    (message,) = receive(settings)
    envelope = json.loads(message["Body"])
    assert envelope["Type"] == "Notification"
    assert envelope["TopicArn"] == settings["SNS_BOUNCE_ARN"]
    assert isinstance(envelope["Message"], str)
    notification = json.loads(envelope["Message"])
    assert notification["notificationType"] == "Bounce"
    assert notification["bounce"]["bounceType"] == "Permanent"
    assert notification["mail"]["messageId"] == message_id


def test_a_message_received_five_times_lands_in_the_dead_letter_queue(
    settings: dict[str, str],
) -> None:
    send_mail(settings, "complaint+only-once")
    sqs = sqs_client(settings["AWS_ENDPOINT_URL"])
    for _ in range(5):
        # A delivery and a complaint: the simulator accepts the mail before it complains.
        messages = receive(settings)
        assert len(messages) == 2
        for message in messages:
            sqs.change_message_visibility(
                QueueUrl=settings["SQS_QUEUE_URL"],
                ReceiptHandle=message["ReceiptHandle"],
                VisibilityTimeout=0,
            )
    sqs.receive_message(QueueUrl=settings["SQS_QUEUE_URL"], MaxNumberOfMessages=10)
    assert len(receive(settings, "SQS_DLQ_URL")) == 2


def test_wiring_twice_delivers_once_and_lets_only_the_topics_send(
    settings: dict[str, str],
) -> None:
    wired = wire(settings["AWS_ENDPOINT_URL"])
    assert wired.items() <= settings.items()
    send_mail(settings, "success")
    assert len(receive(settings)) == 1

    attributes = sqs_client(settings["AWS_ENDPOINT_URL"]).get_queue_attributes(
        QueueUrl=settings["SQS_QUEUE_URL"], AttributeNames=["All"]
    )["Attributes"]
    (statement,) = json.loads(attributes["Policy"])["Statement"]
    topics = {wired[f"SNS_{kind}_ARN"] for kind in ("BOUNCE", "COMPLAINT", "DELIVERY")}
    assert set(statement["Condition"]["ArnEquals"]["aws:SourceArn"]) == topics
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert attributes["MessageRetentionPeriod"] == str(14 * 24 * 60 * 60)
    assert attributes["VisibilityTimeout"] == "60"


def test_a_stand_in_that_does_not_come_up_says_where_its_log_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = AwsStandIn(tmp_path / "aws", free_port())
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(StackError, match=r"did not start: see the end of .*aws\.log"):
        stand_in.start()
    assert stand_in.running_port() is None
