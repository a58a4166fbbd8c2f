"""kubectl as the administrator of a real cluster, and what an old server needs."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from dpp_feedback_tests.k8s.rendering import kubectl

if TYPE_CHECKING:
    from dpp_feedback_tests.k8s.rendering import Manifest


def call(*arguments: str, stdin: str = "", check: bool = True) -> str:
    """Run kubectl as the administrator."""
    ended = subprocess.run(
        [kubectl(), *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    if check:
        assert ended.returncode == 0, ended.stderr
    return ended.stdout


def server_version() -> tuple[int, int]:
    said = json.loads(call("version", "-o", "json"))["serverVersion"]
    return int(said["major"]), int(said["minor"].rstrip("+"))


def for_an_old_server(manifests: list[Manifest], version: tuple[int, int]) -> list[Manifest]:
    """Put what a server from before 1.24 does not know into its words; a copy."""
    adapted: list[Manifest] = json.loads(json.dumps(manifests))
    for manifest in adapted:
        if version < (1, 21) and manifest["kind"] == "PodDisruptionBudget":
            manifest["apiVersion"] = "policy/v1beta1"
        if version < (1, 24) and manifest["kind"] == "Deployment":
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    if port := container.get(probe, {}).pop("grpc", {}).get("port"):
                        container[probe]["tcpSocket"] = {"port": port}
    return adapted


def lost_of(asked: Any, stored: Any, path: str = "") -> list[str]:
    """Paths of what was asked for and is not there: pruned as unknown, or changed."""
    if isinstance(asked, dict) and isinstance(stored, dict):
        return [
            gone
            for key, value in asked.items()
            if not (value in ({}, [], None) and key not in stored)
            for gone in lost_of(value, stored.get(key), f"{path}.{key}")
        ]
    if isinstance(asked, list) and isinstance(stored, list) and len(asked) == len(stored):
        pairs = zip(asked, stored, strict=True)
        return [gone for n, (a, s) in enumerate(pairs) for gone in lost_of(a, s, f"{path}[{n}]")]
    return [] if asked == stored else [path]
