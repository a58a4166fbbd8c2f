"""An operator of another team, who follows docs/runbook.md in a clone of the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import yaml

from dpp_feedback_tests import kubectl_stand_in
from dpp_feedback_tests.kubectl_stand_in import HOME, NOTES
from dpp_feedback_tests.runbook import ROOT, Block, Terminal, program

if TYPE_CHECKING:
    from dpp_feedback.local.stack import Stack

ACCOUNT = "000000000000"
PRODUCTION = Path("k8s/overlays/production")


class Operator(Terminal):
    """Another team's operator, in one shell.

    Args:
        folder: an empty one; it becomes the clone.
        stack: the stand-ins.
        home: the instance that stands for the pods'.
        database_url: whom the product's tables go to.
    """

    def __init__(self, folder: Path, stack: Stack, home: Path, database_url: str) -> None:
        super().__init__(folder, stack)
        for name in ("scripts", "k8s"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("docs", "dpp_feedback"):
            (folder / name).symlink_to(ROOT / name)
        program(folder / "bin" / "kubectl", f'"{sys.executable}" -m {kubectl_stand_in.__name__}')
        self.notes = folder / "notes"
        self.notes.touch()
        self.own |= {"PYTHONPATH": str(ROOT), NOTES: str(self.notes), HOME: str(home)}
        self.team = f"t{uuid4().hex[:12]}"
        self.identity = f"{self.team}.example"
        self.values = {
            "account": ACCOUNT,
            "domain": self.identity,
            "cluster": self.team,
            "team": self.team,
            "host": "postgres.example.com",
            "owner": self.team,
            "repository": "fork",
        }
        self._database_url = database_url
        self._shell: list[str] = []

    def type(self, block: Block, *answers: str, last: bool = False) -> str:
        """Paste a block into the shell, after what was pasted for good; return what is printed.

        Args:
            block: of the page.
            answers: what is typed where something asks.
            last: the block sets variables, which later blocks read.
        """
        text = block.filled(self.values)
        if block.language == "sql":
            text = f"""psql "$DATABASE_URL" -v ON_ERROR_STOP=1 <<'SQL'\n{text}\nSQL"""
        if last:
            self._shell.append(text)
            return ""
        said = self.run("\n".join([*self._shell, text]), [self._database_url, *answers])
        return said.replace("DATABASE_URL: ", "", 1)  # the prompt of the first block

    def kubectl_of(self, block: Block) -> None:
        """Paste only what is asked of kubectl in a block, and the variables that it needs."""
        found = re.findall(r"^\w+=.*|kubectl (?:[^|;\n\\]|\\\n)*", block.text, re.MULTILINE)
        if any(line.startswith("kubectl") for line in found):
            self.type(Block(block.language, "\n".join(found)))

    def manifests(self) -> list[Any]:
        """What the overlay renders as now."""
        said = subprocess.run(
            [self.folder / "bin" / "kubectl", "kustomize", PRODUCTION],
            cwd=self.folder,
            env=os.environ | self.own,
            capture_output=True,
            text=True,
            check=True,
        )
        return list(yaml.safe_load_all(said.stdout))

    def kubectl(self) -> list[dict[str, Any]]:
        """The commands so far that a server would have got."""
        return [json.loads(line) for line in self.notes.read_text().splitlines()]
