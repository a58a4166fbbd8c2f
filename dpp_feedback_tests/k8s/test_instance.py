"""Each dagster.yaml of the repository, loaded as Dagster loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.compute_log_manager import ComputeLogManager
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy.engine import make_url

from dpp_feedback_tests.k8s.rendering import K8S, ROOT, instance_files, overlay, with_component

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

BASE = K8S / "base" / "instance" / "dagster.yaml"
WITH_S3 = K8S / "components" / "compute-logs-s3" / "dagster.yaml"
FILES = [ROOT / "dagster.yaml", BASE, WITH_S3]
SECRETS = {
    "DAGSTER_POSTGRES_HOST": "127.0.0.1",
    "DAGSTER_POSTGRES_USER": "dagster",
    "DAGSTER_POSTGRES_PASSWORD": "p@ss:word/with#signs",
    "DAGSTER_POSTGRES_DB": "dagster",
    "DAGSTER_K8S_NAMESPACE": "dpp-production",
    "DAGSTER_COMPUTE_LOGS_BUCKET": "logs",
    "AWS_REGION": "ap-northeast-2",
}


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_instance_loads_and_looks_after_runs(path: Path, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(path.read_text())
    reference = InstanceRef.from_dir(str(tmp_path))
    settings: dict[str, Any] = {**reference.settings}
    assert settings["telemetry"]["enabled"] is False
    assert settings["run_monitoring"]["enabled"] is True
    assert settings["run_monitoring"]["max_runtime_seconds"] > 15 * 60
    assert settings["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert settings["sensors"]["use_threads"] is True
    assert settings["freshness"]["enabled"] is True
    assert reference.run_coordinator
    # Its module is installed, and takes its config.
    assert isinstance(reference.compute_log_manager, ComputeLogManager)


def test_no_file_of_the_repository_is_forgotten() -> None:
    found = {path for path in ROOT.rglob("dagster.yaml") if ".venv" not in path.parts}
    assert {path for path in found if not path.relative_to(ROOT).parts[0].startswith(".")} == set(
        FILES
    )


def test_the_component_changes_only_where_compute_logs_go(tmp_path: Path) -> None:
    base, component = _load(BASE), _load(WITH_S3)
    assert base.pop("compute_logs") != component.pop("compute_logs")
    assert base == component
    rendered = instance_files(with_component("compute-logs-s3", tmp_path))
    assert yaml.safe_load(rendered["dagster.yaml"]) == _load(WITH_S3)
    assert set(rendered) == {"dagster.yaml", "workspace.yaml"}


def test_everything_that_must_last_is_in_postgres(
    database: psycopg.Connection[tuple[Any, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_USER", database.info.user)
    monkeypatch.setenv("DAGSTER_POSTGRES_DB", database.info.dbname)
    text = instance_files(overlay("production"))["dagster.yaml"]
    (tmp_path / "dagster.yaml").write_text(
        text.replace("port: 5432", f"port: {database.info.port}")
    )
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        for storage in (
            instance.run_storage,
            instance.event_log_storage,
            instance.schedule_storage,
        ):
            assert type(storage).__module__.startswith("dagster_postgres.")
        # A password may hold any sign: it was escaped, or nothing would have connected.
        assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
        url = make_url(instance.event_log_storage.postgres_url)
        assert url.password == SECRETS["DAGSTER_POSTGRES_PASSWORD"]
        assert isinstance(instance.compute_log_manager, NoOpComputeLogManager)
        assert instance.event_log_storage.get_maximum_record_id() is None
        assert instance.run_monitoring_cancel_timeout_seconds > _grace_seconds(text)
        assert instance.run_monitoring_max_resume_run_attempts == 0
        assert instance.run_retries_max_retries == 1
    # DAGSTER_HOME is read-only in the cluster: nothing may want to be written there.
    assert [path.name for path in tmp_path.iterdir()] == ["dagster.yaml"]


def _grace_seconds(text: str) -> int:
    pod = yaml.safe_load(text)["run_launcher"]["config"]["run_k8s_config"]["pod_spec_config"]
    return int(pod["termination_grace_period_seconds"])
