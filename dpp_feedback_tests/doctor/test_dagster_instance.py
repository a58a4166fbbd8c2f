"""The Dagster instance: real ones in folders, with heartbeats and states of their own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from dpp_feedback.doctor import dagster_instance
from dpp_feedback.doctor.surroundings import Surroundings
from dpp_feedback_tests.doctor.looking import found, only

if TYPE_CHECKING:
    from dpp_feedback.doctor.finding import Finding

LAPTOP = Surroundings(pod=False, endpoint=None, keys=())
POD = Surroundings(pod=True, endpoint=None, keys=())
SETTINGS = Path(__file__).resolve().parents[2] / "dagster.yaml"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An instance with the settings of the laptop's."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(SETTINGS.read_text())
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


def _dagster(check: str, where: Surroundings = LAPTOP) -> Finding:
    return only(dagster_instance.examinations(where), check)


def _beat(
    instance: dg.DagsterInstance, age: float, *, without: str = "", errors: Any = None
) -> None:
    for kind in set(instance.get_required_daemon_types()) - {without}:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age, kind, "daemon", errors))


def test_no_instance_warns_on_a_laptop_and_fails_in_a_pod() -> None:
    assert _dagster("DAGSTER_HOME").verdict == "warn"
    assert _dagster("DAGSTER_HOME", POD).verdict == "fail"


@pytest.mark.parametrize("value", ["relative/folder", "/not/there"])
def test_a_folder_that_is_none_fails(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DAGSTER_HOME", value)
    assert _dagster("DAGSTER_HOME").verdict == "fail"


def test_an_instance_that_cannot_be_read_or_reached_fails_without_its_password(home: Path) -> None:
    for written in (
        "run_monitoring: {enabled: perhaps}",
        "storage: {sqlite: {base_dir: /proc/none}}",
        "a: [",
    ):
        (home / "dagster.yaml").write_text(f"# se-cret\n{written}\n")
        finding = _dagster("DAGSTER_HOME")
        assert finding.verdict == "fail"
        assert "se-cret" not in finding.found


def test_an_instance_that_cannot_make_its_folders_says_so(home: Path) -> None:
    (home / "file").write_text("")
    (home / "dagster.yaml").write_text(f"storage: {{sqlite: {{base_dir: {home / 'file'}}}}}")
    assert "cannot make its folders" in _dagster("DAGSTER_HOME").found


def test_a_healthy_instance_passes(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        _beat(instance, 1)
    checks = found(dagster_instance.examinations(LAPTOP))
    assert {each.verdict for findings in checks.values() for each in findings} == {"pass"}
    assert checks["DAGSTER_HOME"][0].found == str(home)
    assert "SqliteRunStorage answers: 0 runs." in checks["storage"][0].found


def test_runs_that_end_with_the_pod_fail(home: Path) -> None:
    assert home.is_dir()
    assert _dagster("storage", POD).verdict == "fail"


def test_daemons_that_never_ran_warn_on_a_laptop_and_fail_in_a_pod(home: Path) -> None:
    assert home.is_dir()
    assert _dagster("daemons").verdict == "warn"
    assert _dagster("daemons", POD).verdict == "fail"


def test_a_daemon_that_is_silent_or_missing_fails(home: Path) -> None:
    assert home.is_dir()
    with dg.DagsterInstance.get() as instance:
        _beat(instance, 3600, without="SCHEDULER")
    findings = found(dagster_instance.examinations(LAPTOP))["daemons"]
    assert {each.verdict for each in findings} == {"fail"}
    said = [each.found for each in findings]
    assert "scheduler has never run." in said
    assert any(one.startswith("sensor: its last heartbeat is 3,6") for one in said)


def test_a_daemon_that_tells_of_errors_warns_without_them(home: Path) -> None:
    assert home.is_dir()
    with dg.DagsterInstance.get() as instance:
        _beat(instance, 1, errors=[SerializableErrorInfo("jane@example.com", [], None)])
    findings = found(dagster_instance.examinations(LAPTOP))["daemons"]
    assert {each.verdict for each in findings} == {"warn"}
    assert not any("jane" in each.found for each in findings)


@pytest.mark.parametrize("check", ["run_monitoring", "freshness", "sensors.use_threads"])
def test_what_is_off_warns(home: Path, check: str) -> None:
    (home / "dagster.yaml").write_text("freshness: {enabled: false}\n")
    assert _dagster(check).verdict == "warn"


@pytest.mark.parametrize(
    ("name", "kind", "check", "verdict"),
    [
        ("feedback_queue_sensor", InstigatorType.SENSOR, "sensors", "fail"),
        ("dlq_health_sensor", InstigatorType.SENSOR, "sensors", "warn"),
        ("daily_rollup_schedule", InstigatorType.SCHEDULE, "schedules", "warn"),
        ("somebody_elses", InstigatorType.SENSOR, "sensors", "pass"),
    ],
)
def test_what_somebody_has_stopped_is_told(
    home: Path, name: str, kind: InstigatorType, check: str, verdict: str
) -> None:
    assert home.is_dir()
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="m"), "location")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    with dg.DagsterInstance.get() as instance:
        data = ScheduleInstigatorData("0 1 * * *") if kind is InstigatorType.SCHEDULE else None
        state = InstigatorState(origin, kind, InstigatorStatus.STOPPED, data)
        instance.add_instigator_state(state)
    finding = _dagster(check)
    assert finding.verdict == verdict
    if verdict != "pass":
        assert "Automation" in finding.next_step
