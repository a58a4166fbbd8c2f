"""`python -m supply_chain.audit`: what is known against the versions that the image installs.

pip-audit asks the advisory service of the Python Package Index, version by version. By itself it
calls a package fine that the service does not answer for; here that is an error of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from supply_chain import pins

FINE, KNOWN, UNKNOWN = 0, 1, 2
"""Exit codes: nothing is known; advisories; the service did not answer for all packages."""


def verdict(report: dict[str, Any] | None, packages: int) -> tuple[int, str]:
    """The exit code, and what to say.

    Args:
        report: pip-audit's JSON; None if it ended without.
        packages: how many there are to look up.
    """
    found = [] if report is None else report["dependencies"]
    advisories = [
        f"{each['name']} {each['version']}: {known['id']}, "
        f"repaired in {', '.join(known['fix_versions']) or 'no version yet'}"
        for each in found
        for known in each.get("vulns", [])
    ]
    if advisories:
        return KNOWN, "\n".join(advisories)
    answered = sum("vulns" in each for each in found)
    if answered < packages:
        return UNKNOWN, (
            f"No answer for {packages - answered} of {packages} packages: the advisory service "
            "cannot be reached from here, or not whole. So nothing is known; try again with the "
            "internet."
        )
    return FINE, f"No advisory for any of {packages} packages."


def main() -> None:
    """Ask, say it, and exit with the code."""
    command = [str(Path(sys.executable).with_name("pip-audit")), "--requirement", str(pins.IMAGE)]
    command += [
        "--disable-pip",
        "--require-hashes",
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout) if done.stdout.startswith("{") else None
    code, text = verdict(report, len(pins.read(pins.IMAGE)))
    click.echo(text)
    sys.exit(code)


if __name__ == "__main__":
    main()
