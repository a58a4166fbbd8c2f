"""The doctor says when Postgres's own log holds the values of rows, and a real log shows that."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from dpp_feedback.doctor import server_log
from dpp_feedback_tests.doctor.looking import only

if TYPE_CHECKING:
    from dpp_feedback.local.stack import Stack


def _set(environment: dict[str, str], setting: str, value: str) -> None:
    """For connections to this database from now on."""
    with closing(psycopg.connect(environment["DATABASE_URL"], autocommit=True)) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'")


def test_the_local_stack_writes_no_values(environment: dict[str, str]) -> None:
    assert environment
    assert only(server_log.examinations(), "server's log").verdict == "pass"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"log_error_verbosity": "default"}, "log_error_verbosity = terse"),
        ({"log_parameter_max_length_on_error": "-1"}, "log_parameter_max_length_on_error = 0"),
        ({"log_statement": "mod"}, "log_parameter_max_length = 0"),
        ({"log_min_duration_statement": "0"}, "log_parameter_max_length = 0"),
    ],
)
def test_a_setting_that_lets_values_in_is_named(
    environment: dict[str, str], settings: dict[str, str], said: str
) -> None:
    for name, value in settings.items():
        _set(environment, name, value)
    finding = only(server_log.examinations(), "server's log")
    assert finding.verdict == "warn"
    assert said in finding.next_step


@pytest.mark.parametrize(("verbosity", "is_written"), [("terse", False), ("default", True)])
def test_what_the_doctor_says_of_refused_rows_is_so(
    environment: dict[str, str], stack: Stack, verbosity: str, is_written: bool
) -> None:
    _set(environment, "log_error_verbosity", verbosity)
    who = f"jane-{verbosity}@example.com"
    with closing(psycopg.connect(environment["DATABASE_URL"], autocommit=True)) as connection:
        connection.execute("CREATE TABLE narrow (who text CHECK (who = ''))")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO narrow VALUES (%s)", (who,))
    assert (who in stack.postgres.log.read_text()) is is_written
