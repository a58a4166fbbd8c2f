"""Which readings are which alerts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dpp_feedback.alerting.alert import Alert, Severity
from dpp_feedback.alerting.checks import CHECKS
from dpp_feedback.alerting.memory import Memory, OpenAlert
from dpp_feedback.alerting.readings import (
    CheckResult,
    JobRuns,
    Ongoing,
    Queued,
    Readings,
    Unreadable,
)
from dpp_feedback.alerting.rules import judge

NOW = datetime(2026, 2, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
QUIET = Readings(
    at=NOW, queue=Queued(0, 0), dead_letters=0, sensor_running=True, jobs=[], checks={}
)
GONE = Unreadable("SQS does not answer.")


def _runs(
    failures: int = 0,
    job: str = "process_feedback",
    *,
    started: timedelta = MINUTE,
    told: bool = False,
) -> JobRuns:
    failed = NOW - MINUTE if failures else None
    return JobRuns(
        job,
        failures=failures,
        told=told,
        run_id="8c1f",
        failed_at=failed,
        sentence="receive_messages: The database does not answer.",
        told_at=failed if told else None,
        started_at=NOW - started,
        success_started_at=None if failures else NOW - started,
    )


def _firing(readings: Readings, memory: Memory | None = None) -> dict[str, Alert]:
    return {alert.key: alert for alert in judge(readings, memory or Memory()).firing}


def _open(key: str) -> dict[str, OpenAlert]:
    alert = Alert(key, Severity.CRITICAL, "x", "x", "x")
    return {key: OpenAlert(alert, NOW, Severity.CRITICAL, NOW)}


def test_when_all_is_well_nothing_fires() -> None:
    assert _firing(QUIET) == {}
    assert _firing(replace(QUIET, jobs=[_runs()], queue=Queued(5_000, 10, age=20.0))) == {}


def test_one_message_in_the_dead_letter_queue_is_critical() -> None:
    (alert,) = _firing(replace(QUIET, dead_letters=1)).values()
    assert alert.key == "dlq_has_messages"
    assert alert.severity is Severity.CRITICAL
    assert alert.figure == "1 message"
    assert alert.section == "docs/runbook.md#dlq_has_messages"
    for step in ("dlq_health", "`dpp-feedback dlq list`", "reprocess_dlq", "dlq redrive`"):
        assert step in alert.next_step


def test_a_stopped_sensor_is_told_at_once_even_when_nothing_waits() -> None:
    (alert,) = _firing(replace(QUIET, sensor_running=False)).values()
    assert alert.key == "worker_not_running"
    assert "switched off" in alert.cause
    (alert,) = _firing(replace(QUIET, sensor_running=False, queue=GONE)).values()
    assert alert.figure == "an unknown number waiting"


@pytest.mark.parametrize(
    ("waiting_for", "started_before", "fires"),
    [
        (5 * MINUTE, 60 * MINUTE, False),  # not yet
        (6 * MINUTE, 60 * MINUTE, True),
        (60 * MINUTE, 2 * MINUTE, False),  # a run has started meanwhile
    ],
)
def test_messages_that_wait_while_no_run_starts_mean_that_the_worker_does_not_run(
    waiting_for: timedelta, started_before: timedelta, fires: bool
) -> None:
    # The run is under way, or failed; had it succeeded, the time of waiting would begin with it.
    runs = JobRuns("process_feedback", started_at=NOW - started_before)
    readings = replace(QUIET, queue=Queued(7, 0, age=1.0), jobs=[runs])
    memory = Memory(waiting_since=NOW - waiting_for)
    assert ("worker_not_running" in _firing(readings, memory)) == fires


def test_while_the_queue_sensor_backs_off_after_a_failure_the_worker_counts_as_running() -> None:
    runs = replace(_runs(1), started_at=NOW - 12 * MINUTE, failed_at=NOW - 11 * MINUTE)
    readings = replace(QUIET, queue=Queued(7, 0), jobs=[runs])
    memory = Memory(waiting_since=NOW - 10 * MINUTE)
    assert "worker_not_running" not in _firing(readings, memory)
    later = replace(readings, at=NOW + 12 * MINUTE)
    assert "worker_not_running" in _firing(later, memory)


def test_one_failed_drain_is_no_alert_of_its_own_and_two_are() -> None:
    assert _firing(replace(QUIET, jobs=[_runs(1)])) == {}
    (alert,) = _firing(replace(QUIET, jobs=[_runs(2)])).values()
    assert alert.key == "runs_failing:process_feedback"
    assert alert.section == "docs/runbook.md#runs_failing"
    assert alert.cause == (
        "process_feedback failed 2 times in a row. receive_messages: The database does not answer."
    )
    assert alert.figure == "2 failed in a row, the last of them run 8c1f"


def test_one_failed_drain_of_which_people_know_is_followed() -> None:
    (alert,) = _firing(replace(QUIET, jobs=[_runs(1, told=True)])).values()
    assert alert.told
    opened = Memory(open=_open("runs_failing:process_feedback"))
    (alert,) = _firing(replace(QUIET, jobs=[_runs(1)]), opened).values()
    assert not alert.told


def test_a_failure_that_was_told_is_seen_though_the_next_run_has_succeeded() -> None:
    runs = replace(_runs(), told_at=NOW - MINUTE)
    memory = Memory(looked_at=NOW - 2 * MINUTE)
    assert _firing(replace(QUIET, jobs=[runs]), memory)["runs_failing:process_feedback"].told
    assert _firing(replace(QUIET, jobs=[runs]), Memory(looked_at=NOW)) == {}
    assert _firing(replace(QUIET, jobs=[runs])) == {}


@pytest.mark.parametrize("job", ["daily_rollup", "bounce_rate_report"])
def test_one_failed_run_of_a_scheduled_job_is_an_alert(job: str) -> None:
    (alert,) = _firing(replace(QUIET, jobs=[_runs(1, job)])).values()
    assert alert.key == f"runs_failing:{job}"


@pytest.mark.parametrize(("age", "fires"), [(300.0, False), (301.0, True)])
def test_an_old_message_is_a_warning(age: float, fires: bool) -> None:
    firing = _firing(replace(QUIET, queue=Queued(1, 0, age=age), jobs=[_runs()]))
    assert ("oldest_message" in firing) == fires
    if fires:
        assert firing["oldest_message"].severity is Severity.WARNING
        assert firing["oldest_message"].figure == "301 s (by CloudWatch), 1 message waiting"


def test_without_cloudwatch_the_age_is_estimated_from_the_looks() -> None:
    runs = replace(_runs(), success_started_at=None)  # under way since a minute
    readings = replace(QUIET, queue=Queued(9, 0), jobs=[runs])
    firing = _firing(readings, Memory(waiting_since=NOW - 6 * MINUTE))
    assert firing["oldest_message"].figure == "360 s (estimated), 9 messages waiting"
    drained = replace(readings, jobs=[_runs()])
    assert _firing(drained, Memory(waiting_since=NOW - 6 * MINUTE)) == {}


def test_an_empty_queue_has_no_oldest_message_whatever_cloudwatch_still_says() -> None:
    assert _firing(replace(QUIET, queue=Queued(0, 0, age=900.0))) == {}


def test_what_follows_from_another_alert_is_not_told_as_well() -> None:
    old = replace(QUIET, queue=Queued(9, 0, age=3_600.0))
    assert set(_firing(replace(old, jobs=[_runs(3)]))) == {"runs_failing:process_feedback"}
    assert set(_firing(replace(old, sensor_running=False))) == {"worker_not_running"}
    # Nor in the minutes until the other is over: the queue is still being drained.
    assert _firing(replace(old, jobs=[_runs()]), Memory(open=_open("worker_not_running"))) == {}


def test_a_queue_that_cannot_be_asked_holds_its_alerts_and_stops_no_other() -> None:
    judgement = judge(replace(QUIET, queue=GONE, dead_letters=GONE, jobs=[_runs(2)]), Memory())
    assert [alert.key for alert in judgement.firing] == ["runs_failing:process_feedback"]
    assert {"worker_not_running", "oldest_message", "dlq_has_messages"} <= judgement.held


def test_a_queue_that_cannot_be_asked_for_long_is_an_alert_of_its_own() -> None:
    memory = Memory(unreadable_since=NOW - 6 * MINUTE)
    (alert,) = _firing(replace(QUIET, queue=GONE, dead_letters=GONE), memory).values()
    assert alert.key == "queue_unreadable"
    assert alert.severity is Severity.CRITICAL
    assert alert.cause == (
        "The queue cannot be asked, so no feedback is stored. SQS does not answer."
    )
    (alert,) = _firing(replace(QUIET, dead_letters=GONE), memory).values()
    assert alert.severity is Severity.WARNING
    assert _firing(replace(QUIET, queue=GONE), Memory()) == {}


@pytest.mark.parametrize(
    ("check", "error", "key", "severity"),
    [
        ("bounce_rate", False, "bounce_rate", Severity.WARNING),
        ("bounce_rate", True, "bounce_rate", Severity.CRITICAL),
        ("complaint_rate", False, "complaint_rate", Severity.WARNING),
        ("incidents", True, "incident", Severity.CRITICAL),
        ("silence", False, "silence", Severity.WARNING),
        ("silence", True, "silence", Severity.CRITICAL),
        ("reconciliation", True, "reconciliation", Severity.WARNING),
        ("counters_equal_events", True, "counters_equal_events", Severity.WARNING),
        ("unknown_kinds", False, "unknown_kinds", Severity.WARNING),
        ("events_from_the_future", False, "events_from_the_future", Severity.WARNING),
    ],
)
def test_a_failed_check_is_an_alert_in_its_own_words(
    check: str, error: bool, key: str, severity: Severity
) -> None:
    said = "Bounces 3.1 % of 41,230; the review line in 12 days."
    result = CheckResult(
        check, passed=False, error=error, description=said, figures={"rate": 0.031}
    )
    (alert,) = _firing(replace(QUIET, checks={check: result})).values()
    assert (alert.key, alert.severity) == (key, severity)
    assert alert.cause == said
    assert alert.figure == "rate 0.031"
    assert alert.next_step


def test_a_check_that_passed_or_is_none_of_these_is_no_alert() -> None:
    checks = {
        "bounce_rate": CheckResult("bounce_rate", passed=True),
        "dlq_empty": CheckResult("dlq_empty", passed=False),
        # An incident that is over: the check warns of it for weeks.
        "incidents": CheckResult("incidents", passed=False, error=False),
    }
    assert _firing(replace(QUIET, checks=checks)) == {}


def _incidents(*senders: str) -> CheckResult:
    ongoing = [Ongoing("bounce", "source", name, f"bounces from {name}") for name in senders]
    return CheckResult("incidents", passed=False, error=True, ongoing=ongoing)


def test_each_incident_that_goes_on_is_an_alert_of_its_own() -> None:
    firing = _firing(replace(QUIET, checks={"incidents": _incidents("a@x.example", "b@x.example")}))
    assert {key: alert.cause for key, alert in firing.items()} == {
        "incident:bounce:source:a@x.example": "bounces from a@x.example",
        "incident:bounce:source:b@x.example": "bounces from b@x.example",
    }
    assert {alert.section for alert in firing.values()} == {"docs/runbook.md#incident"}


def test_a_spike_is_told_as_an_incident_and_not_as_a_rate_too_unless_the_line_is_reached() -> None:
    checks = {
        "incidents": _incidents("a@x.example"),
        "bounce_rate": CheckResult("bounce_rate", passed=False),
        "complaint_rate": CheckResult("complaint_rate", passed=False),
    }
    keys = _firing(replace(QUIET, checks=checks)).keys()
    assert keys == {"incident:bounce:source:a@x.example", "complaint_rate"}
    checks["bounce_rate"] = CheckResult("bounce_rate", passed=False, error=True)
    assert "bounce_rate" in _firing(replace(QUIET, checks=checks))


def test_a_rate_that_was_told_before_the_incident_has_not_recovered_by_it() -> None:
    checks = {
        "incidents": _incidents("a@x.example"),
        "bounce_rate": CheckResult("bounce_rate", passed=False),
    }
    memory = Memory(open=_open("bounce_rate"))
    assert "bounce_rate" in judge(replace(QUIET, checks=checks), memory).held
    checks["bounce_rate"] = CheckResult("bounce_rate", passed=True)
    assert "bounce_rate" not in judge(replace(QUIET, checks=checks), memory).held


def test_in_the_minutes_until_an_incident_is_over_its_rate_is_not_told_either() -> None:
    checks = {"bounce_rate": CheckResult("bounce_rate", passed=False)}
    memory = Memory(open=_open("incident:bounce:source:a@x.example"))
    assert _firing(replace(QUIET, checks=checks), memory) == {}


def test_what_stops_the_main_job_stops_others_too_and_is_one_alert() -> None:
    jobs = [_runs(2), _runs(3, "daily_rollup"), _runs(1, "bounce_rate_report")]
    assert _firing(replace(QUIET, jobs=jobs)).keys() == {"runs_failing:process_feedback"}
    assert _firing(replace(QUIET, jobs=jobs[1:])).keys() == {
        "runs_failing:daily_rollup",
        "runs_failing:bounce_rate_report",
    }


def test_a_run_that_is_still_at_work_is_no_worker_that_stands_still() -> None:
    waiting = replace(QUIET, queue=Queued(5_000, 10, age=20.0))
    memory = Memory(waiting_since=NOW - 10 * MINUTE)
    began = NOW - 11 * MINUTE
    at_work = JobRuns("process_feedback", started_at=began, under_way_since=began)
    assert "worker_not_running" not in _firing(replace(waiting, jobs=[at_work]), memory)
    ended = replace(at_work, under_way_since=None)
    assert "worker_not_running" in _firing(replace(waiting, jobs=[ended]), memory)


def test_a_run_that_stands_as_started_for_ever_is_not_at_work() -> None:
    began = NOW - 21 * MINUTE
    gone = JobRuns("process_feedback", started_at=began, under_way_since=began)
    memory = Memory(waiting_since=NOW - 20 * MINUTE)
    firing = _firing(replace(QUIET, queue=Queued(7, 0), jobs=[gone]), memory)
    assert "worker_not_running" in firing


def test_of_a_job_that_people_were_told_of_the_end_is_told_whatever_else_fails() -> None:
    jobs = [_runs(2), _runs(1, "daily_rollup", told=True)]
    assert _firing(replace(QUIET, jobs=jobs))["runs_failing:daily_rollup"].told


def test_an_open_alert_about_a_job_waits_while_the_main_job_fails_and_goes_on_after_it() -> None:
    memory = Memory(open=_open("runs_failing:daily_rollup"), main_failing_until=NOW)
    jobs = [_runs(2), _runs(1, "daily_rollup")]
    judgement = judge(replace(QUIET, jobs=jobs), memory)
    assert "runs_failing:daily_rollup" in judgement.held
    assert _firing(replace(QUIET, jobs=jobs[1:]), memory).keys() == {"runs_failing:daily_rollup"}


def test_a_job_that_failed_with_the_main_job_is_news_only_when_it_fails_again() -> None:
    readings = replace(QUIET, jobs=[_runs(), _runs(1, "daily_rollup")])
    assert _firing(readings, Memory(main_failing_until=NOW)) == {}
    later = Memory(main_failing_until=NOW - 2 * MINUTE)
    assert _firing(readings, later).keys() == {"runs_failing:daily_rollup"}


def test_a_dead_letter_queue_that_is_not_watched_ends_no_alert_and_is_none() -> None:
    unwatched = replace(QUIET, dead_letters=None)
    judgement = judge(unwatched, Memory(unreadable_since=NOW - 60 * MINUTE))
    assert judgement.firing == []
    assert "dlq_has_messages" in judgement.held
    assert Memory().after(unwatched).unreadable_since is None


def test_every_alert_has_a_section_in_the_runbook() -> None:
    runbook = Path(__file__).parents[2].joinpath("docs/runbook.md").read_text()
    checks = {
        name: CheckResult(name, passed=False, error=True) for name in CHECKS if name != "incidents"
    }
    everything = replace(
        QUIET,
        dead_letters=1,
        sensor_running=False,
        jobs=[_runs(1, "daily_rollup")],
        checks=checks | {"incidents": _incidents("a@x.example")},
    )
    old = replace(QUIET, queue=Queued(1, 0, age=900.0), jobs=[_runs()])
    gone = judge(replace(QUIET, queue=GONE), Memory(unreadable_since=NOW - 60 * MINUTE))
    alerts = [*_firing(everything).values(), *_firing(old).values(), *gone.firing]
    sections = {alert.section.partition("#")[2] for alert in alerts}
    assert len(sections) == len(CHECKS) + 5
    assert [section for section in sections if f"### {section}\n" not in runbook] == []
