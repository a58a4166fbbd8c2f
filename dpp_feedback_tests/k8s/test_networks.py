"""Who may talk to whom, by the rendered manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from dpp_feedback_tests.k8s.rendering import of_kind, overlay, with_component

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_goes_in_and_out_unless_a_policy_says_so() -> None:
    policies = of_kind(overlay("production"), "NetworkPolicy")
    assert policies["default-deny"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    inward = [n for n, p in policies.items() if p["spec"].get("ingress")]
    assert inward == ["code-server"]  # none to the webserver: it is read by port-forward
    ports = {
        port["port"]
        for policy in policies.values()
        for rule in policy["spec"].get("egress", [])
        for port in rule["ports"]
    }
    assert ports == {53, 443, 4000, 5432, 6443, 6543}
    assert "webserver" not in str(policies["aws"])
    assert "webserver" not in str(policies["api-server"])
    assert not of_kind(overlay("production"), "Ingress")
    assert list(of_kind(overlay("production"), "Service")) == ["ses-feedback-worker"]


def test_the_ingress_lets_nobody_in_without_a_sign_in(tmp_path: Path) -> None:
    (ingress,) = of_kind(with_component("ingress", tmp_path), "Ingress").values()
    said = {k.rpartition("/")[2]: v for k, v in ingress["metadata"]["annotations"].items()}
    assert said["auth-type"] == "oidc"
    assert said["auth-on-unauthenticated-request"] == "authenticate"
    assert said["scheme"] == "internal"
    assert 'HTTP"' not in said["listen-ports"]
    oidc = yaml.safe_load(said["auth-idp-oidc"])
    assert oidc["issuer"].startswith("https://")
