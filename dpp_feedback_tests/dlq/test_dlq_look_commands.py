"""`dlq list`, `dlq show`, `dlq export` over a real SQS endpoint and a real Postgres."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from dpp_feedback.cli import main
from dpp_feedback.feedback.glance import events_of
from dpp_feedback.feedback.parser import parse
from dpp_feedback.messages import sha256_of, size_of
from dpp_feedback.rejects import Reject
from dpp_feedback.resources import FeedbackQueue
from dpp_feedback.store import Store
from dpp_feedback_tests.feedback.bodies import SENT_AT, in_sns, payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_sqs import SQSClient

BOUNCE = json.dumps(in_sns(payload("event_bounce")))
BODIES = (BOUNCE, "{}", BOUNCE[:900], "<html>\u202e\u200b[red]502[/red]\x7f</html>")
KEY = "a passphrase of some length"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SES_FEEDBACK_REJECT_KEY", raising=False)


@pytest.fixture
def environment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings, without topics: the bodies here name none of them."""
    for name in ("SNS_BOUNCE_ARN", "SNS_COMPLAINT_ARN", "SNS_DELIVERY_ARN"):
        monkeypatch.delenv(name)
    return environment


@pytest.fixture
def ids(sqs: SQSClient, environment: dict[str, str]) -> list[str]:
    """The ids of `BODIES` in the dead-letter queue."""
    return send(sqs, environment, BODIES)


def send(sqs: SQSClient, environment: dict[str, str], bodies: Sequence[str]) -> list[str]:
    url = environment["SQS_DLQ_URL"]
    return [sqs.send_message(QueueUrl=url, MessageBody=body)["MessageId"] for body in bodies]


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["dlq", *words])


def in_flight() -> int:
    return FeedbackQueue(setting="SQS_DLQ_URL").connect().depth().in_flight


def store(environment: dict[str, str]) -> Store:
    return Store.connect(environment["DATABASE_URL"])


def reject(message_id: str, **changes: Any) -> Reject:
    body = changes.get("body", BOUNCE)
    said: dict[str, Any] = {
        "message_id": message_id,
        "body_sha256": sha256_of(body),
        "body_bytes": size_of(body),
        "body": body,
        "reason": "refused_by_database",
        "detail": "22001: value too long",
        "kind": "Bounce",
        "topic_arn": None,
        "queue": "dlq",
        "sent_at": SENT_AT,
    }
    return Reject(**said | changes)


@pytest.mark.usefixtures("database")
def test_a_list_shows_each_message_whole_and_hands_all_back(ids: list[str]) -> None:
    result = run("list")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert all(id_ in result.stdout for id_ in ids)
    assert "4 messages seen, 4 shown: 2 not_json, 1 not_ses, 1 readable." in result.stdout
    assert "@example" not in result.stdout
    assert in_flight() == 0
    assert run("list").stdout.count("0 min") == 4


@pytest.mark.usefixtures("database")
def test_json_is_one_object_a_message_and_the_remarks_are_elsewhere(ids: list[str]) -> None:
    result = run("list", "--json")
    told = {each["message_id"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert told.keys() == set(ids)
    assert told[ids[0]]["reason"] == "readable"
    assert told[ids[2]]["kinds"] == ["Bounce"]
    assert not any("body" in each for each in told.values())
    assert "4 messages seen" in result.stderr
    assert "@" not in result.stdout


@pytest.mark.usefixtures("database")
def test_filters_choose(ids: list[str]) -> None:
    def chosen(*words: str) -> set[int]:
        result = run("list", "--json", *words)
        assert result.exit_code == 0, result.output
        return {ids.index(json.loads(line)["message_id"]) for line in result.stdout.splitlines()}

    assert chosen("--reason", "not_json") == {2, 3}
    assert chosen("--reason", "not_ses", "--reason", "READABLE") == {0, 1}
    assert chosen("--kind", "bounce") == {0, 2}
    assert chosen("--contains", "502") == {3}
    assert chosen("--contains", '"EVENTtype"') == {0, 2}
    assert chosen("--since", "1h") == {0, 1, 2, 3}
    assert chosen("--since", "2999-01-01") == set()
    assert len(chosen("--limit", "2")) == 2
    assert len(chosen("--limit", "0")) == 4


@pytest.mark.usefixtures("database", "ids")
def test_a_filter_that_matches_nothing_names_the_reasons_that_are_there() -> None:
    result = run("list", "--kind", "Click")
    assert result.exit_code == 0
    assert "What is there: 2 not_json, 1 not_ses, 1 readable." in result.stdout
    assert "message id" not in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--reason", "not_jason"), "'not_jason' is not one of 'empty', 'not_text', 'not_json'"),
        (("--since", "yesterday"), "'yesterday' is no time. Write 2026-02-17T08:30:00Z"),
        (("--since", "999999w"), "'999999w' is no time."),
        (("--limit", "-1"), "-1 is not in the range x>=0"),
        (("--reason", ""), "'' is not one of 'empty'"),
        (("--kind", " "), "it is empty, and would select everything"),
        (("--contains", ""), "it is empty, and would select everything"),
    ],
)
def test_bad_options_are_named(words: tuple[str, ...], said: str) -> None:
    for command in (("list",), ("export", "x")):
        result = run(*command, *words)
        assert result.exit_code == 2
        assert said in result.stderr


@pytest.mark.usefixtures("database", "environment")
def test_an_empty_queue_is_one_sentence() -> None:
    result = run("list")
    assert result.exit_code == 0
    assert re.fullmatch(r"The dead-letter queue dlq-\S+ is empty\.\n", result.stdout)


@pytest.mark.usefixtures("ids")
def test_messages_that_another_holds_are_counted(
    sqs: SQSClient, environment: dict[str, str]
) -> None:
    sqs.receive_message(QueueUrl=environment["SQS_DLQ_URL"], VisibilityTimeout=60)
    result = run("list")
    assert "3 messages seen" in result.stdout
    assert "This is not all: 1 message was in flight" in result.stdout


@pytest.mark.usefixtures("database")
def test_what_the_database_refused_is_listed_as_such(
    ids: list[str], environment: dict[str, str]
) -> None:
    with store(environment) as connected:
        connected.rejects.record([reject(ids[0]), reject("not-here")], run_id=None)
    lines = run("list", "--json", "--reason", "refused_by_database").stdout.splitlines()
    assert [json.loads(line)["message_id"] for line in lines] == [ids[0]]
    shown = run("show", ids[0]).stdout
    assert "refused_by_database: 22001: value too long" in shown
    assert re.search(r"resolution +waiting\n", re.sub(r" +\n", "\n", shown))
    with store(environment) as connected:
        connected.rejects.resolve_stored([(ids[0], BOUNCE)], by="somebody", run_id=None)
    assert run("list", "--json", "--reason", "refused_by_database").stdout == ""


@pytest.mark.parametrize("url", [None, "postgresql://user:secret@127.0.0.1:1/db"])
def test_without_the_database_the_list_works_and_says_what_it_cannot_tell(
    ids: list[str], url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url or "")
    result = run("list")
    assert result.exit_code == 0
    assert all(id_ in result.stdout for id_ in ids)
    (line,) = result.stderr.splitlines()
    assert line.startswith("refused_by_database cannot be told from readable: ")
    assert "DATABASE_URL" in line
    assert "secret" not in line
    shown = run("show", ids[1])
    assert shown.exit_code == 0
    assert "What is recorded about it cannot be read" in shown.stderr
    assert "does not know it" not in shown.stdout


@pytest.mark.usefixtures("ids", "environment")
def test_an_unmigrated_database_is_said_and_the_list_works() -> None:
    result = run("list")
    assert result.exit_code == 0
    assert "4 messages seen" in result.stdout
    assert "refused_by_database cannot be told from readable: " in result.stderr


@pytest.mark.usefixtures("environment")
def test_a_missing_setting_or_queue_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, said in (
        (os.environ["SQS_DLQ_URL"] + "x", "SQS_DLQ_URL"),
        (os.environ["SQS_DLQ_URL"] + ".fifo", "FIFO"),
        ("", "SQS_DLQ_URL is not set"),
    ):
        monkeypatch.setenv("SQS_DLQ_URL", value)
        for words in (("list",), ("show", "x"), ("export", "-")):
            result = run(*words)
            assert result.exit_code == 1
            assert said in result.stderr
            assert isinstance(result.exception, SystemExit)


def test_a_queue_with_a_redrive_of_its_own_is_not_looked_at(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQS_DLQ_URL", environment["SQS_QUEUE_URL"])
    result = run("list")
    assert result.exit_code == 1
    assert "redrive policy" in result.stderr


@pytest.mark.usefixtures("database")
def test_show_says_what_a_message_is_and_masks_addresses(ids: list[str]) -> None:
    result = run("show", ids[0])
    assert result.exit_code == 0, result.output
    for word in (
        ids[0],
        sha256(BOUNCE.encode()).hexdigest(),
        f"{len(BOUNCE):,} bytes",
        "arn:aws:sns:eu-west-1:111122223333:feedback",
        "1, this look included",
        "expires (UTC)",
        "now stored: a run inserts these rows",
        "public.ses_feedback_rejects does not know it. That is harmless",
        "j***@example.net",
    ):
        assert word in result.stdout
    addresses = set(re.findall(r"[\w.*+-]+@[\w.-]+", result.stdout))
    assert addresses
    assert all("***" in address for address in addresses)
    assert in_flight() == 0
    revealed = run("show", "--reveal", ids[0]).stdout
    assert payload("event_bounce")["mail"]["destination"][0] in revealed
    assert "***" not in revealed


def test_show_says_what_postgres_makes_of_it_now(
    ids: list[str],
    environment: dict[str, str],
    database: psycopg.Connection[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def verdict(id_: str) -> str:
        result = run("show", id_)
        assert result.exit_code == 0, result.output
        (line,) = [line for line in result.stdout.splitlines() if line.startswith("now ")]
        return line

    with store(environment) as connected:
        connected.rejects.record([reject(ids[0])], run_id=None)
    events = "ALTER TABLE public.ses_feedback_events"
    database.execute(f"{events} ADD CONSTRAINT no_bounce CHECK (bounce_type IS NULL)".encode())
    refused = verdict(ids[0])
    assert refused.startswith("now refused by Postgres: CheckViolation (23514, no_bounce). See")
    assert "docs/runbook.md" in refused
    assert verdict(ids[1]) == "now rejected: a run leaves the message where it is"
    database.execute(f"{events} DROP CONSTRAINT no_bounce".encode())
    assert verdict(ids[0]) == "now stored: a run inserts these rows, then deletes the message"
    assert database.execute("SELECT FROM public.ses_feedback_events").fetchall() == []
    assert run("show", ids[0]).stdout.count("refused_by_database") == 1, "as it was recorded"
    outcome = parse(BOUNCE, SENT_AT)
    with store(environment) as connected:
        connected.insert(events_of(outcome))
    assert verdict(ids[0]).startswith("now there already: a run deletes the message")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/db")
    assert verdict(ids[0]).startswith("now readable; whether Postgres takes its rows is not known")


@pytest.mark.usefixtures("database")
def test_show_writes_the_true_bytes_of_a_body_where_only_its_owner_reads_them(
    ids: list[str],
) -> None:
    result = run("show", ids[3], "--body", "body.txt")
    assert result.exit_code == 0, result.output
    assert Path("body.txt").read_bytes() == BODIES[3].encode()
    assert Path("body.txt").stat().st_mode & 0o777 == 0o600
    assert "The body is in body.txt as it is" in result.stdout
    assert run("show", ids[0], "--body", "bounce.txt").exit_code == 0
    assert Path("bounce.txt").read_bytes() == BOUNCE.encode()
    again = run("show", ids[0], "--body", "body.txt")
    assert again.exit_code == 1
    assert "body.txt exists" in again.stderr
    assert Path("body.txt").read_bytes() == BODIES[3].encode()


@pytest.mark.usefixtures("database")
def test_show_escapes_what_steers_a_terminal(ids: list[str]) -> None:
    result = run("show", "--reveal", ids[3])
    assert result.exit_code == 0
    assert "<html>\\u202e\\u200b[red]502[/red]\\x7f</html>" in result.stdout
    assert not [char for char in result.stdout if not (char.isprintable() or char == "\n")]


@pytest.mark.usefixtures("database")
def test_show_prints_the_beginning_of_a_long_body_masked_before_it_is_cut(
    sqs: SQSClient, environment: dict[str, str]
) -> None:
    (id_,) = send(sqs, environment, ["x " * 997 + "jane.doe@example.com" + " y" * 5000])
    shown = run("show", id_).stdout
    assert "jane" not in shown
    assert "more characters" in shown
    assert shown.count("y") < 100


@pytest.mark.usefixtures("database", "ids")
def test_what_is_not_found_ends_with_1_and_a_sentence() -> None:
    result = run("show", "no-such-id")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "shows no such message: it is gone, somebody else holds it, or the id" in line


@pytest.mark.usefixtures("database")
def test_of_a_message_that_is_gone_show_says_what_became_of_it(environment: dict[str, str]) -> None:
    with store(environment) as connected:
        connected.rejects.discard([reject("gone-1")], by="arn:aws:iam::111122223333:user/jo")
    result = run("show", "gone-1")
    assert result.exit_code == 1
    assert "knows it as discarded since 20" in result.stderr
    assert "by arn:aws:iam::111122223333:user/jo" in result.stderr


@pytest.mark.usefixtures("environment")
def test_a_body_that_the_database_keeps_is_shown_from_there(
    crypto_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", crypto_url)
    with closing(psycopg.connect(crypto_url, autocommit=True)) as database:
        database.execute("CREATE EXTENSION pgcrypto")
    with Store.connect(crypto_url, KEY) as connected:
        connected.rejects.record([reject("kept-1")], run_id=None)
    locked = run("show", "kept-1")
    assert locked.exit_code == 1
    assert "SES_FEEDBACK_REJECT_KEY" in locked.stderr
    assert "its body is not kept" not in locked.stderr
    monkeypatch.setenv("SES_FEEDBACK_REJECT_KEY", KEY)
    result = run("show", "kept-1")
    assert result.exit_code == 0, result.output
    assert "knows it as waiting; this is the body kept there." in result.stdout
    assert "j***@example.net" in result.stdout
    assert "2026-02-18 12:00:00" in result.stdout


@pytest.mark.usefixtures("database")
def test_export_writes_lines_for_a_bug_report(ids: list[str]) -> None:
    result = run("export", "report.jsonl")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "4 messages seen, 4 written to report.jsonl: 2 not_json" in result.stderr
    assert "Next:" not in result.stderr
    file = Path("report.jsonl")
    assert file.stat().st_mode & 0o777 == 0o600
    lines = {each["message_id"]: each for each in map(json.loads, file.read_text().splitlines())}
    assert lines.keys() == set(ids)
    assert list(lines[ids[2]]) == [
        *("message_id", "sent_at", "receive_count", "reason", "detail", "kinds", "topic_arn"),
        "body",
    ]
    assert lines[ids[1]]["body"] == "{}"
    inner = json.loads(json.loads(lines[ids[0]]["body"])["Message"])
    assert all(re.match(r".\*\*\*@", address) for address in inner["mail"]["destination"])
    assert not re.search(r"[^*\s]@example", file.read_text())
    assert in_flight() == 0


@pytest.mark.usefixtures("database", "ids")
def test_export_overwrites_nothing_and_leaves_no_empty_file() -> None:
    file = Path("report.jsonl")
    file.write_text("mine")
    result = run("export", "report.jsonl")
    assert result.exit_code == 1
    assert "report.jsonl exists: name a new file." in result.stderr
    assert file.read_text() == "mine"
    assert "cannot be written" in run("export", "no/such/folder.jsonl").stderr
    assert run("export", "none.jsonl", "--kind", "Click").exit_code == 0
    assert not Path("none.jsonl").exists()
    assert in_flight() == 0


@pytest.mark.usefixtures("database")
def test_export_to_standard_output_takes_the_filters_of_list(ids: list[str]) -> None:
    lines = run("export", "-", "--reason", "not_ses").stdout.splitlines()
    assert [json.loads(line)["message_id"] for line in lines] == [ids[1]]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("words", "number", "code"),
    [
        (("list", "--json"), signal.SIGINT, 130),
        (("list", "--json"), signal.SIGTERM, 143),
        (("export", "-"), signal.SIGHUP, 129),
    ],
)
def test_a_command_that_is_told_to_end_hands_back_first(
    sqs: SQSClient,
    environment: dict[str, str],
    words: tuple[str, ...],
    number: signal.Signals,
    code: int,
) -> None:
    url = environment["SQS_DLQ_URL"]
    for _ in range(40):
        entries: Any = [{"Id": str(i), "MessageBody": BOUNCE} for i in range(10)]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    # Nobody reads what it writes, so it waits for room in the pipe, in the middle of the queue.
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("dpp-feedback")), "dlq", *words, "--limit", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline()
        assert in_flight() > 0
        for _ in range(5):  # as the impatient do
            started.send_signal(number)
            sleep(0.05)
        _, err = started.communicate(timeout=60)
    assert started.returncode == code
    assert b"Traceback" not in err
    assert in_flight() == 0


@pytest.mark.usefixtures("database", "ids")
def test_a_reader_that_goes_away_ends_the_command_and_all_is_handed_back() -> None:
    command = Path(sys.executable).with_name("dpp-feedback")
    with subprocess.Popen(
        [str(command), "dlq", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as started:
        assert started.stdout is not None
        started.stdout.close()
        assert started.stderr is not None
        assert b"Traceback" not in started.stderr.read()
    assert in_flight() == 0
