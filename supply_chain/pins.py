"""`python -m supply_chain.pins`: requirements/image.txt and build.txt, with a hash for each wheel.

uv resolves within constraints.txt, once for each architecture; what it finds is written without the
addresses, since each machine has a package index of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
IMAGE = ROOT / "requirements/image.txt"
BUILD = ROOT / "requirements/build.txt"
# The Dockerfile's base: CPython 3.11 on Debian 12, whose glibc is 2.36.
PYTHON = "3.11"
PLATFORMS = ("x86_64-manylinux_2_36", "aarch64-manylinux_2_36")

_EXTRA = "kubernetes"
_PIN = re.compile(r"^(\S+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
_ABOUT = {
    IMAGE: "What the image installs, and nothing else",
    BUILD: "What builds the image's own wheel, outside of the image",
}


def read(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Versions and SHA-256 digests, in hexadecimal, by normalised name.

    Raises:
        ValueError: a line of the file is neither a comment nor a version with its hashes.
    """
    text = path.read_text()
    rest = re.sub(r"^#.*\n", "", _PIN.sub("", text), flags=re.MULTILINE)
    if rest.strip():
        raise ValueError(f"{path.name}: no version with hashes: {rest.strip().splitlines()[0]}")
    return {
        name: (version, re.findall(r"[0-9a-f]{64}", hashes))
        for name, version, hashes in _PIN.findall(text)
    }


def resolved(requirements: list[str], platform: str) -> list[dict[str, Any]]:
    """The packages of a pylock.toml (PEP 751) with wheels for one platform, and no others.

    Raises:
        subprocess.CalledProcessError: uv finds no such wheels; it has told why.
    """
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--no-build"]
    uv += ["--format", "pylock.toml", "--python-version", PYTHON, "--python-platform", platform]
    done = subprocess.run(
        [*uv, "--constraint", str(CONSTRAINTS), "-"],
        input="\n".join(requirements),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return list(tomllib.loads(done.stdout)["packages"])


def write(path: Path, requirements: list[str]) -> None:
    """Resolve for each platform, and write what all of them need.

    Raises:
        subprocess.CalledProcessError: as `resolved`.
    """
    pins: dict[tuple[str, str], set[str]] = {}
    for platform in PLATFORMS:
        for package in resolved(requirements, platform):
            hashes = {wheel["hashes"]["sha256"] for wheel in package["wheels"]}
            name = str(canonicalize_name(package["name"]))
            pins.setdefault((name, package["version"]), set()).update(hashes)
    lines = [f"# {_ABOUT[path]}. Written by `make constraints`,"]
    lines += ["# from pyproject.toml and constraints.txt, so that it names no address either."]
    lines += ["# Wheels for Python 3.11 on Linux, x86_64 and aarch64; no other file is accepted."]
    for (name, version), hashes in sorted(pins.items()):
        lines.append(" \\\n    ".join([f"{name}=={version}", *_options(hashes)]))
    path.write_text("\n".join(lines) + "\n")


def _options(hashes: set[str]) -> list[str]:
    return [f"--hash=sha256:{digest}" for digest in sorted(hashes)]


def main() -> None:
    """Write both files."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = settings["project"]
    write(IMAGE, [*project["dependencies"], *project["optional-dependencies"][_EXTRA]])
    write(BUILD, settings["build-system"]["requires"])
    click.echo(f"{len(read(IMAGE))} packages in {IMAGE.name}, {len(read(BUILD))} in {BUILD.name}")


if __name__ == "__main__":
    main()
