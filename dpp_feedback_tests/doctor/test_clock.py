"""The clock, against one of AWS that is wrong and a database's."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dpp_feedback.doctor import clock
from dpp_feedback.doctor.aws import Aws
from dpp_feedback_tests.doctor.looking import only

if TYPE_CHECKING:
    from dpp_feedback_tests.doctor.proxy import Proxy


@pytest.mark.parametrize(
    ("ahead", "verdict", "word"),
    [
        (0, "pass", "apart"),
        (60, "warn", "behind"),
        (-60, "warn", "ahead"),
        (900, "fail", "refuses signatures"),
        (-900, "fail", "refuses signatures"),
    ],
)
def test_the_date_of_awss_answers_is_compared(
    between: Proxy, ahead: int, verdict: str, word: str
) -> None:
    between.clock_ahead = ahead
    finding = only(clock.examinations(Aws()), "AWS")
    assert finding.verdict == verdict
    assert word in finding.found


def test_a_refusal_has_a_date_too_so_no_credentials_are_needed(
    between: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    between.refuse("GetCallerIdentity", "MissingAuthenticationToken")
    between.clock_ahead = 900
    assert only(clock.examinations(Aws()), "AWS").verdict == "fail"


def test_where_nobody_answers_the_clock_is_not_known(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/nothing")
    for check in ("AWS", "database"):
        assert only(clock.examinations(Aws()), check).verdict == "warn"


def test_the_database_is_asked(environment: dict[str, str]) -> None:
    assert environment
    assert only(clock.examinations(Aws()), "database").verdict == "pass"


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(5, "pass"), (-5, "pass"), (5.1, "warn"), (300, "warn"), (300.1, "fail"), (-301, "fail")],
)
def test_five_seconds_warn_and_five_minutes_fail(seconds: float, verdict: str) -> None:
    for signs in (True, False):
        ahead = timedelta(seconds=seconds)
        assert clock.judged("database", ahead, signs=signs).verdict == verdict
