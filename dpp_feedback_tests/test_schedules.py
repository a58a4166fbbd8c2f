"""When things run by themselves: which days, at which hour, and through changes of the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from dpp_feedback.definitions import build_definitions
from dpp_feedback.schedules import days_to_roll_up


def report_schedule() -> dg.ScheduleDefinition:
    """As Dagster has it when it loads the code location."""
    return build_definitions().get_repository_def().get_schedule_def("bounce_rate_report_schedule")


def hours(zone: str, start: datetime, number: int) -> list[datetime]:
    """The report's next times, as the clock on the wall shows them there."""
    schedule = report_schedule()
    assert isinstance(schedule.cron_schedule, str)
    assert schedule.execution_timezone == zone
    ticks = schedule_execution_time_iterator(
        start.timestamp(), schedule.cron_schedule, schedule.execution_timezone, True
    )
    return [tick.astimezone(ZoneInfo(zone)) for tick in islice(ticks, number)]


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("Europe/Berlin", datetime(2026, 3, 26, tzinfo=UTC)),  # summer time begins on the 29th
        ("Europe/Berlin", datetime(2026, 10, 22, tzinfo=UTC)),  # and ends on 25 October
        ("America/New_York", datetime(2026, 3, 5, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 10, 29, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 2, tzinfo=UTC)),  # half an hour only
        ("Asia/Seoul", datetime(2026, 11, 20, tzinfo=UTC)),
    ],
)
def test_the_report_comes_at_eight_on_every_weekday_summer_and_winter(
    zone: str, start: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_FEEDBACK_TIME_ZONE", zone)
    times = hours(zone, start, 10)
    assert {(time.hour, time.minute) for time in times} == {(8, 0)}
    assert {time.weekday() for time in times} == {0, 1, 2, 3, 4}
    assert len({time.date() for time in times}) == 10


@pytest.mark.parametrize("wrong", ["Mars/Olympus", "../etc/passwd", "Europe", "+09:00"])
def test_a_wrong_time_zone_is_said_by_the_schedule_and_stops_nothing_else(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_FEEDBACK_TIME_ZONE", wrong)
    schedule = report_schedule()
    assert schedule.execution_timezone == "UTC"
    with dg.instance_for_test() as instance:
        tick = schedule.evaluate_tick(dg.build_schedule_context(instance))
    assert not tick.run_requests
    assert tick.skip_message
    assert "SES_FEEDBACK_TIME_ZONE" in tick.skip_message


def test_the_report_runs_when_its_time_zone_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SES_FEEDBACK_TIME_ZONE", "Asia/Seoul")
    with dg.instance_for_test() as instance:
        tick = report_schedule().evaluate_tick(dg.build_schedule_context(instance))
    assert len(tick.run_requests or []) == 1


def test_the_nightly_run_covers_the_last_seven_closed_days_at_once() -> None:
    assert days_to_roll_up(date(2026, 3, 1)) == {
        "dagster/asset_partition_range_start": "2026-02-22",
        "dagster/asset_partition_range_end": "2026-02-28",
    }
    schedule = build_definitions().get_repository_def().get_schedule_def("daily_rollup_schedule")
    at = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
    with dg.instance_for_test() as instance:
        tick = schedule.evaluate_tick(dg.build_schedule_context(instance, at))
    (request,) = tick.run_requests or []
    assert request.tags.items() >= days_to_roll_up(at.date()).items()


def test_every_schedule_runs_unless_somebody_stops_it() -> None:
    schedules = build_definitions().get_repository_def().schedule_defs
    assert len(schedules) == 5
    assert {one.default_status for one in schedules} == {dg.DefaultScheduleStatus.RUNNING}
