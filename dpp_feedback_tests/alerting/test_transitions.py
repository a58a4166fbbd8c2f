"""When something is said: a minute's look after the other, and whole simulated days."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from dpp_feedback.alerting.alert import Alert, Notice, Occasion, Severity, in_words
from dpp_feedback.alerting.memory import Memory, OpenAlert
from dpp_feedback.alerting.readings import CheckResult, JobRuns, Queued, Readings, Unreadable
from dpp_feedback.alerting.transitions import transitions, unsent
from dpp_feedback.alerts import tell
from dpp_feedback.notify import Channels
from dpp_feedback_tests.webhook import Webhook, webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START = datetime(2026, 2, 20, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WARNING = Alert("bounce_rate", Severity.WARNING, "Bounces 3 %.", "0.03", "Look.")
CRITICAL = replace(WARNING, severity=Severity.CRITICAL, cause="Bounces 6 %.")


class Looks:
    """Looks one minute after the other, and what was said."""

    def __init__(self) -> None:
        self.now = START
        self.open: dict[str, OpenAlert] = {}
        self.said: list[Notice] = []

    def look(self, *firing: Alert, times: int = 1, held: tuple[str, ...] = ()) -> None:
        for _ in range(times):
            notices, self.open = transitions(self.open, firing, self.now, held)
            self.said += notices
            self.now += MINUTE

    @property
    def occasions(self) -> list[Occasion]:
        return [notice.occasion for notice in self.said]


def test_an_alert_is_told_once_and_its_end_once_with_how_long_it_lasted() -> None:
    looks = Looks()
    looks.look(times=3)
    looks.look(WARNING, times=62)
    looks.look(times=30)
    assert looks.occasions == [Occasion.BEGINS, Occasion.OVER]
    assert looks.said[0].headline == "Warning: Bounces 3 %."
    assert looks.said[1].headline == "Recovered after 1 h 2 min: Bounces 3 %."
    assert "It lasted from 2026-02-20 00:03 UTC to 2026-02-20 01:05 UTC." in looks.said[1].text


def test_one_that_comes_and_goes_within_five_minutes_is_one_incident() -> None:
    looks = Looks()
    for _ in range(20):
        looks.look(WARNING, times=2)
        looks.look(times=4)
    looks.look(times=10)
    assert looks.occasions == [Occasion.BEGINS, Occasion.OVER]


def test_one_look_after_a_long_pause_ends_nothing() -> None:
    looks = Looks()
    looks.look(WARNING)
    looks.now += timedelta(hours=3)
    looks.look()
    assert looks.occasions == [Occasion.BEGINS]
    looks.now += timedelta(hours=3)
    looks.look()
    assert looks.occasions == [Occasion.BEGINS, Occasion.OVER]


def test_critical_after_warning_is_told_again_and_the_way_back_is_not() -> None:
    looks = Looks()
    for alert in (WARNING, CRITICAL, WARNING, CRITICAL):
        looks.look(alert, times=5)
    looks.look(times=10)
    assert looks.occasions == [Occasion.BEGINS, Occasion.WORSE, Occasion.OVER]
    assert looks.said[1].headline == "Now critical: Bounces 6 %."


def test_of_a_critical_alert_people_are_reminded_once_a_day_and_of_a_warning_not() -> None:
    looks = Looks()
    looks.look(CRITICAL, replace(WARNING, key="reconciliation"), times=3 * 24 * 60)
    assert looks.occasions == [Occasion.BEGINS, Occasion.BEGINS, Occasion.STILL, Occasion.STILL]
    assert looks.said[2].headline == "Still critical after 1 d 0 h: Bounces 6 %."


def test_what_cannot_be_judged_neither_begins_nor_ends() -> None:
    looks = Looks()
    looks.look(WARNING)
    looks.look(times=60, held=("bounce_rate", "silence"))
    assert looks.occasions == [Occasion.BEGINS]
    looks.look(times=10)
    assert looks.occasions == [Occasion.BEGINS, Occasion.OVER]


def test_what_people_know_already_is_only_told_when_it_is_over() -> None:
    looks = Looks()
    looks.look(replace(CRITICAL, told=True), times=10)
    looks.look(times=10)
    assert looks.occasions == [Occasion.OVER]


def test_the_critical_is_told_first() -> None:
    looks = Looks()
    looks.look(WARNING, replace(CRITICAL, key="silence"))
    assert [notice.alert.key for notice in looks.said] == ["silence", "bounce_rate"]


def test_what_could_not_be_sent_is_told_by_the_next_look() -> None:
    notices, after = transitions({}, [WARNING], START)
    assert unsent({}, after, notices) == {}
    assert unsent({}, after, []) == after
    quiet, over = START + MINUTE, START + 9 * MINUTE
    _, closing = transitions(after, [], quiet)
    ended, closed = transitions(closing, [], over)
    assert closed == {}
    assert unsent(closing, closed, ended) == closing


def test_the_memory_comes_back_as_it_was_written() -> None:
    _, opened = transitions({}, [CRITICAL, replace(WARNING, key="silence")], START)
    memory = Memory(open=opened, looked_at=START, waiting_since=START, unreadable_since=START)
    assert Memory.from_json(memory.to_json()) == memory


@pytest.mark.parametrize(
    "cursor", ["", "no", "[]", '{"open": 1}', '{"open": {}, "looked_at": "2026-02-20T00:00:00"}']
)
def test_what_is_no_memory_is_said_so(cursor: str) -> None:
    with pytest.raises(ValueError, match="not the memory"):
        Memory.from_json(cursor)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 s"), (59.4, "59 s"), (60, "1 min"), (3_600, "1 h 0 min"), (90_000, "1 d 1 h")],
)
def test_a_span_is_said_in_words(seconds: float, said: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == said


# --- Whole days ------------------------------------------------------------------------------


def _well(at: datetime) -> Readings:
    """A healthy minute: a few messages wait, a run has just succeeded."""
    runs = JobRuns(
        "process_feedback",
        started_at=at - timedelta(seconds=20),
        success_started_at=at - timedelta(seconds=20),
    )
    return Readings(
        at=at,
        queue=Queued(at.minute % 7, 0, age=float(at.minute % 60)),
        dead_letters=0,
        sensor_running=True,
        jobs=[runs, JobRuns("daily_rollup"), JobRuns("bounce_rate_report")],
        checks={name: CheckResult(name, passed=True) for name in ("bounce_rate", "silence")},
    )


def _database_away(well: Readings, since: timedelta) -> Readings:
    """Each run fails, with longer pauses each time; messages pile up, and grow old."""
    failures = 1 + sum(since > pause * MINUTE for pause in (0.5, 1.5, 3.5, 7.5, 15, 30, 45))
    began = well.at - since
    runs = JobRuns(
        "process_feedback",
        failures=failures,
        run_id="8c1f",
        failed_at=well.at - MINUTE,
        sentence="receive_messages: The database does not answer.",
        started_at=well.at - MINUTE,
        success_started_at=began - MINUTE,
    )
    queue = Queued(10 * int(since / MINUTE), 0, age=since.total_seconds())
    hourly = JobRuns("feedback_checks", failures=1, run_id="77ab", failed_at=began + 10 * MINUTE)
    jobs = [runs, hourly] if since > 10 * MINUTE else [runs]
    return replace(well, queue=queue, jobs=jobs)


def _database_was_away(well: Readings, ago: timedelta) -> Readings:
    """The queue is drained again; the other job has not run since."""
    failed_at = well.at - ago - 50 * MINUTE
    hourly = JobRuns("feedback_checks", failures=1, run_id="77ab", failed_at=failed_at)
    return replace(well, jobs=[*well.jobs, hourly])


def _sqs_away(well: Readings, _since: timedelta) -> Readings:
    gone = Unreadable("SQS does not answer.")
    return replace(well, queue=gone, dead_letters=gone)


def _sensor_off(well: Readings, since: timedelta) -> Readings:
    last = well.at - since - MINUTE
    runs = JobRuns("process_feedback", started_at=last, success_started_at=last)
    queue = Queued(10 * int(since / MINUTE), 0, age=since.total_seconds())
    return replace(well, sensor_running=False, queue=queue, jobs=[runs])


def _no_run_starts(well: Readings, since: timedelta) -> Readings:
    return replace(_sensor_off(well, since), sensor_running=True, queue=Queued(3, 0))


def _poison(well: Readings, _since: timedelta) -> Readings:
    return replace(well, dead_letters=2)


def _silent(well: Readings, _since: timedelta) -> Readings:
    result = CheckResult(
        "silence", passed=False, error=True, description="Mail is sent, and nothing comes."
    )
    return replace(well, checks={"silence": result})


_WITH_BACKLOG = (_database_away, _sqs_away, _sensor_off, _no_run_starts)


@pytest.fixture
def slack() -> Iterator[Webhook]:
    with webhook() as hook:
        yield hook


def _day(slack: Webhook, outage: Callable[[Readings, timedelta], Readings]) -> list[str]:
    """1,440 looks, an hour of them in an outage; each memory goes through the cursor's JSON."""
    channels = Channels(region="ap-northeast-2", slack_webhook_url=slack.url)
    memory = Memory()
    for minute in range(24 * 60):
        readings = _well(START + minute * MINUTE)
        if 600 <= minute < 660:
            readings = outage(readings, (minute - 600) * MINUTE)
        elif 660 <= minute < 664 and outage in _WITH_BACKLOG:
            # CloudWatch lags: for minutes after the backlog is gone it still tells the old age.
            readings = replace(readings, queue=Queued(5, 0, age=3_600.0))
        if 660 <= minute < 670 and outage is _database_away:
            readings = _database_was_away(readings, (minute - 660) * MINUTE)
        _, memory = tell(channels, memory, readings, until=monotonic() + 60)
        memory = Memory.from_json(memory.to_json())
    assert memory.open == {}
    return [text.splitlines()[0] for text in slack.texts]


@pytest.mark.parametrize(
    ("outage", "key"),
    [
        (_database_away, "runs_failing"),
        (_sqs_away, "queue_unreadable"),
        (_sensor_off, "worker_not_running"),
        (_no_run_starts, "worker_not_running"),
        (_poison, "dlq_has_messages"),
        (_silent, "silence"),
    ],
)
def test_a_day_with_an_outage_of_an_hour_is_one_alert_and_one_recovery(
    slack: Webhook, outage: Callable[[Readings, timedelta], Readings], key: str
) -> None:
    said = _day(slack, outage)
    assert len(said) == 2, said
    assert said[0].startswith("CRITICAL: ")
    assert said[1].startswith("Recovered after ")
    assert all(f"docs/runbook.md#{key}" in text for text in slack.texts)


def test_a_day_without_an_outage_is_silent(slack: Webhook) -> None:
    assert _day(slack, lambda well, _since: well) == []


def test_a_channel_that_is_dead_when_it_begins_is_no_storm_when_it_is_back(slack: Webhook) -> None:
    slack.answers = [(404, "no_service")] * 30
    said = _day(slack, _poison)
    assert slack.refused == 30
    assert [line.partition(":")[0] for line in said] == ["CRITICAL", "Recovered after 30 min"]
