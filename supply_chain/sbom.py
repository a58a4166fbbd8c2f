"""`python -m supply_chain.sbom`: a CycloneDX bill of materials of what the image installs.

cyclonedx-py lists this environment, which has the image's packages in the same versions, and those
of development; the latter are left out, and each package gets the hashes of its wheels.
Debian's packages, and Python itself, are not in it: they are the base's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from supply_chain import pins

SCHEMA = SchemaVersion.V1_6


class Differs(Exception):
    """What is installed here is not what the image installs."""


def inventory() -> Bom:
    """The image's packages, with licences, dependencies, and the hashes of their wheels.

    Raises:
        Differs: a package of requirements/image.txt is not installed in that version.
    """
    bom = _environment()
    wanted = pins.read(pins.IMAGE)
    for component in list(bom.components):
        version, digests = wanted.pop(canonicalize_name(component.name), (None, []))
        if version is None:
            bom.components.discard(component)
        elif version != component.version:
            raise Differs(f"{component.name} is installed as {component.version}, not {version}.")
        else:
            hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in digests]
            component.external_references.add(
                ExternalReference(
                    type=ExternalReferenceType.DISTRIBUTION,
                    url=XsUri(str(component.purl)),
                    comment="its wheels for Linux, x86_64 and aarch64",
                    hashes=hashes,
                )
            )
    if wanted:
        raise Differs(
            f"Not installed: {', '.join(sorted(wanted))}. It takes Python {pins.PYTHON}, as the "
            "image has it, and what `make constraints` wrote."
        )
    kept = {component.bom_ref for component in bom.components}
    root = bom.metadata.component
    for dependency in list(bom.dependencies):
        if dependency.ref not in kept and (root is None or dependency.ref != root.bom_ref):
            bom.dependencies.discard(dependency)
        for other in list(dependency.dependencies):
            if other.ref not in kept:
                dependency.dependencies.discard(other)
    return bom


def render(bom: Bom) -> str:
    """JSON: for the same packages the same text, so without a time and a random number."""
    content = json.loads(make_outputter(bom, OutputFormat.JSON, SCHEMA).output_as_string())
    content.pop("serialNumber", None)
    content["metadata"].pop("timestamp", None)
    return json.dumps(content, indent=2) + "\n"


def validated(text: str) -> str:
    """The text itself. Takes some seconds.

    Raises:
        ValueError: it is not valid by CycloneDX's schema.
    """
    fault = JsonStrictValidator(SCHEMA).validate_str(text)
    if fault is not None:
        raise ValueError(f"Not CycloneDX {SCHEMA.to_version()}: {fault}")
    return text


def _environment() -> Bom:
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "environment"]
    command += ["--pyproject", str(pins.ROOT / "pyproject.toml"), "--output-reproducible"]
    command += ["--spec-version", SCHEMA.to_version(), "--output-format", "JSON", "--no-validate"]
    command += [sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Bom.from_json(json.loads(done.stdout))  # type: ignore[attr-defined, no-any-return]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def main(path: Path) -> None:
    """Write the bill of materials to PATH."""
    bom = inventory()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(validated(render(bom)))
    click.echo(f"{len(bom.components)} packages in {path}")


if __name__ == "__main__":
    main()
