"""The Dagster instance: there, with its daemons at work and the sensors on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from dpp_feedback.doctor.finding import Examination, Finding, failed, passed, warned
from dpp_feedback.errors import FeedbackError
from dpp_feedback.resources import names_set

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster import DagsterInstance

    from dpp_feedback.doctor.surroundings import Surroundings

_START = "Start the daemon: `dagster-daemon run`; on a laptop `dagster dev` brings it."
_MAIN = "feedback_queue_sensor"


def examinations(where: Surroundings) -> list[Examination]:
    """Look at the instance of DAGSTER_HOME."""
    return [Examination("Dagster", "DAGSTER_HOME", partial(_instance, where))]


def _instance(where: Surroundings) -> Iterator[Finding]:
    check = "DAGSTER_HOME"
    if check not in names_set():
        told = failed if where.pod else warned
        yield told(
            check,
            "It is not set: the instance is not looked at.",
            "Set it to the absolute path of the folder with dagster.yaml"
            + ("." if where.pod else "; after `make run` that is .dpp/dagster."),
        )
        return
    with _opened() as instance:
        yield passed(check, instance.root_directory)
        yield _storage(instance, where)
        yield from _daemons(instance, where)
        yield from _settings(instance)
        yield from _instigators(instance)


def _opened() -> DagsterInstance:
    """Open it; the errors of Dagster and of its storage may quote passwords, so none is told.

    Raises:
        FeedbackError: the folder or its dagster.yaml is wrong, or the storage does not answer.
    """
    from dagster import DagsterInstance, DagsterInvariantViolationError
    from dagster import DagsterInvalidConfigError as InvalidConfig

    try:
        return DagsterInstance.get()
    except (DagsterInvariantViolationError, InvalidConfig) as error:
        raise FeedbackError(
            f"DAGSTER_HOME names no Dagster instance ({type(error).__name__}): write the absolute "
            "path of a folder with a dagster.yaml that `dagster instance info` can read."
        ) from None
    except OSError as error:  # a home that is a ConfigMap is read-only
        raise FeedbackError(
            f"The Dagster instance cannot make its folders ({type(error).__name__}): let "
            "`local_artifact_storage` and `storage` in dagster.yaml name places that this process "
            "may write to."
        ) from None
    except Exception as error:  # of whichever storage
        raise FeedbackError(
            f"The storage of the Dagster instance does not answer ({type(error).__name__}): check "
            "`storage` in dagster.yaml, its DAGSTER_POSTGRES_... variables and the server."
        ) from None


def _storage(instance: DagsterInstance, where: Surroundings) -> Finding:
    kind = type(instance.run_storage).__name__
    try:
        runs = instance.get_runs_count()
    except Exception as error:  # of whichever storage
        return failed(
            "storage",
            f"{kind} does not answer: {type(error).__name__}.",
            "Check `storage` in dagster.yaml and the server; `dagster instance migrate` after an "
            "upgrade.",
        )
    if where.pod and "Sqlite" in kind:
        return failed(
            "storage",
            f"{kind}, in a pod: no other pod sees its runs, and it ends with the pod.",
            "Use Postgres: `storage: postgres` in dagster.yaml.",
        )
    return passed("storage", f"{kind} answers: {runs:,} runs.")


def _daemons(instance: DagsterInstance, where: Surroundings) -> Iterator[Finding]:
    check, now, statuses = "daemons", datetime.now(UTC), instance.get_daemon_statuses()
    if not any(status.last_heartbeat for status in statuses.values()):
        told = failed if where.pod else warned
        yield told(check, "None has ever run: no sensor and no schedule works.", _START)
        return
    well = []
    for kind, status in sorted(statuses.items()):
        name, beat = kind.lower(), status.last_heartbeat
        if beat is None:
            yield failed(check, f"{name} has never run.", _START)
        elif not status.healthy:
            silent = (now - datetime.fromtimestamp(beat.timestamp, UTC)) // timedelta(seconds=1)
            yield failed(check, f"{name}: its last heartbeat is {silent:,} s old.", _START)
        elif beat.errors:  # a location that does not load, a sensor that fails
            yield warned(
                check, f"{name} runs, and told of errors.", "See its log, and Deployment in the UI."
            )
        else:
            well.append(name)
    if well:
        yield passed(check, f"Healthy: {', '.join(well)}.")


def _settings(instance: DagsterInstance) -> Iterator[Finding]:
    threads = bool(instance.get_settings("sensors").get("use_threads"))
    for check, is_on, without, write in (
        (
            "run_monitoring",
            instance.run_monitoring_enabled,
            "a run whose process was killed stands as started for ever",
            "run_monitoring: {enabled: true}",
        ),
        (
            "freshness",
            instance.freshness_enabled,
            "nobody notices an asset that is out of date",
            "freshness: {enabled: true}",
        ),
        (
            "sensors.use_threads",
            threads,
            "one slow sensor holds up the others",
            "sensors: {use_threads: true, num_workers: 4}",
        ),
    ):
        if is_on:
            yield passed(check, "It is on.")
        else:
            yield warned(check, f"It is off: {without}.", f"Write `{write}` into dagster.yaml.")


def _instigators(instance: DagsterInstance) -> Iterator[Finding]:
    """What is started by default runs, unless somebody has stopped it."""
    from dagster._core.scheduler.instigation import InstigatorStatus

    from dpp_feedback.definitions import defs

    ours = {
        "sensors": {sensor.name for sensor in defs.sensors or []},
        "schedules": {schedule.name for schedule in defs.schedules or []},
    }
    stopped = {
        state.instigator_name
        for state in instance.all_instigator_state()
        if state.status == InstigatorStatus.STOPPED
    }
    for check, names in ours.items():
        off = sorted(names & stopped)
        if not off:
            yield passed(check, "None is stopped.")
            continue
        told = failed if _MAIN in off else warned
        yield told(
            check,
            f"Stopped: {', '.join(off)}.",
            "Switch it on in Dagster's pages, under Automation.",
        )
