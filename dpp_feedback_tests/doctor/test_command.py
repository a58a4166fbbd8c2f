"""The command `dpp-feedback doctor`: all looks at once, what it prints, and its exit code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from click.testing import CliRunner, Result

from dpp_feedback import resources
from dpp_feedback.cli import main
from dpp_feedback.doctor.examine import examine
from dpp_feedback.doctor.finding import Examination, passed
from dpp_feedback.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from dpp_feedback.doctor.finding import Finding
    from dpp_feedback_tests.doctor.proxy import Proxy


def _run(*words: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *words])


def test_the_local_stack_has_no_failure(environment: dict[str, str]) -> None:
    migrate(environment["DATABASE_URL"])
    ended = _run("--json")
    said = json.loads(ended.stdout)
    assert ended.exit_code == 0, ended.stdout
    assert said["counts"]["fail"] == 0
    assert len(said["checks"]) == sum(said["counts"].values()) > 30
    areas = list(dict.fromkeys(check["area"] for check in said["checks"]))
    assert areas == [
        "settings",
        "identity",
        "clock",
        "queue",
        "dead-letter queue",
        "topics",
        "SES",
        "database",
        "Dagster",
    ]


def test_a_failure_is_exit_code_1_and_stands_once_in_100_columns(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment
    monkeypatch.delenv("DATABASE_URL")
    ended = _run()
    assert ended.exit_code == 1
    assert ended.stdout.count("DATABASE_URL is not set.") == 1
    assert "As said at settings, DATABASE_URL." in ended.stdout
    lines = ended.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[-1].endswith(" fail")
    assert "fail   takes an event" in ended.stdout


def test_nothing_is_shown_that_opens_anything(
    between: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = {
        "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED",
        "AWS_SECRET_ACCESS_KEY": "planted-secret-key",
        "DATABASE_URL": "postgresql://user:planted-password@127.0.0.1:1/database",
        "SES_FEEDBACK_SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/planted-hook",
        "SES_FEEDBACK_MAIL_FROM": "planted-from@example.com",
        "SES_FEEDBACK_MAIL_TO": "planted-to@example.com",
        "SES_FEEDBACK_REJECT_KEY": "planted-short",
    }
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    between.say(
        "ListIdentities", "<Identities><member>planted-identity@example.com</member></Identities>"
    )
    for ended in (_run(), _run("--json")):
        assert ended.exit_code == 1
        assert "planted" not in ended.stdout.lower().replace("akia", "")
        assert "p***@example.com" in ended.stdout


def test_one_look_that_breaks_or_hangs_stops_no_other() -> None:
    never = Event()

    def hangs() -> Iterator[Finding]:
        yield passed("first", "It is there.")
        never.wait()

    def breaks() -> Iterator[Finding]:
        raise RuntimeError("jane@example.com")
        yield

    looks = [
        Examination("a", "hangs", hangs),
        Examination("a", "breaks", breaks, unknown="warn"),
        Examination("b", "works", lambda: [passed("works", "It does.")]),
    ]
    found = examine(looks, within_seconds=1)
    never.set()
    assert [(each.check, each.verdict) for each in found["a"]] == [
        ("first", "pass"),
        ("hangs", "fail"),
        ("breaks", "warn"),
    ]
    assert "did not answer within 1 seconds" in found["a"][1].found
    assert found["a"][2].found == "a: breaks failed: RuntimeError."
    assert [each.verdict for each in found["b"]] == ["pass"]


def test_every_variable_that_resources_reads_is_known_to_the_doctor() -> None:
    source = Path(resources.__file__).read_text().partition("_KEY_LENGTH")[2]
    read = set(re.findall(r'"((?:SES_FEEDBACK|SQS|SNS|DATABASE|AWS)_[A-Z_]+)"', source))
    assert read <= resources.SETTINGS
    assert {name for name in resources.SETTINGS if name.startswith("SES_FEEDBACK_")} <= read
