"""A script of scripts/, run by bash with the real AWS CLI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
BIN = Path(sys.executable).parent
# What the names of calls that only look begin with.
_LOOKS = ("get-", "list-", "describe-")


class Script:
    """One script with its settings, and a note of every call of the AWS CLI.

    Args:
        name: of the file in scripts/.
        settings: the environment, beside PATH and HOME.
        folder: an empty one, for this script only.
    """

    def __init__(self, name: str, settings: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._log = folder / "calls"
        shim = folder / "bin" / "aws"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\necho "$1 $2" >> "{self._log}"\nexec "{BIN}/aws" "$@"\n')
        shim.chmod(0o755)
        self.settings = {
            "PATH": f"{shim.parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "AWS_EC2_METADATA_DISABLED": "true",
            **settings,
        }

    def __call__(
        self, *arguments: str, answer: str | None = None, **settings: str | None
    ) -> subprocess.CompletedProcess[str]:
        """Run it.

        Args:
            arguments: its options.
            answer: what somebody types.
            settings: more of the environment; None takes one away.
        """
        self._log.write_text("")
        environment = {**self.settings, **settings}
        return subprocess.run(
            [shutil.which("bash") or "bash", str(SCRIPTS / self.name), *arguments],
            env={name: value for name, value in environment.items() if value is not None},
            input=answer or "",
            capture_output=True,
            text=True,
            check=False,
        )

    def works(self, *arguments: str, **settings: str | None) -> subprocess.CompletedProcess[str]:
        """Run it, and make sure that it ends well."""
        ended = self(*arguments, **settings)
        assert ended.returncode == 0, ended.stderr
        return ended

    def complains(self, *arguments: str, answer: str | None = None, **settings: str | None) -> str:
        """Run it, and make sure that it fails with one sentence, which is returned."""
        ended = self(*arguments, answer=answer, **settings)
        assert ended.returncode == 1, ended.stderr
        assert ended.stdout == ""
        sentence = ended.stderr.splitlines()[-1]
        assert f"{self.name}: " in sentence
        assert sum(f"{self.name}: " in line for line in ended.stderr.splitlines()) == 1
        return sentence.partition(f"{self.name}: ")[2]

    def changes(self) -> list[str]:
        """Calls of the last run that change something: service and operation."""
        calls = self._log.read_text().splitlines()
        return [call for call in calls if not call.partition(" ")[2].startswith(_LOOKS)]
