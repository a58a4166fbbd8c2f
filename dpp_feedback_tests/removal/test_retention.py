"""Retention as it is started: the command, the job, its setting, and what a rollup then says."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import psycopg
import pytest
from click.testing import CliRunner

from dpp_feedback.cli import main
from dpp_feedback.definitions import defs
from dpp_feedback.migrate import migrate
from dpp_feedback.resources import SettingError, retention_days
from dpp_feedback_tests.test_suppression import Events

if TYPE_CHECKING:
    from collections.abc import Iterator

    Database = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def database(environment: dict[str, str]) -> Iterator[Database]:
    """A migrated database with deliveries of three ages and an old complaint."""
    migrate(environment["DATABASE_URL"])
    with closing(psycopg.connect(environment["DATABASE_URL"], autocommit=True)) as connection:
        for days in (10, 300, 500):
            Events(connection).add("Delivery", days, to=f"person{days}@example.org")
        Events(connection).complaint(500)
        yield connection


def _left(database: Database) -> int:
    row = database.execute("SELECT count(*) FROM public.ses_feedback_events").fetchone()
    assert row is not None
    return int(row[0])


def test_the_command_removes_what_is_older_than_400_days(database: Database) -> None:
    dry = CliRunner().invoke(main, ["retention", "--dry-run"])
    assert dry.exit_code == 0
    assert "Would remove" in dry.output
    assert _left(database) == 4
    done = CliRunner().invoke(main, ["retention"])
    assert done.exit_code == 0, done.output
    assert "1  events\n" in done.output
    assert "1  events stay" in done.output
    assert _left(database) == 3


def test_days_on_the_command_line_go_before_the_setting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_FEEDBACK_RETENTION_DAYS", "never")
    said = CliRunner().invoke(main, ["retention"]).output
    assert "nothing is removed" in said
    assert _left(database) == 4
    assert CliRunner().invoke(main, ["retention", "--days", "100"]).exit_code == 0
    assert _left(database) == 2
    assert CliRunner().invoke(main, ["retention", "--days", "29"]).exit_code == 2


@pytest.mark.parametrize("wrong", ["0", "29", "-400", "400 days", "1e3", "NEVER!", "100000"])
def test_rubbish_is_refused_with_a_sentence(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SES_FEEDBACK_RETENTION_DAYS", wrong)
    with pytest.raises(SettingError, match=r"SES_FEEDBACK_RETENTION_DAYS.*or never"):
        retention_days()


def test_the_job_does_the_same_and_a_rollup_of_those_days_leaves_their_counters(
    database: Database,
) -> None:
    day = (datetime.now(UTC) - timedelta(days=500)).date()
    database.execute(
        "INSERT INTO public.ses_feedback_daily_counts "
        "VALUES (%s, 'Delivery', '', '', '', false, '', '', 'example.org', 1)",
        [day],
    )
    database.execute(
        "INSERT INTO public.ses_feedback_daily_totals "
        "VALUES (%s, 'Delivery', '', '', '', false, '', '', 1)",
        [day],
    )
    with dg.DagsterInstance.ephemeral() as instance:
        ended = defs.resolve_job_def("retention").execute_in_process(instance=instance)
        assert ended.success
        (output,) = [each for each in ended.all_events if each.is_successful_output]
        assert output.step_output_data.metadata["events"].value == 1
        assert output.step_output_data.metadata["kept"].value == 1
        rollup = defs.resolve_job_def("daily_rollup").execute_in_process(
            instance=instance, partition_key=str(day)
        )
    (check,) = [
        each
        for each in rollup.get_asset_check_evaluations()
        if each.check_name == "counters_equal_events"
    ]
    assert check.passed
    assert "Not recounted" in (check.description or "")
    assert check.metadata["days_not_recounted"].value == 1
    kept = database.execute(
        "SELECT count FROM public.ses_feedback_daily_counts WHERE day = %s", [day]
    ).fetchall()
    assert kept == [(1,)]
    who = database.execute("SELECT actor, run_id FROM public.ses_feedback_removals").fetchone()
    assert who == ("launched in Dagster", ended.run_id)


def test_the_job_keeps_events_for_ever_where_the_setting_says_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_FEEDBACK_RETENTION_DAYS", "never")
    assert defs.resolve_job_def("retention").execute_in_process().success
    assert _left(database) == 4
    assert database.execute("SELECT FROM public.ses_feedback_removals").fetchall() == []
