"""No key in the repository, in the image's context, or in what is rendered from k8s/."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from dpp_feedback_tests.k8s.rendering import OVERLAYS, ROOT, overlay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What keys look like, and how long they are. AWS documents the prefixes of its access key ids.
PATTERNS = {
    "AWS access key id": re.compile(r"(?<![A-Z0-9])(AKIA|ASIA)[A-Z2-7]{16}(?![A-Z0-9])"),
    "AWS secret access key": re.compile(
        r"(?i)aws.{0,20}?(secret|session).{0,20}?['\"=: ]+[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"
    ),
    "private key": re.compile(r"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----"),
    "Slack webhook": re.compile(r"hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/\w{20,}"),
    "JSON web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}"),
    "password in a URL": re.compile(
        r"postgres(?:ql)?://[\w.-]+:(?=[^@\s]*\d)[^\s@/'\"<>{}$]{12,}@[\w.-]+"
    ),
}


def keys_in(text: str) -> list[str]:
    """Names of what looks like a key; never the key itself, which would end up in a log."""
    return [name for name, pattern in PATTERNS.items() if pattern.search(text)]


def _git() -> str:
    return shutil.which("git") or pytest.skip("needs git")


def _files(root: Path) -> Iterator[Path]:
    """What git knows or would add: an image's context can hold no more that is not ignored."""
    listed = subprocess.run(
        [_git(), "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (root / name).is_file():
            yield root / name


def scan(root: Path) -> dict[str, list[str]]:
    """Look into every file of a git work tree: name of the file, what was found in it."""
    found = {}
    for path in _files(root):
        if keys := keys_in(path.read_bytes().decode(errors="replace")):
            found[str(path.relative_to(root))] = keys
    return found


def test_the_repository_holds_no_key() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: git tells which files belong to it")
    assert scan(ROOT) == {}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_manifests_hold_no_key(name: str) -> None:
    manifests = overlay(name)
    assert keys_in(yaml.safe_dump_all(manifests)) == []
    for manifest in manifests:
        for value in (manifest.get("data") or {}).values() if manifest["kind"] == "Secret" else ():
            assert keys_in(base64.b64decode(value).decode()) == []


# In pieces, so that this file is not found itself.
PLANTED = {
    "AWS access key id": "AKIA" + "IOSFODNN7EXAMPLE",
    "AWS secret access key": "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI" + "/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "Slack webhook": "https://hooks.slack.com/services/" + "T00000000/B00000000/" + "X" * 24,
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0In0." + "c2lnbmF0dXJlLXBhcnQ",
    "GitHub token": "ghp_" + "a" * 36,
    "password in a URL": "postgresql://app:" + "c0rrect-horse-battery" + "@db.example.com/dpp",
}


@pytest.mark.parametrize("name", PLANTED)
def test_the_scan_finds_a_key_that_is_planted(name: str, tmp_path: Path) -> None:
    subprocess.run([_git(), "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "settings.yaml").write_text(f"a: b\nkey: {PLANTED[name]}\n")
    (tmp_path / "harmless.yaml").write_text("key: from the secret dpp-secrets\n")
    assert scan(tmp_path) == {"settings.yaml": [name]}


def test_every_pattern_has_its_plant() -> None:
    assert set(PATTERNS) == set(PLANTED)
