"""Runs as pods: the real K8sRunLauncher and code server against a stand-in of the Kubernetes API.

The command that a run's pod would start is started here.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import yaml
from dagster._core.launcher.base import WorkerStatus
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
from dagster_k8s import K8sRunLauncher
from dagster_k8s.client import DagsterK8sUnrecoverableAPIError

from dpp_feedback_tests.k8s.conftest import IMAGE
from dpp_feedback_tests.k8s.rendering import containers, instance_files, overlay

if TYPE_CHECKING:
    import psycopg

    from dpp_feedback_tests.k8s.conftest import Cluster


def test_a_run_is_a_job_with_the_account_settings_and_closed_pod_of_the_manifests(
    cluster: Cluster,
) -> None:
    run = cluster.launch()
    job = cluster.job(run)
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600
    assert job["spec"]["backoffLimit"] == 0
    longest = cluster.instance.run_monitoring_max_runtime_seconds
    assert job["spec"]["activeDeadlineSeconds"] > longest + 330  # Dagster ends it first
    pod = job["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "decisionproof-ses-feedback-sa"
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["envFrom"] == [{"configMapRef": {"name": "ses-feedback-config"}}]
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    # Longer than the hook that holds SIGTERM back until the batch is done.
    hook = container["lifecycle"]["preStop"]["exec"]["command"]
    assert hook[0] == "sleep"
    assert pod["terminationGracePeriodSeconds"] > int(hook[1])
    # What the code server has by its manifest, the run has too.
    (server,) = [c for name, _, c in containers(overlay("production")) if "worker" in name]
    of_server = {e["name"] for e in server["env"]} - {"DAGSTER_CURRENT_IMAGE"}
    assert of_server <= {e["name"] for e in container["env"]}
    # No value of a secret is in the job: whoever may read jobs reads none.
    assert cluster.settings["DATABASE_URL"] not in json.dumps(job)
    assert not {"password", "unused"} & set(json.dumps(job).split('"'))


def test_the_command_of_the_pod_drains_the_queue(
    cluster: Cluster, database: psycopg.Connection[tuple[Any, ...]], sqs: Any
) -> None:
    body = (Path(__file__).parents[1] / "payloads" / "notification_bounce.json").read_text()
    sqs.send_message(QueueUrl=cluster.settings["SQS_QUEUE_URL"], MessageBody=body)
    run = cluster.launch()
    (container,) = cluster.job(run)["spec"]["template"]["spec"]["containers"]
    # As in the pod: DAGSTER_HOME is not mounted there, the instance comes with the command.
    shutil.rmtree(cluster.settings["DAGSTER_HOME"])
    cluster.run(container["args"])
    ended = cluster.instance.get_run_by_id(run.run_id)
    assert ended
    assert ended.status is dg.DagsterRunStatus.SUCCESS
    stored = database.execute("SELECT count(*) FROM public.ses_feedback_events").fetchone()
    assert stored
    assert stored[0] > 0
    cluster.api.pod_phase = "Succeeded"
    health = cluster.instance.run_launcher.check_run_worker_health(ended)
    assert health.status is WorkerStatus.SUCCESS


def test_the_daemons_role_allows_exactly_what_the_launcher_calls(cluster: Cluster) -> None:
    launcher = cluster.instance.run_launcher
    assert isinstance(launcher, K8sRunLauncher)
    run = cluster.launch()
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    assert "the last line of the log" in (launcher.get_run_worker_debug_info(run) or "")
    assert cluster.terminate(run)
    assert not cluster.api.jobs
    assert not cluster.api.pods  # deleted one by one: deleting the job does not
    assert "Could not find job" in (launcher.get_run_worker_debug_info(run) or "")
    assert cluster.api.calls == cluster.api.allowed


def test_a_right_that_is_missing_is_seen(cluster: Cluster) -> None:
    cluster.api.allowed.discard(("", "pods", "delete"))
    run = cluster.launch()
    assert not cluster.terminate(run)
    logs = [event.message for event in cluster.instance.all_logs(run.run_id)]
    assert any("encountered error in delete_job" in message for message in logs)


def test_a_job_that_is_gone_is_unknown_and_its_termination_fails_with_a_sentence(
    cluster: Cluster,
) -> None:
    run = cluster.launch()
    cluster.api.jobs.clear()
    cluster.api.pods.clear()
    health = cluster.instance.run_launcher.check_run_worker_health(run)
    assert health.status is WorkerStatus.UNKNOWN
    assert "could not be found" in (health.msg or "")
    assert cluster.terminate(run) is False


def test_a_run_is_never_launched_twice(cluster: Cluster) -> None:
    run = cluster.launch()
    with pytest.raises(DagsterK8sUnrecoverableAPIError) as refused:
        cluster.instance.launch_run(run.run_id, cluster.workspace.create_request_context())
    assert getattr(refused.value.k8s_api_exception, "status", None) == 409


def test_a_server_that_throttles_fails_the_run_at_once(cluster: Cluster) -> None:
    """Dagster does not wait and try again; the sensor does, and says when."""
    cluster.api.throttled = True
    run = cluster.launch()
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert not cluster.api.jobs
    said = " ".join(
        event.dagster_event.engine_event_data.error.to_string()
        for event in cluster.instance.all_logs(run.run_id)
        if event.dagster_event
        and event.dagster_event.is_engine_event
        and event.dagster_event.engine_event_data.error
    )
    assert "429" in said


def test_monitoring_fails_a_run_whose_pod_is_lost_and_it_is_tried_once_more(
    cluster: Cluster,
) -> None:
    run = cluster.launch()
    as_its_pod_would_say = dg.DagsterEvent("PIPELINE_START", run.job_name)
    cluster.instance.report_dagster_event(as_its_pod_would_say, run_id=run.run_id)
    cluster.api.pod_phase = "Failed"
    logger = logging.getLogger("monitoring")
    assert not [e for e in execute_run_monitoring_iteration(cluster.workspace, logger) if e]
    failed = cluster.instance.get_run_by_id(run.run_id)
    assert failed
    assert failed.status is dg.DagsterRunStatus.FAILURE
    assert failed.tags["dagster/will_retry"] == "true"


def test_a_runs_tags_cannot_change_its_account_or_its_volumes(cluster: Cluster) -> None:
    run = cluster.launch()
    pod = {"pod_spec_config": {"service_account_name": "decisionproof-ses-feedback-daemon-sa"}}
    cluster.instance.add_run_tags(run.run_id, {"dagster-k8s/config": json.dumps(pod)})
    tagged = cluster.instance.get_run_by_id(run.run_id)
    assert tagged
    launcher = cluster.instance.run_launcher
    assert isinstance(launcher, K8sRunLauncher)
    with pytest.raises(Exception, match="violated the allowed list"):
        launcher.get_container_context_for_run(tagged)


def test_the_laptops_workspace_and_the_clusters_name_the_same_code_location() -> None:
    ours = yaml.safe_load(instance_files(overlay("production"))["workspace.yaml"])
    laptops = yaml.safe_load((Path(__file__).parents[2] / "workspace.yaml").read_text())
    name = laptops["load_from"][0]["python_module"]["location_name"]
    assert ours["load_from"][0]["grpc_server"]["location_name"] == name
