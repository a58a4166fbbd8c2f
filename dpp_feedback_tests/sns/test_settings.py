"""What the settings ask of a body, and that nobody who judges bodies asks for less."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dpp_feedback.cli import main
from dpp_feedback.feedback.events import Rejected
from dpp_feedback.feedback.parser import parse
from dpp_feedback.resources import SettingError, sns_check, verifies
from dpp_feedback.sns.check import SnsCheck
from dpp_feedback_tests.bounces import bounce
from dpp_feedback_tests.feedback.bodies import in_eventbridge
from dpp_feedback_tests.sns.authority import NOW, TOPIC, body, notification

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("SNS_BOUNCE_ARN", "SNS_COMPLAINT_ARN", "SNS_DELIVERY_ARN")


@pytest.fixture(autouse=True)
def _production(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "SNS_VERIFY", *NAMES):
        monkeypatch.delenv(name, raising=False)


def test_signatures_are_verified_unless_a_stand_in_answers_for_aws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert verifies()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert not verifies()
    monkeypatch.setenv("SNS_VERIFY", "true")
    assert verifies()
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("SNS_VERIFY", "false")
    assert not verifies()


@pytest.mark.parametrize("word", ["True", "yes", "1", "on", "0", "no", "FALSE", "tru\u0435"])
def test_any_other_word_is_refused(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNS_VERIFY", word)
    with pytest.raises(SettingError, match=r"SNS_VERIFY is .*: write true or false"):
        verifies()


def test_signatures_without_a_topic_are_worth_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match=r"SNS_BOUNCE_ARN.*SNS_VERIFY=false"):
        sns_check()
    monkeypatch.setenv("SNS_DELIVERY_ARN", TOPIC)
    assert sns_check().topics == {TOPIC}
    assert sns_check().certificates is sns_check().certificates is not None


def test_partitions_whose_certificates_are_not_known_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-iso-east-1")
    monkeypatch.setenv("SNS_BOUNCE_ARN", "arn:aws-iso:sns:us-iso-east-1:111122223333:bounces")
    with pytest.raises(SettingError, match="aws-iso: set SNS_VERIFY=false"):
        sns_check()
    monkeypatch.setenv("SNS_VERIFY", "false")
    assert sns_check().certificates is None


@pytest.mark.parametrize(
    "named",
    [
        "arn:aws:sns:ap-northeast-2:444455556666:bounces",
        TOPIC + " ",
        TOPIC.upper(),
        TOPIC[:-1],
        "",
        None,
        [TOPIC],
        {TOPIC: TOPIC},
        7,
    ],
)
def test_a_body_of_another_topic_is_rejected_without_signatures_too(named: object) -> None:
    ours = SnsCheck(frozenset({TOPIC}))
    assert isinstance(parse(body(notification()), NOW, ours), tuple)
    outcome = parse(body(notification(TopicArn=named)), NOW, ours)
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "topic_not_allowed"
    assert "SNS_BOUNCE_ARN" in outcome.detail


def test_a_body_that_looks_like_sns_and_names_no_topic_is_rejected() -> None:
    ours = SnsCheck(frozenset({TOPIC}))
    for text in ('{"Message": "x"}', '{"Type": "Notification", "Message": {}}', '{"Type": 1}'):
        outcome = parse(text, NOW, ours)
        assert isinstance(outcome, Rejected)
        assert outcome.reason == "topic_not_allowed"


def test_without_signatures_bodies_without_snss_envelope_come_in_as_ever() -> None:
    ours = SnsCheck(frozenset({TOPIC}))
    for text in (bounce(1), json.dumps(in_eventbridge(json.loads(bounce(2))))):
        assert isinstance(parse(text, NOW, ours), tuple)


def test_without_topics_any_topic_will_do() -> None:
    assert isinstance(parse(body(notification(TopicArn="x")), NOW, SnsCheck()), tuple)


def test_explain_looks_at_topic_and_signature_when_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # away from the .env of a local stack
    monkeypatch.setenv("SNS_BOUNCE_ARN", TOPIC)
    text = body(notification())
    said = CliRunner().invoke(main, ["explain", "-"], input=text)
    assert (said.exit_code, "were not looked at: --verify does" in said.stdout) == (0, True)
    said = CliRunner().invoke(main, ["explain", "--verify", "-"], input=text)
    assert said.exit_code == 4
    assert "unsigned: " in said.stdout
    assert "signature was not looked at" not in said.stdout
    raw = CliRunner().invoke(main, ["explain", "-"], input=bounce(1))
    assert "--verify" not in raw.stdout


def test_explain_says_that_no_signature_is_looked_at_where_none_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SNS_BOUNCE_ARN", TOPIC)
    monkeypatch.setenv("SNS_VERIFY", "false")
    said = CliRunner().invoke(main, ["explain", "--verify", "-"], input=body(notification()))
    assert (said.exit_code, "The signature was not looked at" in said.stdout) == (0, True)


def test_everybody_who_judges_bodies_asks_for_what_the_settings_say() -> None:
    """Else `dlq list` would call readable what a run rejects."""
    judges = {"glance": 3, "parse": 3, "explain": 3, "matches": 3}  # and how many arguments
    without = []
    for path in sorted((ROOT / "dpp_feedback").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            given = len(node.args) + sum(keyword.arg == "admit" for keyword in node.keywords)
            if name in judges and given < judges[name]:
                without.append(f"{path.name}: {ast.unparse(node)}")
    # What is told while the check itself cannot be made; only which kinds a text names; and another
    # parser, of error answers.
    assert sorted(without) == [
        "drained.py: glance(self.body, self.sent_at)",
        "listing.py: glance(message.body, message.sent_at)",
        "sqs_calls.py: create_parser('json').parse(answer, shape)",
    ]
