"""The workflows of GitHub: what they may do, and whose code they run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*"))
ACTION = re.compile(r"^(actions|aws-actions)/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
# What a job may do besides reading the repository.
MAY = {("image.yml", "image"): {"id-token": "write", "attestations": "write"}}


def load(path: Path) -> dict[Any, Any]:
    return dict(yaml.safe_load(path.read_text()))


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in load(path)["jobs"].values() for step in job["steps"]]


def zizmor(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--no-progress"]
    command += ["--strict-collection", "--persona", "auditor", "--format", "json", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_there_are_the_three() -> None:
    assert [path.name for path in WORKFLOWS] == ["audit.yml", "ci.yml", "image.yml"]


def test_zizmor_finds_nothing() -> None:
    said = zizmor(ROOT / ".github")
    assert (said.returncode, json.loads(said.stdout)) == (0, []), said.stdout


@pytest.mark.parametrize(
    ("was", "becomes", "rule"),
    [
        ("  pull_request:", "  pull_request_target:", "dangerous-triggers"),
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", "unpinned-uses"),
        ("persist-credentials: false", "fetch-depth: 1", "artipacked"),
        ("run: .ci/run", "run: echo ${{ github.head_ref }}", "template-injection"),
        ("permissions: {}\n", "permissions: write-all\n", "excessive-permissions"),
    ],
)
def test_zizmor_sees_what_it_is_there_for(
    tmp_path: Path, was: str, becomes: str, rule: str
) -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    assert was in text
    changed = tmp_path / ".github/workflows/ci.yml"
    changed.parent.mkdir(parents=True)
    changed.write_text(text.replace(was, becomes))
    said = zizmor(tmp_path)
    assert rule in {found["ident"] for found in json.loads(said.stdout)}, said.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_of_two_owners_and_pinned_by_its_commit(path: Path) -> None:
    uses = re.findall(r"\buses: *(.*)", path.read_text())
    assert uses
    assert [line for line in uses if not ACTION.fullmatch(line)] == []


def test_one_action_has_one_commit_everywhere() -> None:
    pinned: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for name, commit in re.findall(r"\buses: *([^@]+)@(.*)", path.read_text()):
            pinned.setdefault(name, set()).add(commit)
    assert {name: commits for name, commits in pinned.items() if len(commits) > 1} == {}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_may_read_the_repository_and_no_more_than_is_listed(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job["permissions"] == {"contents": "read"} | MAY.get((path.name, name), {})
        assert job["timeout-minutes"] <= 90
        assert job["runs-on"] == "ubuntu-24.04"
    assert workflow["concurrency"]["group"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_there_is_no_secret_and_no_trigger_with_rights_for_strangers(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\bsecrets\b|aws-access-key|aws-secret|GITHUB_TOKEN|github\.token", text)
    triggers = load(path)[True]  # YAML 1.1 takes `on` for a boolean
    assert set(triggers) <= {"push", "pull_request", "schedule"}
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", ""), "what others write would be code"


def test_only_a_tag_gets_a_login_at_aws_and_only_by_a_token() -> None:
    (path,) = [each for each in WORKFLOWS if "configure-aws-credentials" in each.read_text()]
    assert load(path)[True] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}
    (login,) = [step for step in steps(path) if "aws-actions/" in step.get("uses", "")]
    assert login["with"] == {
        "aws-region": "${{ vars.AWS_REGION }}",
        "role-to-assume": "${{ vars.ECR_ROLE_ARN }}",
    }
    job = load(path)["jobs"]["image"]
    assert f"environment:{job['environment']}" in (ROOT / "docs/runbook.md").read_text()


def test_ci_runs_what_runs_here_on_each_supported_python() -> None:
    job = load(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]
    assert job["steps"][-1] == {"run": ".ci/run"}
    named = re.findall(r"Python :: (3\.\d+)\"", (ROOT / "pyproject.toml").read_text())
    assert job["strategy"]["matrix"]["python"] == named


def test_dependabot_looks_after_packages_base_and_actions_and_waits_a_week() -> None:
    updates = load(ROOT / ".github/dependabot.yml")["updates"]
    assert [each["package-ecosystem"] for each in updates] == ["pip", "docker", "github-actions"]
    assert {each["cooldown"]["default-days"] for each in updates} == {7}
