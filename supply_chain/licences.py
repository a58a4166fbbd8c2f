"""`python -m supply_chain.licences`: docs/licences.md, and an error where a licence is not allowed.

Licences are those that the packages declare, as CycloneDX's tool reads them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from supply_chain import pins
from supply_chain.sbom import inventory

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component

PAGE = pins.ROOT / "docs/licences.md"

# Of SPDX, but for BSD: a classifier that does not say which. All of them permit the same.
ALLOWED = {
    *(
        "0BSD",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-0",
    ),
    *("MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Zlib"),
}
EXCEPTIONS = {
    "psycopg": "imported as it comes, and anybody can put another version in its place",
    "psycopg-binary": "as psycopg; its libpq and OpenSSL are permissive",
    "psycopg2-binary": "as psycopg; Dagster's storage in Postgres needs it. Never used by our code",
}
# Where a package has neither a licence expression nor a classifier: what its metadata say.
IN_WORDS = {"antlr4-python3-runtime": "BSD", "protobuf": "BSD-3-Clause"}

_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}


class NotAllowed(Exception):
    """A licence that nobody has looked at yet."""


def declared(component: Component) -> str:
    """One expression of SPDX's identifiers; empty where nothing is declared."""
    found = []
    for licence in component.licenses:
        text = getattr(licence, "value", None) or licence.id or licence.name or ""
        text = _CLASSIFIERS.get(text.rpartition(" :: ")[2], text)
        if text not in found:
            found.append(text)
    return " AND ".join(sorted(found)) or IN_WORDS.get(component.name, "")


def check(licences: dict[str, str]) -> None:
    """Refuse what is neither allowed nor an exception with a reason, and exceptions of no use.

    Args:
        licences: an expression by package.

    Raises:
        NotAllowed: with each package and its licence.
    """
    others = {
        name: expression or "no licence"
        for name, expression in licences.items()
        if not ALLOWED.issuperset(re.split(r" AND | OR ", re.sub(r"[()]", "", expression)))
    }
    new = [f"{name} ({others[name]})" for name in sorted(others.keys() - EXCEPTIONS.keys())]
    if new:
        raise NotAllowed(f"Not in ALLOWED, nor in EXCEPTIONS with a reason: {', '.join(new)}.")
    old = sorted(EXCEPTIONS.keys() - others.keys())
    if old:
        raise NotAllowed(f"No exception is needed any more for {', '.join(old)}.")


def page(bom: Bom) -> str:
    """docs/licences.md.

    Raises:
        NotAllowed: as `check`.
    """
    components = sorted(bom.components, key=lambda component: component.name.lower())
    licences = {component.name: declared(component) for component in components}
    check(licences)
    rows = [f"| {each.name} | {each.version} | {licences[each.name]} |" for each in components]
    reasons = [f"- {name} ({licences[name]}): {why}." for name, why in sorted(EXCEPTIONS.items())]
    return "\n".join(
        [
            "# Licences of what the image installs",
            "",
            "Written by `make licences`, from what the packages declare; BSD is a declaration that",
            "does not say which. Not in it: the base image (Debian's packages and Python itself,",
            "see `/usr/share/doc` there), and libraries inside of wheels, whose licences lie",
            "beside them in `*.dist-info`. dpp_feedback itself is Apache-2.0.",
            "",
            "| Package | Version | Licence |",
            "|---|---|---|",
            *rows,
            "",
            "Not permissive, and why it is there all the same:",
            "",
            *reasons,
            "",
        ]
    )


def main() -> None:
    """Write the page."""
    bom = inventory()
    PAGE.write_text(page(bom))
    click.echo(f"{len(bom.components)} packages in {PAGE.relative_to(pins.ROOT)}")


if __name__ == "__main__":
    main()
