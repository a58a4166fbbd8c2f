"""What Postgres writes into its own log: values of a row that it refuses, unless told not to.

Only a superuser, or who is granted it, may change these settings, so the product cannot.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from dpp_feedback.connection import connect, explaining
from dpp_feedback.doctor.finding import Examination, Finding, passed, warned
from dpp_feedback.resources import database_url

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHECK = "server's log"
# "DETAIL: Failing row contains (...)" and "CONTEXT: JSON data, line 1: ..." come at every verbosity
# but terse. Parameters come with statements that are logged; -1 means whole. All of these settings
# may be read by anybody: "Error Reporting and Logging" in Postgres's manual.
_SETTINGS = """
SELECT current_setting('log_error_verbosity') <> 'terse',
  current_setting('log_parameter_max_length_on_error') <> '0',
  current_setting('log_parameter_max_length') <> '0' AND (
    current_setting('log_statement') IN ('mod', 'all')
    OR current_setting('log_min_duration_statement') <> '-1'
    OR current_setting('log_min_duration_sample') <> '-1'
    OR current_setting('log_transaction_sample_rate') <> '0'
  )
"""
_WRITTEN = (
    ("rows that it refuses", "log_error_verbosity = terse"),
    ("parameters of statements that fail", "log_parameter_max_length_on_error = 0"),
    ("parameters of statements that it logs", "log_parameter_max_length = 0"),
)


def examinations() -> list[Examination]:
    """Look at the settings that hold for the login."""
    return [Examination("database", _CHECK, _log, unknown="warn")]


def _log() -> Iterator[Finding]:
    with (
        closing(connect(database_url(), "dpp_feedback doctor")) as connection,
        explaining("Reading the server's settings"),
    ):
        told = connection.execute(_SETTINGS).fetchone() or ()
    wrong = [each for each, is_written in zip(_WRITTEN, told, strict=True) if is_written]
    if not wrong:
        yield passed(_CHECK, "No values of rows come into it, and so no mail addresses.")
        return
    yield warned(
        _CHECK,
        f"Postgres writes values, mail addresses among them, into its log: of "
        f"{', of '.join(what for what, _ in wrong)}.",
        f"As a superuser, ALTER ROLE ... SET {', and SET '.join(how for _, how in wrong)}, for the "
        "login in DATABASE_URL; or guard that log as you guard the table.",
    )
