"""The settings, and who the process is to AWS; keys are planted, and never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dpp_feedback.doctor import identity, settings
from dpp_feedback.doctor.aws import Aws
from dpp_feedback.doctor.surroundings import Surroundings
from dpp_feedback_tests.doctor.looking import found, only

if TYPE_CHECKING:
    from pathlib import Path

    from dpp_feedback.doctor.finding import Finding
    from dpp_feedback_tests.doctor.proxy import Proxy

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
POD = Surroundings(pod=True, endpoint=None, keys=())
LAPTOP = Surroundings(pod=False, endpoint=None, keys=())


def _who(check: str, where: Surroundings | None = None) -> Finding:
    return only(identity.examinations(Aws(), where or Surroundings.read()), check)


@pytest.fixture
def no_keys(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack's settings without the keys that sign for it."""
    assert environment
    for name in KEYS:
        monkeypatch.delenv(name)


@pytest.fixture
def irsa(no_keys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What EKS puts into a pod whose service account has a role."""
    assert no_keys is None
    (tmp_path / "token").write_text("a.b.c")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::000000000000:role/Feedback")
    monkeypatch.setenv("AWS_ROLE_SESSION_NAME", "jane.doe@example.com")


def test_the_settings_of_the_stack_can_be_read(environment: dict[str, str]) -> None:
    assert environment
    checks = found(settings.examinations())
    assert {each.verdict for findings in checks.values() for each in findings} == {"pass"}
    assert "SNS_DELIVERY_ARN" in checks["values"][0].found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_REGION", "Seoul"),
        ("DATABASE_URL", "postgresql://user:se/cret@host/database"),
        ("SES_FEEDBACK_MAX_PARALLEL_RUNS", "many"),
        ("SES_FEEDBACK_MIN_VOLUME", "0"),
        ("SES_FEEDBACK_REJECT_KEY", "short"),
        ("SES_FEEDBACK_REPORTS", "ftp://example.com"),
        ("SES_FEEDBACK_TIME_ZONE", "Mars/Olympus"),
        ("SES_FEEDBACK_VERIFIED_DOMAINS", "a@b"),
        ("SNS_BOUNCE_ARN", "arn:aws:sns:ap-northeast-2:000000000000:topic.fifo"),
        ("SNS_BOUNCE_ARN", "arn:aws:sns:us-east-1:000000000000:topic"),
        ("SQS_DLQ_URL", "dlq"),
        ("SQS_QUEUE_URL", ""),
    ],
)
def test_a_setting_that_cannot_be_read_fails_by_its_name(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert environment
    monkeypatch.setenv(name, value)
    finding = only(settings.examinations(), name)
    assert finding.verdict == "fail"
    assert name in finding.found
    assert "se/cret" not in finding.found


def test_a_name_with_a_typo_warns_and_says_which_is_meant(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment
    monkeypatch.setenv("SES_FEEDBACK_TIMEZONE", "Asia/Seoul")
    finding = only(settings.examinations(), "names")
    assert finding.verdict == "warn"
    assert finding.next_step == "Write SES_FEEDBACK_TIME_ZONE, or unset it."


def test_alerts_that_reach_nobody_warn(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment
    monkeypatch.delenv("SES_FEEDBACK_ALERT_TOPIC_ARN")
    assert only(settings.examinations(), "alerts").verdict == "warn"
    monkeypatch.setenv("SES_FEEDBACK_MAIL_TO", "ops@example.com")
    half, nobody = found(settings.examinations())["alerts"]
    assert (
        half.found == "SES_FEEDBACK_MAIL_TO is set, SES_FEEDBACK_MAIL_FROM is not: no mail is sent."
    )
    assert nobody.verdict == "warn"


def test_the_keys_of_a_stand_in_warn_and_those_of_aws_fail(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _who("static keys").verdict == "warn"
    assert _who("credentials").verdict == "warn"
    for endpoint in ("", "https://sqs.ap-northeast-2.amazonaws.com"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        where = Surroundings.read()
        for check in ("static keys", "credentials"):
            (finding,) = found(identity.examinations(Aws(), where)[:2])[check]
            assert finding.verdict == "fail"
    assert environment["AWS_SECRET_ACCESS_KEY"] == "local"


def test_temporary_keys_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KEYS, "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "planted")
    where = Surroundings(pod=True, endpoint=None, keys=(*KEYS, "AWS_SESSION_TOKEN"))
    checks = found(identity.examinations(Aws(), where)[:2])
    for check in ("static keys", "credentials"):
        (finding,) = checks[check]
        assert finding.verdict == "warn"
        assert "planted" not in finding.found + finding.next_step


@pytest.mark.parametrize(
    ("file", "profile"), [("credentials", "[default]"), ("config", "[profile jane@example.com]")]
)
def test_keys_in_a_file_fail_even_when_a_role_is_used(
    irsa: None, tmp_path: Path, file: str, profile: str
) -> None:
    assert irsa is None
    (tmp_path / file).write_text(
        f"{profile}\naws_access_key_id = AKIAPLANTED\naws_secret_access_key = planted-secret\n"
    )
    finding = _who("static keys", POD)
    assert finding.verdict == "fail"
    assert str(tmp_path / file) in finding.found
    for secret in ("AKIAPLANTED", "planted-secret", "jane@"):
        assert secret not in finding.found + finding.next_step


def test_a_file_that_botocore_cannot_read_fails_in_a_sentence(
    no_keys: None, tmp_path: Path
) -> None:
    assert no_keys is None
    (tmp_path / "credentials").write_text("aws_access_key_id = AKIAPLANTED\n")
    finding = _who("static keys", POD)
    assert finding.verdict == "fail"
    assert "AKIAPLANTED" not in finding.found


def test_the_role_of_a_pod_passes_and_its_session_is_masked(irsa: None) -> None:
    assert irsa is None
    assert _who("static keys", POD).verdict == "pass"
    credentials = _who("credentials", POD)
    assert (credentials.verdict, "IRSA" in credentials.found) == ("pass", True)
    caller = _who("caller", POD)
    assert caller.verdict == "pass"
    assert ":assumed-role/Feedback/" in caller.found
    assert "jane.doe" not in caller.found


def test_no_credentials_at_all_fail(no_keys: None) -> None:
    assert no_keys is None
    for where in (POD, LAPTOP):
        assert _who("credentials", where).verdict == "fail"
        assert _who("caller", where).verdict == "fail"


def test_a_login_of_a_person_passes_on_a_laptop_and_warns_in_a_pod(
    no_keys: None, tmp_path: Path
) -> None:
    assert no_keys is None
    (tmp_path / "keys.sh").write_text(
        'echo \'{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c"}\''
    )
    (tmp_path / "config").write_text(f"[default]\ncredential_process = sh {tmp_path / 'keys.sh'}\n")
    assert _who("credentials", LAPTOP).verdict == "pass"
    assert _who("credentials", POD).verdict == "warn"


def test_a_caller_that_is_no_role_fails_at_aws_and_warns_at_a_stand_in(
    environment: dict[str, str],
) -> None:
    assert _who("caller", POD).verdict == "fail"
    stand_in = Surroundings(pod=False, endpoint=environment["AWS_ENDPOINT_URL"], keys=())
    assert _who("caller", stand_in).verdict == "warn"


def test_another_accounts_queue_warns(environment: dict[str, str], between: Proxy) -> None:
    assert environment
    assert _who("account").verdict == "pass"
    between.say(
        "GetCallerIdentity",
        "<Arn>arn:aws:sts::123456789012:assumed-role/R/s</Arn><UserId>R</UserId>"
        "<Account>123456789012</Account>",
    )
    finding = _who("account")
    assert finding.verdict == "warn"
    assert "123456789012, the queue of SQS_QUEUE_URL to 000000000000" in finding.found


def test_the_region_passes_set_or_not_and_fails_malformed(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment
    assert _who("AWS_REGION").verdict == "pass"
    monkeypatch.delenv("AWS_REGION")
    assert "the default" in _who("AWS_REGION").found
    monkeypatch.setenv("AWS_REGION", "Seoul")
    assert _who("AWS_REGION").verdict == "fail"


@pytest.mark.parametrize(
    ("endpoint", "pod", "verdict"),
    [
        (None, True, "pass"),
        ("http://127.0.0.1:4577", False, "pass"),
        ("http://127.0.0.1:4577", True, "warn"),
        ("https://sqs.ap-northeast-2.amazonaws.com", False, "warn"),
        ("4577", False, "fail"),
        ("http://[", False, "fail"),
    ],
)
def test_an_endpoint_is_for_a_laptop(endpoint: str | None, pod: bool, verdict: str) -> None:
    where = Surroundings(pod=pod, endpoint=endpoint, keys=())
    look = identity.examinations(Aws(), where)[-1]
    assert only([look], "AWS_ENDPOINT_URL").verdict == verdict
