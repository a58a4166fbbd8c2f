"""One look at everything that the alerts are judged by: SQS, CloudWatch, Dagster's own records.

Each input is read on its own. What the readings mean is alerting/'s business.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
from dagster import DagsterRunStatus as Status

from dpp_feedback.alerting.checks import CHECKS
from dpp_feedback.alerting.readings import (
    MAIN_JOB,
    CheckResult,
    JobRuns,
    Ongoing,
    Queued,
    Readings,
    Unreadable,
)
from dpp_feedback.cloudwatch import oldest_message_age
from dpp_feedback.concurrently import answers
from dpp_feedback.errors import FeedbackError
from dpp_feedback.reprocess import NAME as REPROCESS
from dpp_feedback.resources import SettingMissing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from dagster._core.scheduler.instigation import InstigatorState
    from dagster_shared.error import SerializableErrorInfo

    from dpp_feedback.resources import FeedbackQueue

ALERTED = "dpp_feedback/alerted"
"""The tag of a failed run that people have been told of."""

QUEUE_SENSOR = "feedback_queue_sensor"
_JOBS = {MAIN_JOB, "daily_rollup", "bounce_rate_report"}
_ASSETS = ("daily_bounce_rates", "ses_feedback_events")  # whose checks alert
_WITHIN_SECONDS = 15  # a queue that is silent is given up then: a sensor has 60 seconds
_RECENT = timedelta(days=1)
_HISTORY = 30  # evaluations of a check; a few nights, and a backfill or two
_RUNS = 25  # of each job; more in a row are told as so many
_STARTED_BY_ITSELF = {
    "dagster/schedule_name",
    "dagster/sensor_name",
    "dagster/backfill",
    "dagster/from_automation_condition",
}
_UNDER_WAY = [Status.STARTED, Status.CANCELING]
_ENDED = [Status.SUCCESS, Status.FAILURE]


def look(
    instance: dg.DagsterInstance,
    queue: FeedbackQueue,
    dead_letter_queue: FeedbackQueue,
    location: str | None,
    jobs: Collection[str],
    now: datetime,
) -> Readings:
    """Look at everything.

    Args:
        instance: Dagster's.
        queue: the queue.
        dead_letter_queue: its DLQ.
        location: the code location; None in tests.
        jobs: more names of jobs whose runs matter.
        now: the time of the look.
    """

    def of_queue() -> Queued | int:
        return _queued(queue, now)

    def of_dead_letters() -> Queued | int | None:
        try:
            connected = dead_letter_queue.connect()
        except SettingMissing:
            return None
        depth = connected.depth()
        return depth.waiting + depth.in_flight

    came = answers({"The queue": of_queue, "The DLQ": of_dead_letters}, _WITHIN_SECONDS)
    queued, dead_letters = came["The queue"], came["The DLQ"]
    state = sensor_state(instance, QUEUE_SENSOR, location)
    names = sorted(_JOBS | set(jobs) | _recently_failed(instance, location, now))
    return Readings(
        at=now,
        queue=queued if isinstance(queued, Queued) else Unreadable(str(queued)),
        dead_letters=dead_letters
        if isinstance(dead_letters, int | None)
        else Unreadable(str(dead_letters)),
        sensor_running=state.is_running if state else True,  # never touched: as the code says
        jobs=[job_runs(instance, name) for name in names],
        checks=_checks(instance),
    )


def job_runs(instance: dg.DagsterInstance, job: str) -> JobRuns:
    """Read the latest runs of a job."""
    started = instance.get_run_records(
        dg.RunsFilter(job_name=job, statuses=[*_UNDER_WAY, Status.CANCELED, *_ENDED]), limit=_RUNS
    )
    under_way = [record for record in started if record.dagster_run.status in _UNDER_WAY]
    ended = [
        record
        for record in instance.get_run_records(
            dg.RunsFilter(job_name=job, statuses=_ENDED), limit=_RUNS
        )
        if record.dagster_run.status is Status.SUCCESS or _is_news(record.dagster_run)
    ]  # newest first
    failed = [record for record in ended if record.dagster_run.status is Status.FAILURE]
    succeeded = [record for record in ended if record.dagster_run.status is Status.SUCCESS]
    streak = ended.index(succeeded[0]) if succeeded else len(ended)
    told = [record for record in failed if ALERTED in record.dagster_run.tags]
    last = failed[0] if failed else None
    return JobRuns(
        job=job,
        failures=streak,
        told=any(ALERTED in record.dagster_run.tags for record in ended[:streak]),
        run_id=last.dagster_run.run_id if last else "",
        failed_at=_time(last.end_time) if last else None,
        sentence=failure_sentence(instance, last.dagster_run.run_id) if last else "",
        told_at=_time(told[0].end_time) if told else None,
        started_at=_newest_start(started),
        success_started_at=_time(succeeded[0].start_time) if succeeded else None,
        under_way_since=_newest_start(under_way),
    )


def will_be_retried(run: dg.DagsterRun) -> bool:
    """Tell whether Dagster starts a failed run again by itself: its failure is no news."""
    return run.tags.get("dagster/will_retry", "").lower() == "true"


def started_by_hand(run: dg.DagsterRun) -> bool:
    """Tell whether a person materialized assets, and so sees it fail.

    Dagster runs what is chosen by hand as a job of its own (`__ASSET_JOB`). A job with a name is
    expected to work whoever starts it. A run that is executed again by hand bears the tags of the
    first, but no number of the retry, as one that Dagster's daemon executes again does.
    reprocess_dlq nobody but a person starts.
    """
    if run.job_name == REPROCESS:
        return True
    again = "dagster/parent_run_id" in run.tags and "dagster/retry_number" not in run.tags
    return run.job_name.startswith("__") and (again or not _STARTED_BY_ITSELF & run.tags.keys())


def failure_sentence(instance: dg.DagsterInstance, run_id: str) -> str:
    """Say why a run failed: the failed op's own sentence if it is one of ours, else the class.

    The text of any other error may hold whatever was being worked on.
    """
    records = instance.get_records_for_run(
        run_id=run_id, of_type=dg.DagsterEventType.STEP_FAILURE
    ).records
    for record in records:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        op = (event.step_key or "").rpartition(".")[2]
        failure = event.step_failure_data
        if failure.user_failure_data and failure.user_failure_data.description:
            return f"{op}: {failure.user_failure_data.description}"
        return f"{op}: {_in_words(failure.error)}"
    return (
        "No op of it failed: its process or its pod is gone, or it was stopped because it took "
        "too long. See the run."
    )


def sensor_state(
    instance: dg.DagsterInstance, name: str, location: str | None
) -> InstigatorState | None:
    """Find what Dagster remembers of a sensor: whether it is on, and its cursor."""
    for state in instance.all_instigator_state():
        here = location in (None, state.repository_selector.location_name)
        if state.instigator_name == name and here:
            return state
    return None


def _queued(queue: FeedbackQueue, now: datetime) -> Queued:
    connected = queue.connect()
    depth = connected.depth()
    age = None
    if depth.waiting + depth.in_flight:
        try:
            age = oldest_message_age(connected.arn(), now)
        except FeedbackError:  # it is a help, and an estimate takes its place
            age = None
    return Queued(depth.waiting, depth.in_flight, age)


def _recently_failed(instance: dg.DagsterInstance, location: str | None, now: datetime) -> set[str]:
    runs = instance.get_runs(
        dg.RunsFilter(statuses=[Status.FAILURE], updated_after=now - _RECENT), limit=100
    )
    return {
        run.job_name
        for run in runs
        if _is_news(run)
        and (
            location is None
            or run.remote_job_origin is None
            or run.remote_job_origin.location_name == location
        )
    }


def _checks(instance: dg.DagsterInstance) -> Mapping[str, CheckResult]:
    """Read the evaluation that counts of each check, on whichever of the assets it stands.

    That is the newest one, those left out that are about an older day than another: a backfill of
    last month is judged by last month, which neither begins nor ends anything today.
    """
    results = {}
    for name in CHECKS:
        found = sorted(_evaluations(instance, name), key=lambda each: each[0], reverse=True)
        latest = max((_as_of(told) for _, told in found), default="")
        # Without a day it is about the moment at which it was made.
        about_now = (told for _, told in found if _as_of(told) in ("", latest))
        if told := next(about_now, None):
            results[name] = _result(told)
    return results


def _evaluations(
    instance: dg.DagsterInstance, name: str
) -> Iterator[tuple[float, dg.AssetCheckEvaluation]]:
    """Read the latest evaluations of a check, each with the time at which it was made."""
    for asset in _ASSETS:
        key = dg.AssetCheckKey(dg.AssetKey(asset), name)
        for record in instance.event_log_storage.get_asset_check_execution_history(key, _HISTORY):
            event = record.event.dagster_event if record.event else None
            # It may only be planned, by a run that is under way or died.
            if event and event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                yield record.create_timestamp, event.asset_check_evaluation_data


def _as_of(evaluation: dg.AssetCheckEvaluation) -> str:
    said = evaluation.metadata.get("as_of")
    return str(said.value) if said else ""


def _result(evaluation: dg.AssetCheckEvaluation) -> CheckResult:
    values = {name: said.value for name, said in evaluation.metadata.items()}
    return CheckResult(
        name=evaluation.check_name,
        passed=evaluation.passed,
        error=evaluation.severity is dg.AssetCheckSeverity.ERROR,
        description=evaluation.description or "",
        figures={
            name: float(value)
            for name, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        },
        ongoing=_ongoing(values.get("ongoing")),
    )


def _ongoing(said: object) -> Sequence[Ongoing]:
    """Read the incidents; none where another version of the check says it otherwise."""
    try:
        return [Ongoing(**one) for one in json.loads(str(said))]
    except (TypeError, ValueError):
        return ()


def _in_words(error: SerializableErrorInfo | None) -> str:
    while error and error.cause:
        error = error.cause
    if error is None or not error.cls_name:
        return "it does not say why. See the run."
    # As Python prints it: module and class, a colon, the sentence.
    name, _, sentence = error.message.partition(": ")
    if name.startswith("dpp_feedback.") and error.cls_name in _sentences(FeedbackError):
        return sentence.strip()
    return f"{error.cls_name}. See the run."


def _sentences(family: type[FeedbackError]) -> set[str]:
    return {family.__name__}.union(*(_sentences(one) for one in family.__subclasses__()))


def _is_news(failed: dg.DagsterRun) -> bool:
    return not (will_be_retried(failed) or started_by_hand(failed))


def _newest_start(records: Sequence[dg.RunRecord]) -> datetime | None:
    return max((time for record in records if (time := _time(record.start_time))), default=None)


def _time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
