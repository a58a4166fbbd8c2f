"""`dpp-feedback dlq redrive` and `dlq discard`: what they print, ask, refuse, and how they end."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from dpp_feedback.cli import main
from dpp_feedback.commands.signals import handing_back
from dpp_feedback.dlq.prospect import Prospect
from dpp_feedback.move_tasks import MoveTask, MoveTasks
from dpp_feedback.resources import FeedbackQueue
from dpp_feedback_tests.dlq.dead_letters import DeadLetters, delivery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpp_feedback.dlq.redrive import Started


PROGRAM = "from dpp_feedback.cli import main; main()"
MISSING = "00000000-0000-0000-0000-000000000000"


def _run(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["dlq", *words], input=stdin)


class Terminal:
    """A command in a terminal of 100 columns."""

    def __init__(self, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "dlq", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "COLUMNS": "100", "LINES": "40", "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(theirs)
        self.said = ""

    def until(self, words: str) -> None:
        while words not in self.said and self._read():
            pass
        assert words in self.said, self.said

    def answer(self, words: str) -> None:
        os.write(self._ours, f"{words}\n".encode())

    def end(self) -> int:
        while self._read():
            pass
        os.close(self._ours)
        return self.process.wait()

    def _read(self) -> bool:
        if not select.select([self._ours], [], [], 60)[0]:
            self.process.kill()
        try:
            got = os.read(self._ours, 4096)
        except OSError:  # Linux's way to say that the other end is closed
            return False
        self.said += got.decode()
        return bool(got)


# redrive


def test_an_empty_queue_needs_no_redrive(dead_letters: DeadLetters) -> None:
    result = _run("redrive", "--yes")
    assert result.exit_code == 0
    assert result.output == "The dead-letter queue is empty: nothing to move.\n"
    assert dead_letters.acts() == []


def test_everything_readable_is_moved_and_recorded(
    dead_letters: DeadLetters, environment: dict[str, str]
) -> None:
    dead_letters.send([delivery(number) for number in range(12)])
    result = _run("redrive", "--yes")
    assert result.exit_code == 0, result.output
    main = environment["SQS_QUEUE_URL"].rpartition("/")[2]
    assert f"A redrive moves them to {main}." in result.output
    assert "stored" in result.output
    assert " of 12 messages moved\n" in result.output
    assert result.output.endswith("12 messages moved.\n")
    assert dead_letters.depth(dead_letters.main_url) == (12, 0)
    (act,) = dead_letters.acts()
    assert (act["action"], act["moved"], act["error"], act["why"]) == ("redrive", 12, None, None)
    assert act["actor"].startswith("arn:aws:")


def test_while_some_would_come_back_nothing_moves(dead_letters: DeadLetters) -> None:
    dead_letters.send([delivery(1), "no JSON"])
    result = _run("redrive", "--yes")
    assert result.exit_code == 1
    assert "back in the dead-letter queue" in result.output
    (error,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert "1 of 2 messages would come back" in error
    assert "2 messages in " in result.output
    assert ", all looked at." in result.output
    assert error.endswith("add --force.")
    assert dead_letters.depth() == (2, 0)
    assert dead_letters.acts() == []


def test_forced_it_moves_everything_and_the_record_says_so(dead_letters: DeadLetters) -> None:
    dead_letters.send([delivery(1), "no JSON"])
    result = _run("redrive", "--yes", "--force")
    assert result.exit_code == 0, result.output
    assert dead_letters.depth() == (0, 0)
    (act,) = dead_letters.acts()
    assert act["why"].startswith("forced, though: 1 of 2 messages would come back")


def test_without_a_database_only_force_starts_and_says_that_it_is_not_recorded(
    dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letters.send([delivery()])
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/db")
    result = _run("redrive", "--yes")
    assert result.exit_code == 1
    assert "Error: Nothing could be stored now. The database of DATABASE_URL" in result.output
    assert dead_letters.depth() == (1, 0)
    result = _run("redrive", "--yes", "--force")
    assert result.exit_code == 1
    assert "It has started, but is not recorded: The database of DATABASE_URL" in result.output
    assert result.output.endswith("1 message moved.\n")
    assert "secret" not in result.output
    assert dead_letters.depth() == (0, 0)


def test_a_second_redrive_is_refused_and_cancel_ends_the_first(dead_letters: DeadLetters) -> None:
    dead_letters.send([delivery(number) for number in range(60)])
    FeedbackQueue(setting="SQS_DLQ_URL").connect().move_tasks.start(1)
    result = _run("redrive", "--yes", "--force")
    assert result.exit_code == 1
    assert "Error: A redrive is RUNNING already: " in result.output
    assert "`dpp-feedback dlq redrive --cancel`" in result.output
    result = _run("redrive", "--cancel")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Cancelled. ")
    (act,) = dead_letters.acts()
    assert act["action"] == "cancel_redrive"
    again = _run("redrive", "--cancel")
    assert again.exit_code == 1
    assert "cancel" in again.output


def test_cancel_goes_alone() -> None:
    result = _run("redrive", "--cancel", "--force")
    assert result.exit_code in (1, 2)


def test_the_record_tells_what_was_moved_until_the_watching_ended(
    dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letters.send([delivery(number) for number in range(30)])

    def stop_at_once(tasks: MoveTasks, _: Started) -> Iterator[MoveTask]:
        yield MoveTask("RUNNING", started_at=getattr(tasks.latest(), "started_at", None))
        dead_letters.until(0)
        raise KeyboardInterrupt

    monkeypatch.setattr("dpp_feedback.dlq.redrive.watch", stop_at_once)
    result = _run("redrive", "--yes")
    assert result.exit_code == 130
    assert "30 messages moved.\n" in result.output
    (act,) = dead_letters.acts()
    assert (act["moved"], act["error"]) == (30, None)


def test_a_failed_redrive_ends_with_sqs_reason(
    dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letters.send([delivery(number) for number in range(30)])
    real = MoveTasks.start

    def start(tasks: MoveTasks, limit: int | None) -> str:
        handle = real(tasks, limit)
        dead_letters.sqs.delete_queue(QueueUrl=dead_letters.main_url)
        return handle

    monkeypatch.setattr(MoveTasks, "start", start)
    result = _run("redrive", "--yes", "--max-per-second", "1")
    assert result.exit_code == 1
    # AWS says NonExistentQueue; the stand-in finds no origin for messages that were sent straight
    # into the dead-letter queue.
    assert "SQS ended it: CouldNotDetermineMessageSource" in result.output
    assert "`dpp-feedback dlq reprocess` takes those too" in result.output
    (act,) = dead_letters.acts()
    assert act["error"].startswith("SQS ended it: ")


def test_without_a_terminal_and_yes_nothing_is_done(dead_letters: DeadLetters) -> None:
    (name,) = dead_letters.send([delivery()])
    for words in (["redrive"], ["discard", "--ids", name, "--why", "a test"]):
        result = _run(*words)
        assert result.exit_code == 1
        assert "add --yes. Nothing was done." in result.output
    assert dead_letters.depth() == (1, 0)
    assert dead_letters.acts() == []


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_whoever_stops_watching_leaves_the_redrive_running(
    dead_letters: DeadLetters, end: signal.Signals
) -> None:
    dead_letters.send([delivery(number) for number in range(90)])
    terminal = Terminal("redrive", "--max-per-second", "1")
    terminal.until("Start the redrive? [y/N]: ")
    terminal.answer("y")
    terminal.until("of 90 messages moved")
    terminal.process.send_signal(end)
    assert terminal.end() == 128 + end
    assert "It goes on in SQS, and is watched no longer" in terminal.said
    assert "To cancel it: `dpp-feedback dlq redrive --cancel`" in terminal.said
    task = FeedbackQueue(setting="SQS_DLQ_URL").connect().move_tasks.latest()
    assert task
    assert task.status == "RUNNING"
    (act,) = dead_letters.acts()
    assert act["finished_at"]
    assert act["error"].startswith("It goes on in SQS")
    assert _run("redrive", "--cancel").exit_code == 0


# discard


def test_what_is_named_is_discarded_after_a_yes(dead_letters: DeadLetters) -> None:
    first, second, stays = dead_letters.send(["no JSON", delivery(), "stays"])
    terminal = Terminal(
        "discard", "--ids", f"{first},{second}", "--why", "found by jane@example.org"
    )
    terminal.until("[y/N]: ")
    assert "readable: are you sure?" in terminal.said
    assert "1 of them would be stored by `dlq reprocess`. Delete 2 messages for good?" in (
        terminal.said
    )
    terminal.answer("y")
    assert terminal.end() == 0, terminal.said
    assert "2 messages discarded." in terminal.said
    assert dead_letters.depth() == (1, 0)
    assert stays not in dead_letters.rejects()
    (act,) = dead_letters.acts()
    assert act["why"] == "found by j***@example.org"


def test_a_no_discards_nothing(dead_letters: DeadLetters) -> None:
    (name,) = dead_letters.send(["no JSON"])
    terminal = Terminal("discard", "--ids", name, "--why", "a test")
    terminal.until("[y/N]: ")
    terminal.answer("n")
    assert terminal.end() == 1
    assert dead_letters.depth() == (1, 0)
    assert dead_letters.acts() == []


def test_ids_come_from_standard_input_and_count_once(dead_letters: DeadLetters) -> None:
    ids = dead_letters.send(["no JSON", "neither", "nor this"])
    written = "\n".join([*ids[:2], ids[0], ""])
    result = _run(
        "discard", "--ids", "-", "--ids", ids[1], "--why", "a test", "--yes", stdin=written
    )
    assert result.exit_code == 0, result.output
    assert "2 messages discarded." in result.output
    assert dead_letters.depth() == (1, 0)


def test_what_is_missing_is_named_and_the_rest_goes(dead_letters: DeadLetters) -> None:
    (name,) = dead_letters.send(["no JSON"])
    strange = "\x1b[31mred"
    result = _run("discard", "--ids", f"{name},{MISSING},{strange}", "--why", "a test", "--yes")
    assert result.exit_code == 1
    assert "1 message discarded." in result.output
    assert MISSING in result.output
    assert "\\x1b[31mred" in result.output
    assert "\x1b" not in result.output
    assert dead_letters.depth() == (0, 0)
    again = _run("discard", "--ids", name, "--why", "a test", "--yes")
    assert again.exit_code == 1
    assert "Error: None of these messages is there: nothing is discarded." in again.output


def test_without_a_database_nothing_is_discarded(
    dead_letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = dead_letters.send(["no JSON"])
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/db")
    result = _run("discard", "--ids", name, "--why", "a test", "--yes")
    assert result.exit_code == 1
    assert "Error: The database of DATABASE_URL does not answer" in result.output
    assert dead_letters.depth() == (1, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ids", MISSING], "Missing option '--why'"),
        (["--why", "a test"], "Missing option '--id' / '--ids'"),
        (["--ids", " , ", "--why", "a test"], "no id is named"),
        (["--ids", "", "--id", MISSING, "--why", "a test"], "no id is named"),
        (["--ids", MISSING, "--why", "  "], "say in 1 to 500 characters"),
        (["--ids", MISSING, "--why", "x" * 501], "say in 1 to 500 characters"),
        (["--ids", ",".join(map(str, range(1001))), "--why", "a test"], "1,001 ids; one act takes"),
        (["--all", "--why", "a test"], "No such option"),
    ],
)
def test_bad_options_of_discard_are_named(words: list[str], said: str) -> None:
    result = _run("discard", *words)
    assert result.exit_code == 2
    assert said in result.output


def test_a_missing_queue_is_one_sentence(
    dead_letters: DeadLetters, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dead_letters.depth() == (0, 0)
    monkeypatch.setenv("SQS_DLQ_URL", environment["SQS_DLQ_URL"] + "-missing")
    for words in (
        ["redrive", "--yes"],
        ["redrive", "--cancel"],
        ["discard", "--ids", MISSING, "--why", "a test", "--yes"],
    ):
        result = _run(*words)
        assert result.exit_code == 1
        assert result.output.startswith("Error: SQS_DLQ_URL names a queue that does not exist")


@pytest.fixture
def _denying(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS where the role may do nothing; the stand-in knows no permissions."""
    assert environment

    class Denied(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = b'{"__type": "com.amazonaws.sqs#AccessDeniedException", "message": "no"}'
            self.send_response(403)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Denied) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        yield
        server.shutdown()


@pytest.mark.parametrize(
    "words",
    [
        ["redrive", "--yes", "--force"],
        ["redrive", "--cancel"],
        ["discard", "--ids", MISSING, "--why", "a test", "--yes"],
    ],
)
@pytest.mark.usefixtures("_denying")
def test_a_missing_right_is_one_sentence_that_names_it(
    dead_letters: DeadLetters, words: list[str]
) -> None:
    assert dead_letters.url
    result = _run(*words)
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith("Error: The role may not call sqs:GetQueueAttributes")


def test_a_command_that_outlives_its_terminal_goes_on_and_sigterm_ends_it() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with handing_back():
        signal.raise_signal(signal.SIGHUP)
    with pytest.raises(SystemExit) as ended, handing_back():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_an_unread_sample_is_a_reason_of_its_own() -> None:
    held = Prospect(2, 2, {}, "2 messages were in flight.", "")
    assert held.why_not.endswith("2 messages were in flight.")
