"""When runs are launched: the decision by itself, and the sensor on a real instance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster import validate_run_config

from dpp_feedback.definitions import defs
from dpp_feedback.ingest import process_feedback
from dpp_feedback.resources import FeedbackQueue
from dpp_feedback.sensors import Past, feedback_queue_sensor, runs_to_launch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_sqs import SQSClient

NOW = datetime(2026, 2, 20, 12, tzinfo=UTC)
QUIET = Past(under_way=0, failures=0, last_failure=None)


def _decide(
    waiting: int, past: Past = QUIET, max_parallel: int = 1, ahead: int = 1
) -> list[int] | str:
    return runs_to_launch(waiting, past, max_parallel, NOW, ahead=ahead)


def test_one_waiting_message_is_enough_for_a_run() -> None:
    assert _decide(1) == [10_000]


def test_a_run_under_way_is_enough() -> None:
    said = _decide(500, Past(under_way=1, failures=0, last_failure=None))
    assert said == "500 waiting; 1 run(s) under way."


def test_a_large_backlog_gets_as_many_runs_as_the_setting_allows() -> None:
    assert _decide(10_001, max_parallel=4) == [10_000, 10_000]
    assert _decide(20_001, max_parallel=4) == [10_000] * 3
    assert _decide(1_000_000, max_parallel=4) == [30_000] * 4
    assert _decide(1_000_000, Past(3, 0, None), max_parallel=4) == [30_000]


def test_a_large_backlog_gets_large_runs() -> None:
    assert _decide(35_000) == [35_000]
    assert _decide(35_001, max_parallel=2) == [17_501, 17_501]
    assert _decide(200_000) == [100_000]


def test_runs_take_no_more_than_sqs_lets_be_in_flight() -> None:
    assert _decide(200_000, max_parallel=2) == [60_000, 60_000]
    assert sum(d if isinstance(d := _decide(10**7, max_parallel=99), list) else []) <= 120_000


def test_where_dagster_lets_them_wait_runs_are_asked_for_ahead() -> None:
    assert _decide(200_000, ahead=3) == [100_000, 100_000]
    assert _decide(10**6, ahead=3) == [100_000] * 3
    assert _decide(10**6, Past(2, 0, None), ahead=3) == [100_000]
    assert _decide(10**6, Past(3, 0, None), ahead=3) == "1000000 waiting; 3 run(s) under way."
    assert _decide(500, Past(1, 0, None), ahead=3) == "500 waiting; 1 run(s) under way."


def test_after_a_failure_nothing_is_asked_for_while_a_run_is_under_way() -> None:
    past = Past(1, 2, NOW - timedelta(hours=1))
    assert _decide(500, past, ahead=3) == "500 waiting; 1 run(s) under way."


@pytest.mark.parametrize(
    ("failures", "wait"), [(1, 30), (2, 60), (3, 120), (5, 480), (6, 900), (10, 900)]
)
def test_each_failure_doubles_the_wait_up_to_a_quarter_of_an_hour(failures: int, wait: int) -> None:
    def after(seconds: int) -> list[int] | str:
        return _decide(9, Past(0, failures, NOW - timedelta(seconds=seconds)))

    assert after(wait) == [100]
    said = after(wait - 1)
    assert isinstance(said, str)
    assert f"the last {failures} run(s) failed" in said


def test_after_failures_one_run_tries_alone_and_with_few_messages() -> None:
    past = Past(0, 2, NOW - timedelta(hours=1))
    assert _decide(1_000_000, past, max_parallel=8) == [100]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def _tick(instance: dg.DagsterInstance) -> list[dg.RunRequest] | str | None:
    with dg.build_sensor_context(
        instance=instance, resources={"queue": FeedbackQueue()}, definitions=defs
    ) as context:
        data = feedback_queue_sensor.evaluate_tick(context)
    return list(data.run_requests or []) or data.skip_message


def _send(sqs: SQSClient, environment: dict[str, str]) -> None:
    sqs.send_message(QueueUrl=environment["SQS_QUEUE_URL"], MessageBody="{}")


def test_the_sensor_asks_for_a_run_without_key_or_anything_of_a_message(
    instance: dg.DagsterInstance, environment: dict[str, str], sqs: SQSClient
) -> None:
    assert _tick(instance) == "Nothing waiting; 0 in flight."
    _send(sqs, environment)
    requests = _tick(instance)
    assert isinstance(requests, list)
    (request,) = requests
    assert request.run_key is None
    ops = {"receive_messages": {"config": {"max_messages": 10_000}}}
    assert request.run_config == {"ops": {"ses_feedback_events": {"ops": ops}}}
    assert validate_run_config(defs.resolve_job_def(process_feedback.name), request.run_config)
    assert not {name for name in request.tags if not name.startswith("dagster/")}


def test_the_sensor_waits_for_a_run_under_way(
    instance: dg.DagsterInstance, environment: dict[str, str], sqs: SQSClient
) -> None:
    _send(sqs, environment)
    instance.create_run_for_job(
        job_def=defs.resolve_job_def(process_feedback.name), status=dg.DagsterRunStatus.STARTED
    )
    assert _tick(instance) == "1 waiting; 1 run(s) under way."


def test_the_sensor_backs_off_after_a_failed_run(
    instance: dg.DagsterInstance,
    environment: dict[str, str],
    sqs: SQSClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _send(sqs, environment)
    with monkeypatch.context() as patched:
        patched.delenv("DATABASE_URL")
        failed = defs.resolve_job_def(process_feedback.name).execute_in_process(
            instance=instance, raise_on_error=False
        )
    assert not failed.success
    said = _tick(instance)
    assert isinstance(said, str)
    assert said.startswith("1 waiting; the last 1 run(s) failed, and say why. Trying again at ")


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SQS_QUEUE_URL", None, "SQS_QUEUE_URL is not set."),
        ("SQS_QUEUE_URL", "queue", "SQS_QUEUE_URL is no URL of a queue."),
        ("AWS_REGION", "Seoul", "AWS_REGION is 'Seoul', no name of a region."),
        ("SES_FEEDBACK_MAX_PARALLEL_RUNS", "many", "SES_FEEDBACK_MAX_PARALLEL_RUNS is no whole"),
        (
            "AWS_ENDPOINT_URL",
            "localhost:4566",
            "boto3 cannot call SQS (ValueError: Invalid endpoint",
        ),
        ("AWS_PROFILE", "nobody", "boto3 cannot call SQS (ProfileNotFound: "),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "SQS does not answer (EndpointConnectionError)"),
    ],
)
def test_the_sensor_survives_what_is_wrong_and_says_it(
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str | None,
    said: str,
) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    answer = _tick(instance)
    assert isinstance(answer, str)
    assert answer.startswith(said)


def test_the_sensor_names_a_queue_that_does_not_exist(
    instance: dg.DagsterInstance, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = environment["SQS_QUEUE_URL"] + "-missing"
    monkeypatch.setenv("SQS_QUEUE_URL", missing)
    answer = _tick(instance)
    assert isinstance(answer, str)
    assert answer.startswith(f"SQS_QUEUE_URL names a queue that does not exist: {missing}.")
