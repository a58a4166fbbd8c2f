"""The command `dpp-feedback`: what it prints, how it ends, and what it says to bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from dpp_feedback.cli import main
from dpp_feedback.local import ports
from dpp_feedback.local.ledger import Ledger
from dpp_feedback.local.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN = {
    "eventType": "Open",
    "mail": {
        "messageId": "0100019c00000001-mail",
        "timestamp": "2026-02-17T08:29:00.000Z",
        "source": "News <news@example.com>",
        "destination": ["a@example.org", "b@example.org"],
    },
    "open": {"timestamp": "2026-02-17T08:30:00.000Z", "userAgent": "a\x1b[31m\u202eb"},
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "SQS_QUEUE_URL", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def _run(*words: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, words, input=stdin)


def _sentence(result: Result) -> str:
    """What a failed command said: one line, no traceback."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = result.output.splitlines()
    return line.removeprefix("Error: ")


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (json.dumps(OPEN), 0, "stored:"),
        ("Successfully validated SNS topic for Amazon SES event publishing.", 3, "topic_validated"),
        ("{}", 4, "not_ses"),
        (b"\xff\xfe", 4, "not_text"),
        ("", 4, "empty"),
    ],
)
def test_explain_says_what_would_become_of_a_body(body: str | bytes, code: int, said: str) -> None:
    result = _run("explain", "-", stdin=body)
    assert result.exit_code == code
    assert said in result.output


def test_explain_shows_the_row(tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    file.write_text(json.dumps({"Type": "Notification", "Message": json.dumps(OPEN)}))
    said = _run("explain", str(file)).output
    for word in ("SNS notification", "event publishing", "news@example.com", "2026-02-17 08:30"):
        assert word in said
    assert '"destination_count": 2' in said
    assert "0100019c00000001-mail:Open:" in said


def test_explain_writes_no_control_character_of_a_body_to_the_terminal() -> None:
    said = _run("explain", "-", stdin=json.dumps(OPEN)).output
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "\\u202e" in said


def test_explain_speaks_to_machines() -> None:
    result = _run("explain", "--json", "-", stdin=json.dumps(OPEN))
    explained = json.loads(result.output)
    assert explained["outcome"] == "events"
    (record,) = explained["records"]
    assert record["envelopes"] == []
    assert record["format"] == "event publishing"
    (event,) = record["events"]
    assert event["primary_recipient"] is None
    assert event["event_at"] == "2026-02-17T08:30:00+00:00"


def test_explain_tells_records_of_one_body_apart() -> None:
    result = _run("explain", "--json", "-", stdin=f"{json.dumps(OPEN)}\n{{}}\n")
    assert result.exit_code == 4
    explained = json.loads(result.output)
    assert explained["reason"] == "not_ses"
    assert explained["detail"].startswith("record 2 of 2: ")
    assert [record["outcome"] for record in explained["records"]] == ["events", "rejected"]


def test_a_missing_setting_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _sentence(_run("migrate")).startswith("DATABASE_URL is not set.")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/db")
    said = _sentence(_run("migrate"))
    assert "DATABASE_URL" in said
    assert "secret" not in said


def test_without_the_stack_simulate_says_how_to_start_it() -> None:
    assert _sentence(_run("simulate")) == (
        "The local stack is not running. Start it with `dpp-feedback up`."
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--duplicates", "lots"], "'lots' is no share. Write 5% or 0.05."),
        (["--poison", "101%"], "'101%' is no share."),
        (["--kinds", "Bounce,Bounced"], "Bounced"),
        (["--count", "0"], "--count"),
        (["--duplicates", "60%", "--poison", "60%"], "no room"),
        (["--incident", "silence"], "--incident needs --days: it is a part of them."),
        (["--days", "0"], "0 is not in the range 1<=x<=365."),
        (["--days", "7", "--incident", "silence"], "an incident needs 14 days or more;"),
        (["--days", "30", "--kinds", "Open"], "--kinds does not go with --days"),
        (["--days", "30", "--format", "mixed"], "--format does not go with --days"),
        (["--days", "30", "--incident", "flood"], "'flood' is not one of"),
    ],
)
def test_bad_options_of_simulate_are_named(words: list[str], said: str, stack: Stack) -> None:
    result = _run("simulate", "--folder", str(stack.folder), *words)
    assert result.exit_code == 2
    assert said in result.output


def test_run_refuses_what_does_not_go_together_before_it_starts_anything() -> None:
    result = _run("run", "--incident", "bounce-spike")
    assert result.exit_code == 2
    assert "--incident needs --days: it is a part of them." in result.output
    assert not Path(".dpp").exists()


def test_down_without_anything_up_is_harmless() -> None:
    result = _run("down")
    assert (result.exit_code, result.output) == (0, "nothing was running\n")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """The words of an `up` that ran."""
    started = [str(ports.free_port()) for _ in range(2)]
    words = ("up", "--postgres-port", started[0], "--aws-port", started[1])
    assert _run(*words).exit_code == 0
    yield words
    Stack(tmp_path / ".dpp").down()


def test_up_simulate_down(up: tuple[str, ...], tmp_path: Path) -> None:
    written = Path(".env").read_text()
    assert written.startswith("# written by dpp-feedback up\n")
    assert f"SES_FEEDBACK_REPORTS={tmp_path / '.dpp' / 'reports'}\n" in written
    assert re.search(
        r"^SES_FEEDBACK_ALERT_TOPIC_ARN=arn:aws:sns:\S+-alerts$", written, re.MULTILINE
    )
    again = _run(*up)
    assert again.exit_code == 0
    assert "migrated" not in again.output

    first = _run("simulate", "--count", "200", "--seed", "7")
    assert first.exit_code == 0, first.output
    assert "published 200 messages" in first.output
    assert "the same again: --seed 7 --at 2026-02-17T00:00:00Z" in first.output
    assert _run("simulate", "--count", "200", "--seed", "7").exit_code == 0
    raw = _run("simulate", "--count", "20", "--raw", "--poison", "0", "--kinds", "Open,Click")
    assert raw.exit_code == 0, raw.output
    month = _run(
        "simulate", "--days", "14", "--incident", "silence", "--count", "60", "--seed", "7"
    )
    assert month.exit_code == 0, month.output
    for said in (
        "published 60 messages",
        "The incident: mail is being sent",
        "--seed 7 --at 2026-02-17T00:00:00Z --days 14 --incident silence",
        "--select daily_bounce_rates --partition-range 2026-02-03...2026-02-16",
    ):
        assert said in month.output
    sent = Ledger(tmp_path / ".dpp").read()
    assert len(sent) == 480
    one, other = sent[:200], sent[200:400]
    assert sorted(m.dedupe_keys for m in one) == sorted(m.dedupe_keys for m in other)  # type: ignore[union-attr]

    down = _run("down", "--wipe")
    assert down.exit_code == 0
    assert down.output.count("stopped") == 2
    assert not Path(".dpp").exists()
