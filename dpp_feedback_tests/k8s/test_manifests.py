"""The rendered manifests: what a server would refuse, and what nobody should run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes_validate import (  # type: ignore[import-untyped]
    ValidationError,
    latest_version,
    validate,
)
from kubernetes_validate.utils import all_versions  # type: ignore[import-untyped]
from packaging.version import Version

from dpp_feedback.queue import DEFAULT_REGION
from dpp_feedback_tests.k8s.rendering import (
    COMPONENTS,
    K8S,
    OVERLAYS,
    Manifest,
    containers,
    instance_files,
    of_kind,
    overlay,
    with_component,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# One schema in three, and the newest: they differ little, and each takes seconds.
VERSIONS = sorted({*list(dict.fromkeys(all_versions()))[::3], latest_version()}, key=Version)
# What YAML 1.1, which servers read, takes for a boolean; a client may take it for a text.
BOOLEANS = re.compile(r"(?i)(y|yes|n|no|on|off)")
# Kinds of operators that a cluster may lack: no schema of Kubernetes knows them.
FOREIGN = {"SecretStore", "ExternalSecret"}
# Of the secret, each marked as optional where it is read.
OPTIONAL = {"SES_FEEDBACK_SLACK_WEBHOOK_URL", "SES_FEEDBACK_REJECT_KEY"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OVERLAYS)
def test_each_version_of_kubernetes_takes_each_overlay(name: str, version: str) -> None:
    for manifest in overlay(name):
        validate(manifest, version, strict=True)


@pytest.mark.parametrize("name", COMPONENTS)
def test_each_component_fits_into_production(name: str, tmp_path: Path) -> None:
    added = [m for m in with_component(name, tmp_path) if m not in overlay("production")]
    assert added
    for manifest in added:
        if manifest["kind"] not in FOREIGN:
            for version in (VERSIONS[0], VERSIONS[-1]):
                validate(manifest, version, strict=True)


def test_the_validation_is_strict() -> None:
    (manifest,) = [m for m in overlay("production") if m["kind"] == "Role"]
    with pytest.raises(ValidationError):
        validate(manifest | {"rulez": []}, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("path", sorted(K8S.rglob("*.yaml")), ids=lambda p: str(p.relative_to(K8S)))
def test_no_plain_word_is_a_boolean_to_the_server_alone(path: Path) -> None:
    words = [
        token.value
        for token in yaml.scan(path.read_text())
        if isinstance(token, yaml.ScalarToken) and token.plain
    ]
    assert words
    assert not [word for word in words if BOOLEANS.fullmatch(word)]


@pytest.mark.parametrize("name", OVERLAYS)
def test_labels_annotations_and_settings_are_texts(name: str) -> None:
    for manifest in overlay(name):
        metadata = [manifest["metadata"]]
        if manifest["kind"] == "Deployment":
            metadata.append(manifest["spec"]["template"]["metadata"])
        maps = [entry.get(field, {}) for entry in metadata for field in ("labels", "annotations")]
        if manifest["kind"] == "ConfigMap":
            maps.append(manifest["data"])
        assert all(isinstance(value, str) for found in maps for value in found.values())


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_pod_is_closed(name: str) -> None:
    found = list(containers(overlay(name)))
    assert len(found) >= 3
    for deployment, pod, container in found:
        shared = pod["securityContext"]
        assert shared["runAsNonRoot"] is True
        assert shared["runAsUser"] >= (10001 if deployment.startswith("ses-feedback") else 1)
        assert shared["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            assert not pod.get(field)
        assert not [v for v in pod["volumes"] if "hostPath" in v]
        assert {"cpu", "memory"} == set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        assert container.get("readinessProbe") or container.get("livenessProbe")


@pytest.mark.parametrize("name", OVERLAYS)
def test_only_the_daemon_has_a_token_and_only_it_has_a_right(name: str) -> None:
    manifests = overlay(name)
    accounts = of_kind(manifests, "ServiceAccount")
    assert all(a["automountServiceAccountToken"] is False for a in accounts.values())
    pods = {deployment: pod for deployment, pod, _ in containers(manifests)}
    with_token = [n for n, pod in pods.items() if pod["automountServiceAccountToken"]]
    assert with_token == ["ses-feedback-daemon"]
    (binding,) = of_kind(manifests, "RoleBinding").values()
    account = pods["ses-feedback-daemon"]["serviceAccountName"]
    namespace = binding["metadata"]["namespace"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    ]
    assert not of_kind(manifests, "ClusterRoleBinding")
    (role,) = of_kind(manifests, "Role").values()
    assert not [rule for rule in role["rules"] if "*" in str(rule) or "secrets" in str(rule)]


def test_only_the_code_server_and_the_runs_have_an_aws_role() -> None:
    accounts = of_kind(overlay("production"), "ServiceAccount")
    annotated = {
        n: a["metadata"]["annotations"]
        for n, a in accounts.items()
        if "annotations" in a["metadata"]
    }
    role = (K8S / "overlays/production/irsa.env").read_text().strip().removeprefix("ROLE_ARN=")
    assert annotated == {"decisionproof-ses-feedback-sa": {"eks.amazonaws.com/role-arn": role}}
    assert not of_kind(overlay("production"), "Secret")
    assert not [
        a
        for a in of_kind(overlay("local"), "ServiceAccount").values()
        if "annotations" in a["metadata"]
    ]


@pytest.mark.parametrize("name", OVERLAYS)
def test_whatever_is_named_is_there(name: str) -> None:
    manifests = overlay(name)
    launcher = yaml.safe_load(instance_files(manifests)["dagster.yaml"])["run_launcher"]["config"]
    accounts = {pod["serviceAccountName"] for n, pod, _ in containers(manifests) if "ses" in n}
    accounts.add(launcher["service_account_name"])
    assert accounts == set(of_kind(manifests, "ServiceAccount"))
    maps = set(launcher["env_config_maps"])
    for _, pod, container in containers(manifests):
        maps |= {e["configMapRef"]["name"] for e in container.get("envFrom", [])}
        maps |= {v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v}
    assert maps <= set(of_kind(manifests, "ConfigMap"))
    for service in of_kind(manifests, "Service").values():
        labels = [
            d["spec"]["template"]["metadata"]["labels"]
            for d in of_kind(manifests, "Deployment").values()
        ]
        assert [one for one in labels if service["spec"]["selector"].items() <= one.items()]


def _secret_keys(node: Any) -> Iterator[tuple[str, bool]]:
    """Key of the secret, and whether it may be absent."""
    if isinstance(node, dict):
        for name in ("secretKeyRef", "secret_key_ref"):
            if name in node:
                assert node[name]["name"] == "dpp-secrets"
                yield node[name]["key"], node[name].get("optional", False)
        for value in node.values():
            yield from _secret_keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from _secret_keys(value)


def test_credentials_come_from_the_secret_and_each_pod_takes_only_its_own() -> None:
    manifests = overlay("production")
    instance = yaml.safe_load(instance_files(manifests)["dagster.yaml"])
    taken = {name: dict(_secret_keys(container)) for name, _, container in containers(manifests)}
    taken["run"] = dict(_secret_keys(instance["run_launcher"]))
    dagsters = {f"DAGSTER_POSTGRES_{word}" for word in ("HOST", "USER", "PASSWORD", "DB")}
    assert set(taken["ses-feedback-webserver"]) == dagsters
    assert set(taken["ses-feedback-daemon"]) == dagsters
    assert set(taken["run"]) == dagsters | {"DATABASE_URL"} | OPTIONAL
    assert set(taken["ses-feedback-worker"]) <= set(taken["run"])
    for keys in taken.values():
        assert {key for key, optional in keys.items() if optional} == OPTIONAL & set(keys)


def test_the_image_of_the_code_server_is_the_image_of_the_runs() -> None:
    for name in OVERLAYS:
        (server,) = [c for n, _, c in containers(overlay(name)) if n == "ses-feedback-worker"]
        env = {e["name"]: e.get("value") for e in server["env"]}
        assert env["DAGSTER_CURRENT_IMAGE"] == server["image"]
        assert re.fullmatch(r"\S+:(?!latest)\S+", server["image"])


def test_the_namespace_itself_refuses_an_open_pod() -> None:
    for name in OVERLAYS:
        (namespace,) = of_kind(overlay(name), "Namespace").values()
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        inside = {m["metadata"].get("namespace") for m in overlay(name)} - {None}
        assert inside == {namespace["metadata"]["name"]}


def test_the_settings_are_the_products() -> None:
    data = of_kind(overlay("production"), "ConfigMap")["ses-feedback-config"]["data"]
    assert data["AWS_REGION"] == DEFAULT_REGION
    assert {"SQS_QUEUE_URL", "SQS_DLQ_URL", "SNS_BOUNCE_ARN", "SNS_COMPLAINT_ARN"} <= set(data)
    assert not {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "DATABASE_URL"} & set(data)


def test_every_budget_and_spread_selects_pods() -> None:
    manifests = overlay("production")
    labels = [
        d["spec"]["template"]["metadata"]["labels"]
        for d in of_kind(manifests, "Deployment").values()
    ]
    labels.append({"app.kubernetes.io/component": "run_worker"})  # dagster_k8s's; see test_launcher
    for budget in of_kind(manifests, "PodDisruptionBudget").values():
        selector = budget["spec"]["selector"]["matchLabels"]
        assert [one for one in labels if selector.items() <= one.items()]
    for deployment in of_kind(manifests, "Deployment").values():
        (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        selector = spread["labelSelector"]["matchLabels"]
        assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def _manifest(name: str, kind: str) -> Manifest:
    return of_kind(overlay("production"), kind)[name]


def test_there_are_never_two_daemons() -> None:
    spec = _manifest("ses-feedback-daemon", "Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
