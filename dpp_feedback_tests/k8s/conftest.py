"""Dagster with the cluster's instance: the real launcher, run queue and code server.

The instance comes out of the rendered manifests, with the settings that the daemon's pod has; a
stand-in takes the place of the Kubernetes API.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)
from kubernetes.config import incluster_config  # type: ignore[import-untyped]

from dpp_feedback.local import ports
from dpp_feedback_tests.k8s.api_server import ApiServer, rights
from dpp_feedback_tests.k8s.rendering import Manifest, containers, instance_files, of_kind, overlay

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from dagster._core.launcher.base import RunLauncher

BIN = Path(sys.executable).parent
NAMESPACE = "dpp-production"
IMAGE = "registry.example.com/dpp-feedback:1.2.3"


@dataclass
class Cluster:
    """One Dagster with a Kubernetes API."""

    api: ApiServer
    instance: dg.DagsterInstance
    workspace: WorkspaceProcessContext
    settings: dict[str, str]

    def launch(self) -> dg.DagsterRun:
        """Ask for a run as anybody does, and let the daemon's run queue launch it."""
        before = {run.run_id for run in self.instance.get_runs()}
        workspace = str(Path(self.settings["DAGSTER_HOME"]) / "workspace.yaml")
        command = ["dagster", "job", "launch", "-w", workspace, "-j", "process_feedback"]
        self.run(command)
        queue = QueuedRunCoordinatorDaemon(interval_seconds=1)
        assert not [error for error in queue.run_iteration(self.workspace) if error]
        launched = [run for run in self.instance.get_runs() if run.run_id not in before]
        assert len(launched) == 1
        return launched[0]

    def run(self, command: list[str]) -> None:
        """Run one of Dagster's programs, with the settings and nothing else of this process."""
        environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": "/nonexistent"}
        ended = subprocess.run(
            command,
            env=environment | self.settings,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr

    def terminate(self, run: dg.DagsterRun) -> bool | None:
        """Ask the launcher to end a run: None where the API refused."""
        launcher: RunLauncher[dg.DagsterInstance] = self.instance.run_launcher
        return launcher.terminate(run.run_id)

    def job(self, run: dg.DagsterRun) -> Manifest:
        return self.api.jobs[f"dagster-run-{run.run_id}"]


@pytest.fixture(scope="module")
def code_server() -> Iterator[int]:
    """The code server's Deployment, its command, on a port of its own: the port."""
    port = ports.free_port()
    (container,) = [c for name, _, c in containers(overlay("production")) if "worker" in name]
    command = [str(port) if word == "4000" else word for word in container["command"]]
    environment = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": "/nonexistent",
        "DAGSTER_CURRENT_IMAGE": IMAGE,
    }
    with subprocess.Popen(command, env=environment, cwd="/", stderr=subprocess.DEVNULL) as server:
        try:
            health = ["dagster", "api", "grpc-health-check", "-p", str(port)]
            for _ in range(60):
                if subprocess.run(health, env=environment, check=False).returncode == 0:
                    break
                assert server.poll() is None, "the code server ended"
            else:
                pytest.fail("the code server does not answer")
            yield port
        finally:
            # Where SIGINT is ignored, as in a shell's background jobs, Dagster ignores SIGTERM too.
            server.kill()


@pytest.fixture
def cluster(
    code_server: int,
    environment: dict[str, str],
    database: psycopg.Connection[tuple[Any, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Cluster]:
    manifests = overlay("production")
    home = tmp_path / "home"
    home.mkdir()
    for name, text in instance_files(manifests).items():
        here = text.replace("port: 5432", f"port: {database.info.port}")
        here = here.replace("host: ses-feedback-worker", "host: 127.0.0.1")
        (home / name).write_text(here.replace("port: 4000", f"port: {code_server}"))
    settings = environment | {
        "DAGSTER_HOME": str(home),
        "DAGSTER_K8S_NAMESPACE": NAMESPACE,
        "DAGSTER_POSTGRES_HOST": "127.0.0.1",
        "DAGSTER_POSTGRES_USER": database.info.user,
        "DAGSTER_POSTGRES_PASSWORD": "unused",
        "DAGSTER_POSTGRES_DB": database.info.dbname,
        "PGSSLMODE": "disable",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    role = of_kind(manifests, "Role")["decisionproof-ses-feedback-daemon"]
    with ApiServer(NAMESPACE, rights(role["rules"]), tmp_path) as api:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
        target = WorkspaceFileTarget([str(home / "workspace.yaml")])
        with (
            dg.DagsterInstance.from_config(str(home)) as instance,
            WorkspaceProcessContext(instance, target) as workspace,
        ):
            yield Cluster(api, instance, workspace, settings)
