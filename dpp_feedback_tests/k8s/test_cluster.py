"""The local overlay in a real cluster: `make test-cluster`, with an administrator's KUBECONFIG.

It makes the namespace dpp-local and deletes it at the end. What it asks of the cluster is an API
server that admits and a controller that makes pods of jobs; no pod has to start.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.base import RunLauncher, WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster_k8s import K8sRunLauncher

from dpp_feedback.definitions import defs
from dpp_feedback_tests.k8s.admin import call, for_an_old_server, lost_of, server_version
from dpp_feedback_tests.k8s.api_server import rights
from dpp_feedback_tests.k8s.rendering import (
    Manifest,
    instance_files,
    kubectl,
    of_kind,
    overlay,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

NAMESPACE = "dpp-local"
DAEMON = "decisionproof-ses-feedback-daemon-sa"
ACCOUNTS = [DAEMON, "decisionproof-ses-feedback-sa", "decisionproof-ses-feedback-webserver-sa"]
# What somebody who got hold of a pod would try first: verb, resource, namespace.
DENIED = [
    ("get", "secrets", NAMESPACE),
    ("list", "secrets", NAMESPACE),
    ("list", "configmaps", NAMESPACE),
    ("create", "pods", NAMESPACE),
    ("create", "pods/exec", NAMESPACE),
    ("create", "pods/portforward", NAMESPACE),
    ("patch", "jobs.batch", NAMESPACE),
    ("update", "jobs.batch", NAMESPACE),
    ("deletecollection", "jobs.batch", NAMESPACE),
    ("patch", "deployments.apps", NAMESPACE),
    ("create", "serviceaccounts/token", NAMESPACE),
    ("create", "rolebindings.rbac.authorization.k8s.io", NAMESPACE),
    ("impersonate", "serviceaccounts", NAMESPACE),
    ("create", "jobs.batch", "default"),
    ("list", "pods", "kube-system"),
    ("get", "secrets", "kube-system"),
    ("list", "nodes", NAMESPACE),
    ("list", "namespaces", NAMESPACE),
    ("*", "*", NAMESPACE),
]


@pytest.fixture(scope="module", autouse=True)
def applied(request: pytest.FixtureRequest) -> Iterator[list[Manifest]]:
    """The local overlay, applied by the server with strict validation; deleted afterwards."""
    if not request.config.getoption("--cluster"):
        pytest.skip("needs a cluster: `make test-cluster`")
    if not os.environ.get("KUBECONFIG"):
        pytest.fail("KUBECONFIG is not set: name the cluster that is meant to be used")
    if call("get", "namespace", NAMESPACE, "--ignore-not-found"):
        pytest.fail(f"the namespace {NAMESPACE} exists: delete it if nobody uses it")
    manifests = for_an_old_server(overlay("local"), server_version())
    text = yaml.safe_dump_all(manifests)
    try:
        call("apply", "--server-side", "--validate=strict", "-f", "-", stdin=text)
        yield manifests
    finally:
        call("delete", "--wait", "--timeout=180s", "-f", "-", stdin=text, check=False)


def test_the_server_takes_every_manifest_as_it_is(applied: list[Manifest]) -> None:
    for manifest in applied:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        group = manifest["apiVersion"].rpartition("/")[0]
        resource = f"{kind}.{manifest['apiVersion'].rpartition('/')[2]}.{group}" if group else kind
        stored = json.loads(call("get", resource, name, "-n", NAMESPACE, "-o", "json"))
        lost = lost_of(manifest, stored)
        assert not lost, f"{kind} {name}: the server dropped {lost}"


def _can(account: str, verb: str, resource: str, namespace: str = NAMESPACE) -> bool:
    who = f"system:serviceaccount:{NAMESPACE}:{account}"
    name, _, subresource = resource.partition("/")
    words = ["auth", "can-i", verb, name, "-n", namespace, "--as", who]
    if subresource:
        words.append(f"--subresource={subresource}")
    return call(*words, check=False).strip() == "yes"


def test_the_daemon_may_do_what_its_role_says(applied: list[Manifest]) -> None:
    (role,) = of_kind(applied, "Role").values()
    for group, resource, verb in rights(role["rules"]):
        name, _, subresource = resource.partition("/")
        full = f"{name}.{group}" if group else name
        assert _can(DAEMON, verb, f"{full}/{subresource}" if subresource else full), resource


@pytest.mark.parametrize("account", ACCOUNTS)
def test_whatever_else_is_denied(account: str) -> None:
    allowed = [asked for asked in DENIED if _can(account, *asked)]
    assert allowed == []


@pytest.mark.parametrize("account", ACCOUNTS[1:])
def test_runs_and_webserver_may_do_nothing_at_all(account: str, applied: list[Manifest]) -> None:
    (role,) = of_kind(applied, "Role").values()
    for group, resource, verb in rights(role["rules"]):
        assert not _can(account, verb, f"{resource.partition('/')[0]}.{group}".rstrip("."))


@pytest.fixture
def token() -> str:
    """A token of the daemon's account: of ten minutes, or an old server's own."""
    asked = call("create", "token", DAEMON, "-n", NAMESPACE, check=False).strip()
    for _ in range(30):
        if asked:
            break
        time.sleep(1)
        account = json.loads(call("get", "serviceaccount", DAEMON, "-n", NAMESPACE, "-o", "json"))
        for entry in account.get("secrets", []):
            secret = json.loads(call("get", "secret", entry["name"], "-n", NAMESPACE, "-o", "json"))
            asked = base64.b64decode(secret["data"]["token"]).decode()
    assert asked
    return asked


@pytest.fixture
def kubeconfig(token: str, tmp_path: Path) -> Path:
    """The way to the cluster with this token alone."""
    view = json.loads(call("config", "view", "--raw", "--minify", "-o", "json"))
    view["users"] = [{"name": "daemon", "user": {"token": token}}]
    view["contexts"][0]["context"] |= {"user": "daemon", "namespace": NAMESPACE}
    path = tmp_path / "daemon.kubeconfig"
    path.write_text(json.dumps(view))
    return path


@pytest.fixture
def instance(
    kubeconfig: Path,
    database: psycopg.Connection[tuple[Any, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dg.DagsterInstance]:
    """The daemon's instance, as it is in its pod, with its token against the cluster."""
    config = yaml.safe_load(instance_files(overlay("local"))["dagster.yaml"])
    config["run_launcher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(kubeconfig),
    }
    config["storage"]["postgres"]["postgres_db"]["port"] = database.info.port
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    settings = {
        "DAGSTER_K8S_NAMESPACE": NAMESPACE,
        "DAGSTER_POSTGRES_HOST": "127.0.0.1",
        "DAGSTER_POSTGRES_USER": database.info.user,
        "DAGSTER_POSTGRES_PASSWORD": "unused",
        "DAGSTER_POSTGRES_DB": database.info.dbname,
        "DAGSTER_HOME": str(home),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(home)) as made:
        yield made
    shutil.rmtree(home)


@pytest.fixture
def launched(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run of the code location with the overlay's image, launched."""
    location = GrpcServerCodeLocationOrigin("ses-feedback-worker", 4000, None, "dpp_feedback")
    pointer = ModuleCodePointer("dpp_feedback.definitions", "defs")
    run = instance.create_run_for_job(
        defs.resolve_job_def("process_feedback"),
        remote_job_origin=RemoteJobOrigin(
            RemoteRepositoryOrigin(location, "__repository__"), "process_feedback"
        ),
        job_code_origin=JobPythonOrigin(
            "process_feedback",
            RepositoryPythonOrigin("python", pointer, container_image="dpp-feedback:local"),
        ),
    )
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return run


def test_the_daemons_token_launches_the_expected_job_and_ends_it(
    instance: dg.DagsterInstance, launched: dg.DagsterRun
) -> None:
    launcher = instance.run_launcher
    assert isinstance(launcher, K8sRunLauncher)
    name = f"dagster-run-{launched.run_id}"
    job = json.loads(call("get", "job", name, "-n", NAMESPACE, "-o", "json"))
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    pod = _pod(name)
    assert pod["spec"]["serviceAccountName"] == "decisionproof-ses-feedback-sa"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert not [v for v in pod["spec"].get("volumes", []) if v["name"] != "tmp"]  # no token
    assert pod["spec"]["securityContext"]["runAsUser"] == 10001
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["terminationGracePeriodSeconds"] == 330
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "dpp-feedback:local"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    env = {entry["name"]: entry for entry in container["env"]}
    assert env["DATABASE_URL"]["valueFrom"]["secretKeyRef"]["name"] == "dpp-secrets"
    assert env["DAGSTER_HOME"]["value"] == "/opt/dagster/home"
    assert container["envFrom"] == [{"configMapRef": {"name": "ses-feedback-config"}}]
    assert launcher.check_run_worker_health(launched).status is WorkerStatus.RUNNING
    said = launcher.get_run_worker_debug_info(launched) or ""
    assert "Failure fetching" not in said  # it may read logs and events
    anything: RunLauncher[dg.DagsterInstance] = launcher
    assert anything.terminate(launched.run_id)
    for gone in (f"job/{name}", f"pod/{pod['metadata']['name']}"):
        call("wait", "--for=delete", gone, "-n", NAMESPACE, "--timeout=60s")
    health = launcher.check_run_worker_health(launched)
    assert health.status is WorkerStatus.UNKNOWN
    assert "could not be found" in (health.msg or "")


def _pod(job: str) -> Manifest:
    for _ in range(60):
        words = ["get", "pods", "-n", NAMESPACE, "-l", f"job-name={job}", "-o", "json"]
        if found := json.loads(call(*words))["items"]:
            pod: Manifest = found[0]
            return pod
        time.sleep(0.5)
    pytest.fail("the job has got no pod: what does `kubectl describe job` say?")


def test_the_daemons_token_reads_no_secret(kubeconfig: Path) -> None:
    words = ["--kubeconfig", str(kubeconfig), "get"]
    call(*words, "pods")  # the token is taken
    refused = subprocess.run(
        [kubectl(), *words, "secret", "dpp-secrets"], capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "is forbidden" in refused.stderr


def test_the_namespace_refuses_an_open_pod() -> None:
    if server_version() < (1, 25):
        pytest.skip("Pod Security came with Kubernetes 1.23, and for good with 1.25")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "open", "namespace": NAMESPACE},
        "spec": {"containers": [{"name": "open", "image": "busybox"}]},
    }
    refused = subprocess.run(
        [kubectl(), "create", "--dry-run=server", "-f", "-"],
        input=json.dumps(pod),
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode != 0
    assert "violates PodSecurity" in refused.stderr


def test_deleting_leaves_nothing(applied: list[Manifest]) -> None:
    """The last one: afterwards there is no namespace, and nothing outside of it was made."""
    outside = [m["kind"] for m in applied if "namespace" not in m["metadata"]]
    assert outside == ["Namespace"]
    call("delete", "--wait", "--timeout=180s", "-f", "-", stdin=yaml.safe_dump_all(applied))
    assert not call("get", "namespace", NAMESPACE, "--ignore-not-found")
