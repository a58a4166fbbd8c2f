"""The Dockerfile and what it may copy, without building it; dpp_feedback_tests/image/ builds it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LAST_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions(name: str, text: str = DOCKERFILE) -> list[str]:
    """What follows each instruction of that name, continued lines joined."""
    joined = text.replace("\\\n", " ")
    return re.findall(rf"^{name} +(.+)$", joined, re.MULTILINE)


def copied() -> list[str]:
    """The paths that the Dockerfile copies out of the context."""
    lines = [line.split() for line in instructions("COPY") if not line.startswith("--from=")]
    return [path for *sources, _ in lines for path in sources]


def _pattern(line: str) -> re.Pattern[str]:
    """One line of .dockerignore as the builders read it: of a path, or of a folder above it."""
    words = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", line.strip("/"))
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts) + r"(?:/.*)?")


def in_context(path: str) -> bool:
    """Tell whether .dockerignore lets a file through: the last line that matches it decides."""
    through = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and _pattern(line.removeprefix("!")).fullmatch(path):
            through = line.startswith("!")
    return through


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = str(Path(sys.executable).with_name("hadolint"))
    said = subprocess.run(
        [hadolint, "--no-color", "Dockerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_the_base_is_pinned_by_tag_and_digest_and_is_the_python_that_was_tested() -> None:
    (base,) = [line for line in instructions("ARG") if line.startswith("BASE=")]
    assert re.fullmatch(r"BASE=python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    assert {line.split()[0] for line in instructions("FROM")} == {"${BASE}"}


def test_what_is_copied_is_there_and_gets_into_the_context() -> None:
    assert copied()
    for path in copied():
        assert (ROOT / path).exists()
    needed = [*(ROOT / "dpp_feedback").rglob("*.py"), *(ROOT / "migrations").glob("*.sql")]
    names = [str(path.relative_to(ROOT)) for path in needed]
    names += [path for path in copied() if (ROOT / path).is_file()]
    names += ["docs/p0_rls_ses_feedback_verify.sql"]
    assert [name for name in names if not in_context(name)] == []


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".env.production",
        ".git/config",
        ".dpp/settings.json",
        ".venv/bin/python",
        "dump.sql",
        "docs/runbook.md",
        "dpp_feedback/.env",
        "dpp_feedback/dlq/.env.local",
        "dpp_feedback/__pycache__/cli.cpython-311.pyc",
        "dpp_feedback_tests/conftest.py",
        "k8s/overlays/production/ses-feedback.env",
        "reports/2026-02-17.csv",
        "scripts/phase3_irsa.sh",
    ],
)
def test_what_may_hold_a_secret_or_is_not_needed_stays_out_of_the_context(path: str) -> None:
    assert not in_context(path)


def test_every_file_that_the_wheel_is_made_of_is_copied() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    sources = [*wheel["targets"]["wheel"]["force-include"], *wheel["targets"]["wheel"]["packages"]]
    sources += [PROJECT["readme"], *PROJECT["license-files"]]
    for source in sources:
        assert any(Path(source).is_relative_to(path) for path in copied()), source


def test_the_last_stage_installs_nothing_and_is_nobody_in_particular() -> None:
    assert not re.search(r"\b(pip|apt-get) ", "\n".join(instructions("RUN", LAST_STAGE)))
    (user,) = instructions("USER", LAST_STAGE)
    daemon = yaml.safe_load((ROOT / "k8s/base/deploy-daemon.yaml").read_text())
    security = daemon["spec"]["template"]["spec"]["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"


def test_the_image_runs_what_the_deployment_of_the_code_server_runs() -> None:
    (command,) = instructions("CMD")
    for manifest in yaml.safe_load_all(
        (ROOT / "k8s/base/deploy-ses-feedback-worker.yaml").read_text()
    ):
        if manifest["kind"] == "Deployment":
            (container,) = manifest["spec"]["template"]["spec"]["containers"]
            assert yaml.safe_load(command) == container["command"]
            (port,) = container["ports"]
            assert instructions("EXPOSE") == [str(port["containerPort"])]


def test_the_versions_agree() -> None:
    """Dagster's own parts pin each other, and production runs the version that is released here."""
    overlay = yaml.safe_load((ROOT / "k8s/overlays/production/kustomization.yaml").read_text())
    assert [image["newTag"] for image in overlay["images"]] == [PROJECT["version"]]
    core = metadata.version("dagster")
    pinned = [line for line in PROJECT["optional-dependencies"]["kubernetes"] if "==" in line]
    assert len(pinned) == 3
    for name, version in (line.split("==") for line in pinned):
        assert metadata.version(name) == version
        assert f"dagster=={core}" in (metadata.requires(name) or [])
