"""docs/runbook.md, as an operator uses it: copied and pasted."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dpp_feedback.local.stack import Stack

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SHELL, SQL, LAUNCHPAD = {"console", "bash"}, "sql", "yaml"

_FENCED = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_PLACEHOLDER = re.compile(r"<[a-z][a-z ]*>")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, and what is pasted."""

    language: str
    text: str

    @property
    def name(self) -> str:
        """What no other block begins with."""
        lines = self.text.splitlines()
        return " | ".join(lines) if self.language == LAUNCHPAD else lines[0]

    def filled(self, values: Mapping[str, str]) -> str:
        """Put values where an operator puts them."""
        text = self.text
        for name, value in values.items():
            text = text.replace(f"<{name}>", value)
        assert not _PLACEHOLDER.search(text), f"nothing to put into {text}"
        return text


def section(page: str = "docs/runbook.md", title: str = "Dead-letter queue") -> str:
    (found,) = re.findall(
        rf"^## {title}\n(.*?)(?=^## )", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE
    )
    return str(found)


def without(title: str, page: str = "docs/runbook.md") -> str:
    """All of a page but one section."""
    return (ROOT / page).read_text().replace(section(page, title), "")


def blocks(text: str) -> list[Block]:
    """All blocks but those that show what is printed."""
    found = [Block(language, dedent(pasted).strip()) for _, language, pasted in _fenced(text)]
    return [block for block in found if block.language != "text"]


def printed(text: str, line: str) -> list[str]:
    """What the page says is printed, in the block of outputs that holds `line`; line by line."""
    (found,) = [
        shown for _, language, shown in _fenced(text) if language == "text" and line in shown
    ]
    return [like(each) for each in found.splitlines() if "..." not in each and each.strip()]


def like(said: str) -> str:
    """Leave out what differs each time: numbers, blanks, lines of tables."""
    return " ".join(re.sub(r"\d+", "0", said.replace("│", " ")).split())


def reasons(text: str) -> list[str]:
    """The first column of the table of reasons."""
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


class Terminal:
    """A folder with the migrations, the settings, and the programs that the page names.

    Args:
        folder: an empty one.
        stack: whose psql and endpoint.

    Attributes:
        own: of the environment, what no other terminal has.
    """

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.folder = folder
        (folder / "migrations").symlink_to(ROOT / "migrations")
        programs = folder / "bin"
        programs.mkdir()
        # The AWS CLI reads no AWS_ENDPOINT_URL.
        program(programs / "aws", f'"{BIN}/aws" --endpoint-url "$AWS_ENDPOINT_URL"')
        program(programs / "psql", f'"{stack.postgres.psql}"')
        self.own = {"PATH": f"{programs}:{BIN}:{os.environ['PATH']}", "HOME": str(folder)}

    def paste(self, block: Block, **values: str) -> str:
        """Paste a block; return what is printed. Questions are answered with y.

        Raises:
            AssertionError: it exits with another code than 0.
        """
        text = block.filled(values)
        if block.language == LAUNCHPAD:
            (self.folder / "launchpad.yaml").write_text(text)
            text = "dagster job execute -m dpp_feedback.definitions -j reprocess_dlq "
            text += "-c launchpad.yaml"
        elif block.language == SQL:
            text = f"""psql "$DATABASE_URL" -v ON_ERROR_STOP=1 <<'SQL'\n{text}\nSQL"""
        else:
            assert block.language in SHELL, f"nobody knows how to run {block.language}"
        return self.run(text)

    def run(self, text: str, answers: Sequence[str] = ("y",)) -> str:
        """Run lines of bash; return what is printed.

        Args:
            text: the lines. The first command that fails ends them.
            answers: what is typed, line by line, where something asks.

        Raises:
            AssertionError: it exits with another code than 0.
        """
        foreign = {"AWS_DEFAULT_REGION", "DAGSTER_HOME"}
        settings = {name: value for name, value in os.environ.items() if name not in foreign}
        ours, theirs = pty.openpty()
        os.write(ours, "".join(f"{line}\n" for line in answers).encode())
        try:
            ended = subprocess.run(
                ["/bin/bash", "-eo", "pipefail", "-c", text],
                cwd=self.folder,
                env=settings | self.own,
                stdin=theirs,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
        finally:
            os.close(ours)
            os.close(theirs)
        assert ended.returncode == 0, f"{text}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout + ended.stderr


def _fenced(text: str) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = _FENCED.findall(text)
    assert text.count("```") == 2 * len(found), "a block is not closed, or has no language"
    return found


def program(path: Path, command: str) -> None:
    """Write a program that runs a command of sh, with what it is called with."""
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)
