"""The sensors on a real Dagster instance, real queues, and a real HTTP server in Slack's place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)

from dpp_feedback import alerts
from dpp_feedback.alert_inputs import ALERTED, failure_sentence, job_runs, started_by_hand
from dpp_feedback.alerting.memory import Memory
from dpp_feedback.alerts import feedback_alerts, run_failure_alert
from dpp_feedback.cloudwatch import oldest_message_age
from dpp_feedback.connection import DatabaseUnavailable
from dpp_feedback.resources import AlertChannels, FeedbackQueue
from dpp_feedback_tests.webhook import SECRET, Webhook, webhook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_sqs import SQSClient

ADDRESS = "someone@example.com"
START = datetime(2026, 2, 20, 12, tzinfo=UTC)
BY_ITSELF = {"dagster/schedule_name": "some_schedule"}


class Clock(datetime):
    """The sensors' clock, set by hand."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + cls.ahead


class World:
    """One Dagster instance, whose two sensors are evaluated as its daemon does."""

    def __init__(self, instance: dg.DagsterInstance, slack: Webhook) -> None:
        self.instance = instance
        self.slack = slack
        self.broken: Exception | None = None
        self.cursors: dict[str, str | None] = {"feedback_alerts": None, "run_failure_alert": None}

        @dg.op
        def receive_messages() -> None:
            if self.broken:
                raise self.broken

        @dg.job(name="process_feedback")
        def process_feedback() -> None:
            receive_messages()

        @dg.job(name="daily_rollup")
        def daily_rollup() -> None:
            receive_messages()

        self.resources = {
            "queue": FeedbackQueue(),
            "dead_letter_queue": FeedbackQueue(setting="SQS_DLQ_URL"),
            "alert_channels": AlertChannels(),
        }
        self.defs = dg.Definitions(
            jobs=[process_feedback, daily_rollup],
            sensors=[feedback_alerts, run_failure_alert],
            resources=self.resources,
        )

    def tick(self, sensor: dg.SensorDefinition) -> str:
        """Evaluate it, keep its cursor where the other finds it, return what it says."""
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors[sensor.name],
            definitions=self.defs,
            resources=self.resources,
        ) as context:
            data = sensor.evaluate_tick(context)
        assert not data.run_requests
        self.cursors[sensor.name] = data.cursor
        self.remember(sensor.name, InstigatorStatus.RUNNING, data.cursor)
        return data.skip_message or ""

    def both(self) -> None:
        self.tick(run_failure_alert)
        self.tick(feedback_alerts)

    def remember(self, name: str, status: InstigatorStatus, cursor: str | None = None) -> None:
        origin = RemoteInstigatorOrigin(
            RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__"), name
        )
        state = InstigatorState(
            origin,
            InstigatorType.SENSOR,
            status,
            SensorInstigatorData(cursor=cursor),
        )
        if self.instance.get_instigator_state(origin.get_id(), state.selector_id):
            self.instance.update_instigator_state(state)
        else:
            self.instance.add_instigator_state(state)

    def run(self, job: str = "process_feedback", tags: dict[str, str] = BY_ITSELF) -> str:
        return (
            self.defs.resolve_job_def(job)
            .execute_in_process(instance=self.instance, raise_on_error=False, tags=tags)
            .run_id
        )

    @property
    def told(self) -> list[str]:
        return [text.splitlines()[0] for text in self.slack.texts]


@pytest.fixture
def world(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with webhook() as slack, dg.instance_for_test() as instance:
        assert environment
        monkeypatch.delenv("SES_FEEDBACK_ALERT_TOPIC_ARN", raising=False)
        monkeypatch.setenv("SES_FEEDBACK_SLACK_WEBHOOK_URL", slack.url)
        monkeypatch.setattr(Clock, "ahead", timedelta())
        monkeypatch.setattr(alerts, "datetime", Clock)
        world = World(instance, slack)
        world.tick(run_failure_alert)  # the first evaluation only takes note of where it begins
        yield world


def _until_over(world: World) -> None:
    """Two quiet looks, more than five minutes apart."""
    _later(1)
    world.both()
    _later(6)
    world.both()


def _later(minutes: float) -> None:
    Clock.ahead += timedelta(minutes=minutes)


def test_when_all_is_well_the_sensor_says_so_and_sends_nothing(world: World) -> None:
    assert world.tick(feedback_alerts) == "All is well."
    assert world.told == []


def test_without_a_channel_both_sensors_name_the_settings(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SES_FEEDBACK_SLACK_WEBHOOK_URL")
    said = (
        "Nobody is told: no channel is set. Set SES_FEEDBACK_ALERT_TOPIC_ARN, "
        "SES_FEEDBACK_SLACK_WEBHOOK_URL, or SES_FEEDBACK_MAIL_FROM with SES_FEEDBACK_MAIL_TO."
    )
    assert world.tick(feedback_alerts) == said
    world.broken = ValueError()
    world.run()
    assert world.tick(run_failure_alert) == said


def test_a_message_in_the_dead_letter_queue_is_told_once_and_its_end_once(
    world: World, sqs: SQSClient, environment: dict[str, str]
) -> None:
    dlq = environment["SQS_DLQ_URL"]
    sqs.send_message(QueueUrl=dlq, MessageBody="{}")
    assert world.tick(feedback_alerts) == "Open: dlq_has_messages. Told: dlq_has_messages begins."
    _later(3)
    assert world.tick(feedback_alerts) == "Open: dlq_has_messages."
    message = sqs.receive_message(QueueUrl=dlq, WaitTimeSeconds=1)["Messages"][0]
    sqs.delete_message(QueueUrl=dlq, ReceiptHandle=message["ReceiptHandle"])
    _until_over(world)
    first, second = world.told
    assert first.startswith("CRITICAL: 1 message in the dead-letter queue")
    assert second.startswith("Recovered after 4 min: 1 message in the dead-letter queue")


def test_a_job_that_fails_is_one_alert_at_once_and_one_recovery(world: World) -> None:
    world.broken = dg.Failure("The database of DATABASE_URL does not answer.")
    failed = world.run()
    assert world.tick(run_failure_alert) == "Told that process_feedback fails, by Slack."
    (told,) = world.told
    assert told == (
        "CRITICAL: process_feedback failed once. receive_messages: The database of DATABASE_URL "
        "does not answer."
    )
    assert failed in world.slack.texts[0]
    assert "docs/runbook.md#runs_failing" in world.slack.texts[0]
    for _ in range(2):
        world.run()
        world.both()
        _later(1)
    world.broken = None
    world.run()
    _until_over(world)
    assert len(world.told) == 2
    assert world.told[1].startswith("Recovered after ")
    assert "#runs_failing" in world.slack.texts[1]


def test_a_job_that_recovers_before_the_next_look_still_gets_its_recovery(world: World) -> None:
    world.tick(feedback_alerts)
    world.broken = ValueError()
    world.run("daily_rollup")
    world.tick(run_failure_alert)
    world.broken = None
    world.run("daily_rollup")
    world.both()
    _until_over(world)
    assert [line.partition(" ")[0] for line in world.told] == ["CRITICAL:", "Recovered"]


def test_a_job_that_comes_and_goes_is_one_incident(world: World) -> None:
    for _ in range(3):
        world.broken = ValueError()
        world.run()
        world.both()
        world.broken = None
        world.run()
        _later(1)
        world.both()
    assert len(world.told) == 1


def test_when_the_look_comes_first_the_failure_is_not_told_twice(world: World) -> None:
    world.broken = ValueError()
    world.run("daily_rollup")
    world.tick(feedback_alerts)
    assert world.tick(run_failure_alert) == "People know already that daily_rollup fails."
    assert len(world.told) == 1


def test_what_run_failure_alert_cannot_tell_the_next_look_tells(world: World) -> None:
    world.broken = ValueError()
    world.run("daily_rollup")
    world.slack.answers = [(404, "no_service")]
    said = world.tick(run_failure_alert)
    assert said.startswith("Nobody could be told. Slack: Slack refused")
    assert said.endswith(" feedback_alerts tries again each minute.")
    assert world.tick(feedback_alerts).startswith("Open: runs_failing:daily_rollup.")
    assert len(world.told) == 1


def test_a_first_drain_that_fails_and_cannot_be_told_waits_for_a_second(world: World) -> None:
    world.broken = ValueError()
    world.run()
    world.slack.answers = [(404, "no_service")]
    said = world.tick(run_failure_alert)
    assert said.endswith(" feedback_alerts tries again when the next run fails too.")
    assert world.tick(feedback_alerts) == "All is well."
    world.run()
    world.tick(feedback_alerts)
    assert len(world.told) == 1


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"dagster/partition": "2026-11-23"},
        # Executed again in Dagster's pages: the tags of the first run come along.
        BY_ITSELF | {"dagster/parent_run_id": "8c1f"},
    ],
)
def test_assets_that_somebody_materialized_fail_without_an_alert_and_named_jobs_do_not(
    tags: dict[str, str],
) -> None:
    assert started_by_hand(dg.DagsterRun(job_name="__ASSET_JOB", tags=tags))
    assert not started_by_hand(dg.DagsterRun(job_name="daily_rollup", tags=tags))


def test_assets_that_a_sensor_materialized_are_an_alert_when_they_fail() -> None:
    assert not started_by_hand(dg.DagsterRun(job_name="__ASSET_JOB", tags=BY_ITSELF))


@pytest.mark.parametrize(
    "tags",
    [
        {"dagster/sensor_name": "some_sensor"},
        {"dagster/backfill": "abc"},
        BY_ITSELF | {"dagster/parent_run_id": "8c1f", "dagster/retry_number": "1"},
    ],
)
def test_a_run_that_started_by_itself_is_an_alert_when_it_fails(
    world: World, tags: dict[str, str]
) -> None:
    world.broken = ValueError()
    world.run("daily_rollup", tags=tags)
    assert world.tick(run_failure_alert) == "Told that daily_rollup fails, by Slack."
    assert len(world.told) == 1


def test_a_run_by_hand_that_succeeds_ends_the_alert(world: World) -> None:
    world.broken = ValueError()
    world.run("daily_rollup")
    world.both()
    world.broken = None
    world.run("daily_rollup", tags={})
    _until_over(world)
    assert [line.partition(" ")[0] for line in world.told] == ["CRITICAL:", "Recovered"]


def test_one_outage_that_fails_several_jobs_is_one_alert_and_one_recovery(world: World) -> None:
    world.broken = ValueError()
    world.run()
    world.run("daily_rollup")
    assert world.tick(run_failure_alert).startswith("Told that process_feedback fails")
    assert world.tick(run_failure_alert).startswith("process_feedback failed too")
    for _ in range(3):
        world.run()
        world.run("daily_rollup")
        world.both()
        _later(1)
    world.broken = None
    world.run()  # daily_rollup does not run again before the next night
    _until_over(world)
    _later(6)
    world.both()
    assert [line.partition(" ")[0] for line in world.told] == ["CRITICAL:", "Recovered"]
    assert "process_feedback" in world.told[0]


def test_a_run_that_dagster_tries_again_is_no_news(world: World) -> None:
    world.broken = ValueError()
    run_id = world.run("daily_rollup", tags=BY_ITSELF | {"dagster/will_retry": "true"})
    said = world.tick(run_failure_alert)
    assert said == f"Run {run_id} of daily_rollup is tried again by Dagster."
    assert world.tick(feedback_alerts) == "All is well."


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (dg.Failure("SQS_QUEUE_URL is not set."), "receive_messages: SQS_QUEUE_URL is not set."),
        (DatabaseUnavailable("It restarts."), "receive_messages: It restarts."),
        (ValueError(ADDRESS), "receive_messages: ValueError. See the run."),
    ],
)
def test_of_a_failure_only_our_own_sentences_are_told(
    world: World, error: Exception, said: str
) -> None:
    world.broken = error
    assert failure_sentence(world.instance, world.run()) == said


def test_a_run_whose_process_is_gone_has_a_sentence_too(world: World) -> None:
    run = world.instance.create_run_for_job(
        world.defs.resolve_job_def("daily_rollup"), tags=BY_ITSELF
    )
    world.instance.report_run_failed(run)
    assert failure_sentence(world.instance, run.run_id).startswith("No op of it failed: ")


def test_the_runs_of_a_job_are_read_from_the_newest(world: World) -> None:
    assert job_runs(world.instance, "daily_rollup").failures == 0
    world.run("daily_rollup")
    world.broken = ValueError()
    first = world.run("daily_rollup")
    second = world.run("daily_rollup")
    runs = job_runs(world.instance, "daily_rollup")
    assert (runs.failures, runs.run_id, runs.told) == (2, second, False)
    assert runs.started_at
    assert runs.success_started_at
    assert runs.started_at > runs.success_started_at
    world.instance.add_run_tags(first, {ALERTED: "true"})
    runs = job_runs(world.instance, "daily_rollup")
    assert runs.told
    assert runs.told_at


def test_a_sensor_that_somebody_switched_off_is_told(world: World) -> None:
    world.remember("feedback_queue_sensor", InstigatorStatus.STOPPED)
    assert world.tick(feedback_alerts).startswith("Open: worker_not_running. Told: ")
    assert "feedback_queue_sensor is switched off" in world.told[0]


def test_messages_that_nobody_takes_are_told_after_five_minutes(
    world: World, sqs: SQSClient, environment: dict[str, str]
) -> None:
    sqs.send_message(QueueUrl=environment["SQS_QUEUE_URL"], MessageBody="{}")
    assert world.tick(feedback_alerts) == "All is well."
    _later(4)
    assert world.tick(feedback_alerts) == "All is well."
    _later(2)
    assert world.tick(feedback_alerts).startswith("Open: worker_not_running. Told: ")
    (told,) = world.told
    assert told == (
        "CRITICAL: Messages have been waiting for 6 min, and no run of process_feedback has "
        "started."
    )


def _evaluate(
    world: World, passed: bool, description: str, severity: str = "WARN", as_of: str = ""
) -> None:
    world.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("daily_bounce_rates"),
            check_name="bounce_rate",
            passed=passed,
            severity=dg.AssetCheckSeverity[severity],
            description=description,
            metadata={
                "bounce_rate": 0.031,
                "mails": 41_230,
                "table": dg.MetadataValue.md("x"),
                **({"as_of": dg.MetadataValue.text(as_of)} if as_of else {}),
            },
        )
    )


def test_a_backfill_of_last_month_neither_alerts_nor_recovers(world: World) -> None:
    _evaluate(world, passed=True, description="fine", as_of="2026-11-23")
    _evaluate(world, passed=False, description="then", severity="ERROR", as_of="2026-10-05")
    assert world.tick(feedback_alerts) == "All is well."
    _evaluate(world, passed=False, description="now", severity="ERROR", as_of="2026-11-24")
    _evaluate(world, passed=True, description="fine then", as_of="2026-10-06")
    assert world.tick(feedback_alerts).startswith("Open: bounce_rate. Told: ")


def test_an_evaluation_that_names_no_day_is_about_now(world: World) -> None:
    _evaluate(world, passed=True, description="fine", as_of="2026-11-23")
    _evaluate(world, passed=False, description="Nothing could be compared.")
    world.tick(feedback_alerts)
    assert world.told == ["WARNING: Nothing could be compared."]


@pytest.mark.parametrize("ongoing", ["{", "{}", "[1]", '[{"kind": "bounce"}]'])
def test_incidents_in_words_of_another_version_are_one_alert(world: World, ongoing: str) -> None:
    world.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("daily_bounce_rates"),
            check_name="incidents",
            passed=False,
            severity=dg.AssetCheckSeverity.ERROR,
            description="Bounces of news@example.com.",
            metadata={"ongoing": dg.MetadataValue.text(ongoing)},
        )
    )
    assert world.tick(feedback_alerts) == "Open: incident. Told: incident begins."


def test_a_run_under_way_is_read(world: World) -> None:
    job = world.defs.resolve_job_def("process_feedback")
    run = world.instance.create_run_for_job(job, tags=BY_ITSELF)
    assert job_runs(world.instance, "process_feedback").under_way_since is None
    start = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name="process_feedback")
    world.instance.report_dagster_event(start, run.run_id, timestamp=START.timestamp())
    for _ in range(2):
        runs = job_runs(world.instance, "process_feedback")
        assert (runs.under_way_since, runs.started_at) == (START, START)
        world.instance.report_run_canceling(run)
    world.instance.report_run_canceled(run)
    runs = job_runs(world.instance, "process_feedback")
    assert (runs.under_way_since, runs.started_at) == (None, START)


def test_a_failed_check_is_told_in_its_own_words_and_again_when_it_becomes_an_error(
    world: World,
) -> None:
    _evaluate(world, passed=False, description="Bounces 3.1 % of 41,230: 12 days to the line.")
    world.tick(feedback_alerts)
    assert "WARNING: Bounces 3.1 % of 41,230: 12 days to the line." in world.slack.texts[0]
    assert "Figure: bounce_rate 0.031, mails 41230\n" in world.slack.texts[0]
    _evaluate(world, passed=False, description="Bounces 5.2 %.", severity="ERROR")
    world.tick(feedback_alerts)
    _evaluate(world, passed=True, description="Bounces 0.4 %.")
    _until_over(world)
    assert world.told[0].startswith("WARNING")
    assert world.told[1] == "CRITICAL: Bounces 5.2 %."
    assert world.told[2].startswith("Recovered after ")
    assert len(world.told) == 3


def test_a_queue_that_is_away_stops_no_other_alert(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    world.broken = dg.Failure("It fails.")
    world.run("daily_rollup")
    said = world.tick(feedback_alerts)
    assert said.startswith("Open: runs_failing:daily_rollup. Told: runs_failing:daily_rollup")
    assert "SQS does not answer (EndpointConnectionError)" in said
    assert len(world.told) == 1


def test_with_everything_down_nothing_is_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.broken = dg.Failure("It fails.")
    world.run("daily_rollup")
    with monkeypatch.context() as down:
        down.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        down.setenv("SES_FEEDBACK_SLACK_WEBHOOK_URL", f"http://127.0.0.1:1{SECRET}")
        said = world.tick(feedback_alerts)
    assert "Not told yet: runs_failing:daily_rollup." in said
    assert "Slack does not answer" in said
    assert SECRET not in said
    world.tick(feedback_alerts)
    assert len(world.told) == 1


def test_a_cursor_that_cannot_be_read_starts_afresh_and_says_so(world: World) -> None:
    world.cursors["feedback_alerts"] = "{"
    said = world.tick(feedback_alerts)
    assert said == "The cursor cannot be read: what was open is told again. All is well."
    assert Memory.from_json(str(world.cursors["feedback_alerts"])).open == {}


def test_a_dead_letter_queue_without_a_setting_is_not_watched_and_a_wrong_setting_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SQS_DLQ_URL")
    said = "SQS_DLQ_URL is not set: the dead-letter queue is not watched."
    assert world.tick(feedback_alerts) == said
    _later(6)
    assert world.tick(feedback_alerts) == said
    assert world.told == []
    monkeypatch.setenv("SQS_DLQ_URL", "no-address")
    world.tick(feedback_alerts)
    _later(6)
    world.tick(feedback_alerts)
    assert world.told[0].startswith("WARNING: The dead-letter queue cannot be asked")


def test_the_age_of_the_oldest_message_is_the_newest_value_of_cloudwatch(
    environment: dict[str, str],
) -> None:
    name = environment["SQS_QUEUE_URL"].rpartition("/")[2]
    arn = f"arn:aws:sqs:{environment['AWS_REGION']}:000000000000:{name}"
    now = datetime.now(UTC)
    assert oldest_message_age(arn, now) is None
    cloudwatch: Any = boto3.client("cloudwatch", region_name=environment["AWS_REGION"])
    for minutes, age in ((4, 400.0), (2, 120.0), (30, 9_000.0)):
        cloudwatch.put_metric_data(
            Namespace="AWS/SQS",
            MetricData=[
                {
                    "MetricName": "ApproximateAgeOfOldestMessage",
                    "Dimensions": [{"Name": "QueueName", "Value": name}],
                    "Timestamp": now - timedelta(minutes=minutes),
                    "Value": age,
                }
            ],
        )
    assert oldest_message_age(arn, now) == 120.0
