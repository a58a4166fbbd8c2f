"""requirements/: what pip may install into the image, hash by hash."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from typing import TYPE_CHECKING

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply_chain import pins

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = tomllib.loads((pins.ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
IMAGE = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["kubernetes"]]
ENVIRONMENT = {
    **{name: str(value) for name, value in default_environment().items()},
    "python_version": "3.11",
    "python_full_version": "3.11.16",
    "sys_platform": "linux",
}


def of_constraints() -> dict[str, str]:
    """The versions of constraints.txt."""
    lines = [line for line in pins.CONSTRAINTS.read_text().splitlines() if line[0] != "#"]
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}


def needed(requirements: list[str]) -> set[str]:
    """All that these need on the image's Python, by what the installed packages say."""
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(line), "") for line in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        marker = requirement.marker
        if marker is not None and not marker.evaluate(ENVIRONMENT | {"extra": extra}):
            continue
        for wanted in ["", *requirement.extras]:
            key = (canonicalize_name(requirement.name), wanted)
            if key not in found:
                found.add(key)
                requires = metadata.requires(requirement.name) or []
                waiting += [(Requirement(line), wanted) for line in requires]
    return {name for name, _ in found}


def test_the_image_gets_the_versions_that_were_tested() -> None:
    assert {name: version for name, (version, _) in pins.read(pins.IMAGE).items()}.items() <= (
        of_constraints().items()
    )


@pytest.mark.skipif(
    not sys.version.startswith(pins.PYTHON), reason="another Python has other packages installed"
)
def test_the_image_gets_all_that_it_needs_and_nothing_else() -> None:
    """`make constraints` writes both files; a new dependency without it fails here."""
    assert pins.read(pins.IMAGE).keys() == needed(IMAGE)


def test_the_package_is_built_with_pinned_packages_too() -> None:
    names = {
        canonicalize_name(Requirement(line).name) for line in SETTINGS["build-system"]["requires"]
    }
    assert names <= pins.read(pins.BUILD).keys()


@pytest.mark.parametrize("path", [pins.IMAGE, pins.BUILD])
def test_each_version_has_a_hash(path: Path) -> None:
    for name, (_, digests) in pins.read(path).items():
        assert digests, name
        assert len(digests) == len(set(digests))


@pytest.mark.parametrize(
    "line", ["yarl>=1", "yarl==1.25.1", "yarl==1.25.1 --hash=md5:00", "--pre", "-r x"]
)
def test_a_line_without_a_hash_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "image.txt"
    path.write_text(f"# a comment\n{line}\n")
    with pytest.raises(ValueError, match="no version with hashes"):
        pins.read(path)


def wheel(folder: Path, content: str) -> Path:
    """A wheel of one module, as a package index would hand it out."""
    path = folder / "parcel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("parcel.py", content)
        archive.writestr("parcel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        about = "Metadata-Version: 2.1\nName: parcel\nVersion: 1.0\n"
        archive.writestr("parcel-1.0.dist-info/METADATA", about)
        archive.writestr("parcel-1.0.dist-info/RECORD", "")
    return path


def test_pip_refuses_a_wheel_that_was_changed(tmp_path: Path) -> None:
    """With the options of the Dockerfile, and a folder for a package index."""
    options = re.findall(
        r"(--no-deps --only-binary :all: --require-hashes) -r requirements/image.txt",
        (pins.ROOT / "Dockerfile").read_text(),
    )
    (line,) = options
    digest = hashlib.sha256(wheel(tmp_path, "good = True").read_bytes()).hexdigest()
    requirements = tmp_path / "image.txt"
    requirements.write_text(f"parcel==1.0 --hash=sha256:{digest}\n")
    pip = [sys.executable, "-m", "pip", "--isolated", "install", "--no-index", *line.split()]
    pip += ["--find-links", str(tmp_path), "-r", str(requirements)]

    def install(target: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*pip, "--target", str(tmp_path / target)], capture_output=True, text=True, check=False
        )

    good = install("good")
    assert (good.returncode, (tmp_path / "good/parcel.py").exists()) == (0, True), good.stderr
    wheel(tmp_path, "good = False")
    changed = install("changed")
    assert changed.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in changed.stderr
    assert not (tmp_path / "changed").exists()


def test_the_dockerfile_installs_nothing_without_a_hash() -> None:
    """Neither a dependency, nor what builds our own wheel; for that pip may fetch nothing."""
    text = (pins.ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    calls = re.findall(r"\bpip (?:install|wheel|download) [^&\n]*", text)
    assert len(calls) == 4
    for call in calls:
        assert "--require-hashes" in call or {"--no-index", "--no-deps"} <= set(call.split()), call
